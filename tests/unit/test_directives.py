"""Directives as they stand in the control bucket."""

from dataclasses import replace

import orjson
import pytest

from nalar.directives import (
    KINDS,
    PASSING_S,
    Directive,
    Drain,
    Issued,
    Kill,
    Limit,
    Order,
    Pause,
    Provision,
    Route,
    SetPriority,
    SetWeights,
    Shed,
    decode_directive,
    encode_directive,
    ends_at_s,
    flaw,
    key_of,
)
from nalar.errors import MalformedMessage
from nalar.ids import AgentName, SessionId, WorkerId

AGENT = AgentName("Analyst")
ALL: list[Directive] = [
    Route(AGENT, SessionId("s1"), 3),
    SetWeights(AGENT, {WorkerId("w1"): 0.5, WorkerId("w2"): 0}),
    SetPriority("request", "0abc", -2),
    SetPriority("tenant", "acme", 7, AGENT),
    Order(AGENT, "deadline"),
    Pause(AGENT),
    Limit("tenant", "acme", 4),
    Shed(AGENT, 0, 1.5),
    Provision(AGENT, 3),
    Drain(WorkerId("w1")),
    Kill(WorkerId("w1")),
]


@pytest.mark.parametrize("directive", ALL, ids=key_of)
def test_a_directive_is_read_as_it_was_written(directive: Directive) -> None:
    issued = Issued(directive, "srtf", "its requests wait", 1_700_000_000.5, epoch=4)
    assert decode_directive(key_of(directive), encode_directive(issued)) == issued
    ending = replace(issued, until_s=1_700_000_090.5)
    assert decode_directive(key_of(directive), encode_directive(ending)) == ending
    assert ends_at_s(ending) == 1_700_000_090.5


def test_what_is_about_one_session_worker_or_request_ends_by_itself() -> None:
    ends = {key_of(it): ends_at_s(Issued(it, "hand", "", 100.0)) for it in ALL}
    passing = {key for key, at_s in ends.items() if at_s is not None}
    kinds = {key.split(".")[1] for key in passing}
    assert kinds == {"route", "priority", "drain", "kill"}
    assert ends["directive.priority.tenant.acme.Analyst"] is None
    assert ends["directive.route.Analyst.s1"] == 100.0 + PASSING_S


def test_a_policy_with_a_long_name_is_known_by_it_to_the_next_leader() -> None:
    by = f"/srv/{'deep/' * 30}policies.py:Mine,tenant=acme"
    issued = Issued(Pause(AGENT), by, "", 1.0)
    assert decode_directive(key_of(Pause(AGENT)), encode_directive(issued)).by == by


def test_every_kind_was_tried() -> None:
    assert {type(directive) for directive in ALL} == set(KINDS.values())


def test_directives_about_the_same_stand_under_one_key() -> None:
    assert key_of(replace(ALL[0], slot=9)) == key_of(ALL[0]) == "directive.route.Analyst.s1"
    assert len({key_of(directive) for directive in ALL}) == len(ALL)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"v": 2}, "version 2"),
        ({"kind": "rout"}, "no known kind: 'rout'"),
        ({"slot": "3"}, "slot = '3', which is not a whole number from 0 to 2,147,483,647"),
        ({"slot": -1}, "slot = -1"),
        ({"slot": True}, "slot = True"),
        ({"agent": "a.b"}, "agent = 'a.b'"),
        ({"agent": ""}, "agent = ''"),
        ({"session": None}, "session = None"),
        ({"session": "other"}, "stands elsewhere"),
    ],
)
def test_what_does_not_fit_is_refused_and_named(change: dict[str, object], told: str) -> None:
    body = orjson.loads(encode_directive(Issued(ALL[0], "x", "", 0.0))) | change
    with pytest.raises(MalformedMessage, match=told):
        decode_directive(key_of(ALL[0]), orjson.dumps(body))


@pytest.mark.parametrize("body", [b"", b"[]", b'{"v":1}', b'{"v":1,"kind":"route"}', b"\xff"])
def test_what_is_no_directive_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_directive("directive.route.Analyst.s1", body)


@pytest.mark.parametrize(
    "weights",
    [None, [], {}, [1], {"a b": 1}, {"": 1}, {"w": -1}, {"w": 101}, {"w": True}, {"w": "1"},
     {"w": None}, {f"w{number}": 1 for number in range(10_001)}],
)  # fmt: skip
def test_weights_are_numbers_by_worker_or_nothing(weights: object) -> None:
    key = key_of(SetWeights(AGENT, {}))
    body = {"v": 1, "kind": "weights", "agent": AGENT, "weights": weights}
    with pytest.raises(MalformedMessage, match="weights = ") as raised:
        decode_directive(key, orjson.dumps(body))
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_a_weight_is_finite(weight: float) -> None:
    assert flaw(SetWeights(AGENT, {WorkerId("w1"): weight}))
