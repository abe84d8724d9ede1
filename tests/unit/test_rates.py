"""Limits on what starts, and what is used, in a minute."""

import pytest

from nalar.controllers.local_events import (
    Arrived,
    Directed,
    Ended,
    Event,
    PeersChanged,
    Start,
    Ticked,
)
from nalar.controllers.local_state import LocalState
from nalar.controllers.ranking import Traits
from nalar.directives import Issued, Limit, decode_directive, encode_directive, flaw, key_of
from nalar.ids import AgentName
from tests.local_controller import check

A, B = AgentName("A"), AgentName("B")


def call(key: str, agent: AgentName = A, *, tenant: str = "x", at_s: float = 1.0) -> Arrived:
    traits = Traits(agent, "", key, tenant, method="ask")
    return Arrived(key, None, 0, 1e6, frozenset(), None, at_s, traits=traits)


class Local(LocalState):
    """A local controller with room for all; `tell` returns what it starts."""

    def __init__(self) -> None:
        super().__init__(concurrency=1000)
        self.handle(Ticked(1.0))

    def tell(self, *events: Event) -> list[str]:
        started: list[str] = []
        for event in events:
            started += [it.key for it in self.handle(event) if isinstance(it, Start)]
            check(self)
        return started

    def direct(self, limit: Limit, *, withdrawn: bool = False) -> list[str]:
        assert not flaw(limit)
        return self.tell(Directed(limit, withdrawn=withdrawn))


def calls(prefix: str, count: int, **about: str) -> list[Arrived]:
    return [call(f"{prefix}{number}", **about) for number in range(count)]  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [Limit("tenant", "x", None, 30.0), Limit("agent", A, None, 30.0)])
def test_so_many_start_as_was_saved_up_and_then_as_time_passes(limit: Limit) -> None:
    local = Local()
    local.direct(limit)
    assert local.tell(*calls("a", 10)) == [f"a{it}" for it in range(5)], "ten seconds' worth"
    assert local.tell(call("other", B, tenant="y")) == ["other"]
    assert local.tell(Ticked(2.9)) == []
    assert local.tell(Ticked(3.0)) == ["a5"]
    assert local.tell(Ticked(5.0), Ticked(9.0)) == ["a6", "a7", "a8"]
    assert local.tell(*(Ended(f"a{it}") for it in range(9))) == [], "ending gives nothing back"


def test_a_rate_of_nothing_starts_nothing_until_it_is_withdrawn() -> None:
    local = Local()
    local.direct(Limit("tenant", "x", None, 0))
    assert local.tell(call("a"), Ticked(1000.0)) == []
    assert local.direct(Limit("tenant", "x", None, 0), withdrawn=True) == ["a"]


def test_a_limit_that_is_said_again_gives_nothing_anew() -> None:
    local = Local()
    local.direct(Limit("tenant", "x", None, 30.0))
    local.tell(*calls("a", 10))
    assert local.direct(Limit("tenant", "x", None, 30.0)) == []
    assert local.direct(Limit("tenant", "x", None, 60.0)) == []
    assert local.tell(Ticked(2.0)) == ["a5"]


def test_workers_share_a_rate_equally() -> None:
    local = Local()
    local.tell(PeersChanged(5, {A: 2}))
    local.direct(Limit("tenant", "x", None, 150.0))
    assert len(local.tell(*calls("a", 10))) == 5
    agents = Local()
    agents.tell(PeersChanged(5, {A: 2}))
    agents.direct(Limit("agent", A, None, 60.0))
    assert len(agents.tell(*calls("a", 10))) == 5
    assert agents.tell(PeersChanged(2, {A: 1}), Ticked(3.0)) == ["a5", "a6"]


def test_tokens_are_reserved_by_what_such_calls_use_and_settled_by_what_they_used() -> None:
    local = Local()
    local.direct(Limit("tenant", "x", None, None, 6000))  # 100 a second, 1000 saved up.
    assert local.tell(call("a")) == ["a"], "nobody knows what it will use"
    local.tell(Ended("a", {"small": 400}))  # 600 are left.
    assert local.tell(*calls("b", 3)) == ["b0"], "the next would need 400 of the 200"
    assert local.tell(Ended("b0", {"small": 100})) == ["b1"], "it gave 300 of 400 back"
    assert local.tell(Ticked(3.3)) == [], "such calls use 370 by now, and 130 were left"
    assert local.tell(Ticked(3.5)) == ["b2"]


def test_a_call_that_used_far_more_than_it_was_thought_to_is_paid_off_by_time() -> None:
    local = Local()
    local.direct(Limit("tenant", "x", None, None, 6000))
    local.tell(call("a"))
    local.tell(Ended("a", {"small": 3000}))  # 2000 in debt.
    assert local.tell(call("b"), Ticked(21.0)) == [], "it is even, but such calls use 3000"
    assert local.tell(Ticked(30.9)) == []
    assert local.tell(Ticked(31.0)) == ["b"], "more than can be saved up is let in when it is full"


def test_a_model_is_limited_by_what_uses_it_and_others_go_on() -> None:
    local = Local()
    local.direct(Limit("model", "small", None, 6.0))  # One is saved up.
    assert local.tell(call("a")) == ["a"]
    local.tell(Ended("a", {"small": 10}))
    assert local.tell(call("b"), call("c", B)) == ["c"], "it is known by now what A uses"
    assert local.tell(Ticked(10.9)) == []
    assert local.tell(Ticked(11.1)) == ["b"]


def test_a_call_that_two_limits_hold_back_starts_once_both_let_it() -> None:
    local = Local()
    local.direct(Limit("tenant", "x", 1, 6000.0))
    local.direct(Limit("model", "small", None, 6.0))
    local.tell(call("a"))
    local.tell(Ended("a", {"small": 1}))
    assert local.tell(call("other", B), call("b")) == ["other"]
    assert local.tell(Ended("other"), Ticked(5.0)) == []
    assert local.tell(Ticked(11.1)) == ["b"]


def test_many_that_wait_for_one_limit_cost_little_as_time_passes() -> None:
    local = Local()
    local.direct(Limit("tenant", "x", None, 60.0))
    for arrived in calls("a", 5_000):
        local.handle(arrived)
    looked_at: list[str] = []
    empty = local._ready.rates.empty
    local._ready.rates.empty = lambda traits: looked_at.append(traits.root) or empty(traits)  # type: ignore[method-assign]
    for at_s in range(2, 12):
        assert len(local.handle(Ticked(float(at_s)))) == 1
    assert len(looked_at) < 1000, "not all of them each time"


def test_a_limit_of_before_is_read_and_one_without_a_number_is_none() -> None:
    key, limit = key_of(Limit("agent", A, 4)), Limit("agent", A, 4)
    body = encode_directive(Issued(limit, "hand", "", 0.0))
    assert b"per_min" not in body, "those who know no rates read it too"
    assert decode_directive(key, body).directive == limit
    for wrong in (
        Limit("agent", A), Limit("model", "small", 1), Limit("tenant", "x", None, -1.0),
        Limit("tenant", "x", None, None, float("nan")), Limit("tenant", "x", None, True),
    ):  # fmt: skip
        assert flaw(wrong)
