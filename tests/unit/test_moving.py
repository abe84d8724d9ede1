"""Policies that move sessions."""

import pytest

from nalar.cluster.policies.moving import HeadOfLine, HighPriority, LeastLoaded, PrefixAffinity
from nalar.cluster.policy import Migrate, Policy
from nalar.directives import SetPriority
from nalar.ids import AgentName, SessionId, WorkerId
from nalar.reports import AgentLoad, SessionLoad
from tests.views import AGENT, cluster, worker

WAITING = {
    "old": SessionLoad(queued=1, oldest_at=10.0),
    "young": SessionLoad(queued=1, oldest_at=90.0),
}
BUSY = worker("busy", running=2, sessions=WAITING)


def moves(*pairs: tuple[str, str]) -> list[Migrate]:
    return [Migrate(AGENT, SessionId(session), WorkerId(to)) for session, to in pairs]


def test_head_of_line_moves_those_that_wait_to_free_slots_longest_first() -> None:
    policy = HeadOfLine()
    assert list(policy.decide(cluster(BUSY, worker("idle", running=1)))) == moves(("old", "idle"))
    roomy = cluster(BUSY, worker("idle"))
    assert list(policy.decide(roomy)) == moves(("old", "idle"), ("young", "idle"))


def test_head_of_line_moves_nothing_where_nobody_has_room() -> None:
    assert not list(HeadOfLine().decide(cluster(BUSY, worker("also", running=2))))


def test_a_worker_whose_calls_wait_for_each_other_has_room() -> None:
    """Eight that gather take one slot of its two, not both."""
    gathers = {AGENT: AgentLoad(queued=8, spared=7)}
    view = cluster(BUSY, worker("gathers", loads=gathers))
    assert list(HeadOfLine().decide(view)) == moves(("old", "gathers"))


@pytest.mark.parametrize("policy", [HeadOfLine(), LeastLoaded(), PrefixAffinity()])
def test_a_session_that_waits_for_its_own_call_stays(policy: Policy) -> None:
    own = {"s": SessionLoad(queued=1, running=1, oldest_at=10.0)}
    serial = {AGENT: AgentLoad(queued=1, running=2, blocked=1, service_s=9.0)}
    view = cluster(worker("busy", running=2, sessions=own, loads=serial), worker("idle"))
    assert not list(policy.decide(view))


@pytest.mark.parametrize("policy", [HeadOfLine(), LeastLoaded(), PrefixAffinity()])
def test_a_report_that_names_a_session_and_not_its_agent_does_no_harm(policy: Policy) -> None:
    odd = worker("odd", running=2, sessions=WAITING, loads={AgentName("Other"): AgentLoad()})
    list(policy.decide(cluster(odd, worker("idle"))))


def test_a_session_whose_worker_has_a_free_slot_stays() -> None:
    view = cluster(worker("half", running=1, sessions=WAITING), worker("idle", concurrency=9))
    assert not list(HeadOfLine().decide(view))


def test_least_loaded_evens_out_work_until_it_is_within_the_margin() -> None:
    sessions = {f"s{at}": SessionLoad(queued=2, oldest_at=float(at)) for at in range(1, 7)}
    view = cluster(worker("busy", running=2, sessions=sessions), worker("idle", running=2))
    assert list(LeastLoaded().decide(view)) == moves(("s1", "idle"), ("s2", "idle"), ("s3", "idle"))
    assert not list(LeastLoaded(margin_s=6.0).decide(view))


def test_prefix_affinity_waits_for_as_long_as_the_prefix_costs() -> None:
    view = cluster(BUSY, worker("idle"), now_s=91.0)
    assert list(PrefixAffinity(rebuild_s=2.0).decide(view)) == moves(("old", "idle"))
    assert not list(PrefixAffinity(rebuild_s=90.0).decide(view))


def test_prefix_affinity_goes_back_to_where_the_session_was() -> None:
    policy = PrefixAffinity()
    one = {"s": SessionLoad(queued=1, oldest_at=1.0)}
    first = cluster(worker("a", running=2, sessions=one), worker("b"), worker("c", running=2))
    assert list(policy.decide(first)) == moves(("s", "b"))
    back = cluster(
        worker("a", running=1), worker("b", running=2, sessions=one), worker("c", concurrency=9)
    )
    assert list(policy.decide(back)) == moves(("s", "a"))


def test_the_session_of_high_priority_goes_first_and_to_an_idle_worker() -> None:
    policy = HighPriority("young", priority=7)
    first = SetPriority("session", "young", 7)
    assert list(policy.decide(cluster(BUSY, worker("idle")))) == [first, *moves(("young", "idle"))]
    assert list(policy.decide(cluster(BUSY))) == [first]
