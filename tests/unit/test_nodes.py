"""A node's entry: read back as it was written, refused when it is none."""

from typing import Any

import orjson
import pytest

from nalar.cluster.nodes import (
    WORKERS_MAX,
    Group,
    GroupState,
    NodeEntry,
    decode_node,
    encode_node,
    node_as_json,
)
from nalar.errors import MalformedMessage

GROUP = Group("tools", ("b", "a"), 2, 1, 5, {"GPU": 0.5})
ENTRY = NodeEntry(
    "box", "box.local", 7, 12, {"GPU": 2.0}, False, {"a,b": GroupState(GROUP, 2, 1, "code=1", 3)}
)


def test_an_entry_is_read_back_as_it_was_written() -> None:
    assert GROUP.key == "a,b", "whoever lists the agents otherwise means the same group"
    assert decode_node(encode_node(ENTRY)) == ENTRY


def test_numbers_are_bounded() -> None:
    told: dict[str, Any] = node_as_json(ENTRY) | {"max_workers": 10**9}
    told["groups"][0]["held"] = 10**9
    entry = decode_node(orjson.dumps(told))
    assert (entry.max_workers, entry.groups["a,b"].held) == (WORKERS_MAX, WORKERS_MAX)


TOLD: dict[str, Any] = node_as_json(ENTRY)["groups"][0]
FLAWS: list[dict[str, Any]] = [
    {"v": 2},
    {"node": "a.b"},
    {"node": 5},
    {"max_workers": -1},
    {"max_workers": True},
    {"resources": {"GPU": "all"}},
    {"resources": []},
    {"groups": 3},
    {"groups": [{}]},
    {"groups": [TOLD | {"agents": []}]},
    {"groups": [TOLD | {"agents": ["a b"]}]},
    {"groups": [TOLD | {"held": 1.5}]},
]


@pytest.mark.parametrize("changes", FLAWS)
def test_what_is_no_entry_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(MalformedMessage):
        decode_node(orjson.dumps(node_as_json(ENTRY) | changes))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"v"', b"\xff"])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_node(body)
