"""Of the directives that stand, those are told that hold calls back."""

import pytest

from nalar.client.holds import holds
from nalar.directives import (
    Directive,
    Issued,
    Limit,
    Order,
    Pause,
    Provision,
    SetPriority,
    SetWeights,
    Shed,
)
from nalar.ids import AgentName, encode_token

QUICK = AgentName("quick")
WORKERS = [{"worker": "w1", "agents": ["quick"]}, {"worker": "w2", "agents": ["quick", "slow"]}]


@pytest.mark.parametrize(
    ("directive", "what", "remedy", "waits"),
    [
        (Pause(QUICK), "quick is paused", "nalar resume quick", True),
        (Limit("agent", QUICK, 0), "calls of quick are limited to 0 at a time",
         "nalar limit --agent quick --withdraw", True),
        (Limit("tenant", encode_token("a b"), 4, 0.0),
         "calls on behalf of tenant a b are limited to 0 a minute",
         "nalar limit --tenant 'a b' --withdraw", True),
        (Limit("model", "m", None, None, 0), "calls that use m are limited to 0 tokens a minute",
         "nalar limit --model m --withdraw", True),
        (SetWeights(QUICK, {"w1": 0.0, "w2": 0}), "all workers that serve quick have weight 0",
         "nalar route quick --clear", True),
        (Provision(AgentName("lone"), 0), "nodes are to run no worker of lone",
         "nalar scale lone=1, or nalar scale lone --withdraw", True),
        (Shed(QUICK, 5, 10.0), "new requests of a priority below 5 for quick are refused",
         "nalar shed quick --withdraw", False),
    ],
)  # fmt: skip
def test_what_holds_calls_back_is_told_with_the_way_out(
    directive: Directive, what: str, remedy: str, waits: bool
) -> None:
    [hold] = holds([Issued(directive, "hand", "a try", 0.0)], WORKERS)
    assert (hold.what, hold.remedy, hold.waits) == (what, remedy, waits)
    assert hold.source.startswith("by hand, since 19")
    assert hold.source.endswith(": a try")


def test_what_lets_calls_through_is_not_told() -> None:
    lenient: list[Directive] = [
        Limit("agent", QUICK, 1),
        SetWeights(QUICK, {"w1": 0.0}),
        SetWeights(QUICK, {"w1": 0.0, "w2": 0.5}),
        SetWeights(AgentName("unserved"), {"w1": 0.0}),
        Provision(QUICK, 1),
        Order(QUICK, "deadline"),
        SetPriority("tenant", "acme", -9),
    ]
    assert holds([Issued(it, "hand", "", 0.0) for it in lenient], WORKERS) == []


def test_what_a_policy_directs_it_would_direct_again() -> None:
    [hold] = holds([Issued(Pause(QUICK), "mine", "", 1e300)], WORKERS)
    assert str(hold) == "quick is paused, by the policy mine, since ?"
    assert "nalar policy log" in hold.remedy
