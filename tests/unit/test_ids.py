"""Identifiers: safe in subjects, unguessable where it matters, the same everywhere."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nalar.errors import InvalidToken
from nalar.ids import (
    AgentName,
    FutureId,
    Ref,
    RootId,
    SessionId,
    again_id,
    child_id,
    decode_token,
    encode_token,
    is_wire_token,
    new_root,
)

DOCS = Path(__file__).parents[2] / "docs"
GENERATIONS = json.loads((DOCS / "protocol-vectors.json").read_text("utf-8"))["generations"]


@given(st.text(min_size=1, max_size=30))
def test_any_text_becomes_one_token_and_comes_back(text: str) -> None:
    token = encode_token(text)
    assert is_wire_token(token)
    assert decode_token(token) == text


@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=30))
def test_different_texts_have_different_tokens(one: str, other: str) -> None:
    assert (encode_token(one) == encode_token(other)) == (one == other)


@pytest.mark.parametrize("text", ["", "x" * 121, "ü" * 61, "\ud800"])
def test_text_that_cannot_be_a_token_is_refused(text: str) -> None:
    with pytest.raises(InvalidToken):
        encode_token(text)


def test_requests_sort_by_time_as_text() -> None:
    early, late = new_root(1_700_000_000_000, b"\xff" * 10), new_root(1_700_000_000_001, bytes(10))
    assert early < late
    assert len(early) == len(late) == 32


def test_a_root_needs_all_its_entropy() -> None:
    with pytest.raises(ValueError, match="ten bytes"):
        new_root(1, b"short")


def test_a_child_is_named_by_what_is_called_and_how_often_not_when() -> None:
    first = child_id("parent", "A.m", b'{"x":1}', 0)
    assert first == child_id("parent", "A.m", b'{"x":1}', 0)
    others = {
        child_id("other", "A.m", b'{"x":1}', 0),
        child_id("parent", "A.n", b'{"x":1}', 0),
        child_id("parent", "A.m", b'{"x":2}', 0),
        child_id("parent", "A.m", b'{"x":1}', 1),
        child_id("parent", "A.m", b'{"x":1}', "0"),
    }
    assert len(others) == 5
    assert first not in others


@given(
    st.sampled_from(["s", "r"]),
    st.lists(st.text(min_size=1, max_size=20).map(encode_token), min_size=5, max_size=5),
)
def test_a_reference_is_read_back_as_it_was_written(effect: str, tokens: list[str]) -> None:
    agent, session, root, parent, future = tokens
    ref = Ref(
        "s" if effect == "s" else "r",
        AgentName(agent), SessionId(session), RootId(root), parent, FutureId(future),
    )  # fmt: skip
    assert Ref.parse(str(ref)) == ref


@pytest.mark.parametrize(
    "text",
    ["", "call", "call.s.a.b.c.d", "call.x.a.b.c.d.e", "call.s.a.b.c.d.>", "call.s.a.b.c.d.e.f",
     "call.s.a..c.d.e", "call.s.a.b c.d.e.f", "other.s.a.b.c.d.e"],
)  # fmt: skip
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidToken):
        Ref.parse(text)


@pytest.mark.parametrize("vector", GENERATIONS)
def test_golden_vectors_of_generations_hold(vector: dict[str, Any]) -> None:
    assert again_id(FutureId(vector["id"]), vector["generation"]) == vector["again"]
