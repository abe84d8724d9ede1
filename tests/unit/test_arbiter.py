"""The arbiter grants, refuses with a reason, and tells faults from races."""

import pytest

from nalar.cluster.arbiter import ENDS_MAX, RETURNS_MAX, Arbiter, Granted, Verdict
from nalar.cluster.bounds import Bounds
from nalar.cluster.policy import Migrate, Suggestion, Together, Withdraw
from nalar.cluster.view import ClusterView
from nalar.directives import (
    BY_HAND,
    Directive,
    Drain,
    Issued,
    Kill,
    Pause,
    Provision,
    Route,
    SetPriority,
    SetWeights,
    key_of,
)
from nalar.ids import AgentName, SessionId, WorkerId
from nalar.reports import RequestLoad, SessionLoad
from tests.views import AGENT, cluster, worker

MOVE = Migrate(AGENT, SessionId("s"), WorkerId("idle"))
FIRST = SetPriority("tenant", "acme", 5)


def view_with_slots(**sessions: SessionLoad) -> ClusterView:
    busy, idle = worker("busy", running=2, sessions=sessions), worker("idle")
    busy.slots, idle.slots = {AGENT: [0, 1]}, {AGENT: [2]}
    return cluster(busy, idle)


def judge(arbiter: Arbiter, view: ClusterView, **asked: list[Suggestion]) -> Verdict:
    """Judge, and let what is granted stand, as the controller does."""
    verdict = arbiter.judge(view, list(asked.items()))
    for granted in verdict.granted:
        if granted.withdrawn:
            view.standing.pop(key_of(granted.directive), None)
        else:
            stand(view, granted.directive, granted.policy)
    return verdict


def stand(view: ClusterView, directive: Directive, by: str) -> None:
    view.standing[key_of(directive)] = Issued(directive, by, "", view.now_s)


def reason(verdict: Verdict) -> str:
    [refused] = verdict.refused
    assert not verdict.granted
    return refused.reason


def test_a_migration_becomes_a_route_to_a_slot_of_the_worker_with_its_reason() -> None:
    view = view_with_slots(s=SessionLoad(queued=1, oldest_at=97.5))
    verdict = judge(Arbiter(), view, relief=[MOVE])
    why = "waits 2.5 s in busy, 2 of 2 slots busy"
    assert verdict.granted == [Granted("relief", Route(AGENT, SessionId("s"), 2), why)]


def test_a_session_that_is_there_already_is_not_moved() -> None:
    view = view_with_slots(s=SessionLoad(queued=1))
    verdict = judge(Arbiter(), view, relief=[Migrate(AGENT, SessionId("s"), WorkerId("busy"))])
    assert verdict == Verdict()


def test_what_stands_is_not_repeated() -> None:
    arbiter, view = Arbiter(), view_with_slots()
    assert judge(arbiter, view, p=[FIRST]).granted
    view.now_s += 60.0
    assert judge(arbiter, view, p=[FIRST]) == Verdict()


def test_the_policy_that_is_named_first_wins_in_one_decision_and_in_the_next() -> None:
    arbiter, view = Arbiter(), view_with_slots()
    other = SetPriority("tenant", "acme", -5)
    verdict = judge(arbiter, view, one=[FIRST], two=[other])
    assert [it.directive for it in verdict.granted] == [FIRST]
    assert "one is named first" in verdict.refused[0].reason
    view.now_s += 5.0
    assert "one is named first" in reason(judge(arbiter, view, one=[], two=[other]))
    view.now_s += 6.0  # The first has not asked for it any more.
    assert judge(arbiter, view, one=[], two=[other]).granted
    view.now_s += 6.0
    assert judge(arbiter, view, one=[FIRST], two=[]).granted


def test_nobody_overrules_a_person() -> None:
    view = view_with_slots()
    stand(view, FIRST, BY_HAND)
    view.now_s += 60.0
    lower = SetPriority("tenant", "acme", 0)
    assert "a person" in reason(judge(Arbiter(), view, p=[lower]))
    assert "a person" in reason(judge(Arbiter(), view, p=[Withdraw(FIRST)]))


def test_what_has_just_changed_rests_and_longer_each_time_it_returns() -> None:
    arbiter, view = Arbiter(Bounds(rank_rest_s=1.0)), view_with_slots()
    other = SetPriority("tenant", "acme", 0)
    waits: list[float] = []
    for number in range(5):
        asked, since_s = [(FIRST, other)[number % 2]], view.now_s
        while not judge(arbiter, view, p=list(asked)).granted:
            view.now_s += 0.5
        waits.append(view.now_s - since_s)
    assert waits == [0.0, 1.0, 1.0, 2.0, 4.0]


def test_what_belongs_together_is_directed_whole_or_not_at_all() -> None:
    other = AgentName("Other")
    arbiter, view = Arbiter(), view_with_slots()
    view.backlog[other] = 0
    exchange = Together((Provision(AGENT, 1), Provision(other, 3)))
    judge(arbiter, view, p=[Provision(other, 2)])
    assert "rests for" in reason(judge(arbiter, view, p=[exchange]))
    view.now_s += 6.0
    verdict = judge(arbiter, view, p=[exchange])
    assert [it.directive for it in verdict.granted] == list(exchange.directives)
    assert judge(arbiter, view, p=[exchange]) == Verdict()
    view.now_s += 6.0
    arbiter.bounds = Bounds(agents={other: (0, 3)})
    more = Together((Provision(AGENT, 0), Provision(other, 4)))
    assert "bounds" in reason(judge(arbiter, view, p=[more]))


def test_a_withdrawal_takes_back_what_stands_and_nothing_else() -> None:
    arbiter, view = Arbiter(), view_with_slots()
    assert judge(arbiter, view, p=[Withdraw(Pause(AGENT))]) == Verdict()
    judge(arbiter, view, p=[Pause(AGENT)])
    view.now_s += 6.0
    [granted] = judge(arbiter, view, p=[Withdraw(Pause(AGENT))]).granted
    assert granted.withdrawn
    assert not view.standing


@pytest.mark.parametrize(
    ("asked", "wanted"), [(5_000, 10), (0, 2), (7, 7)], ids=["too many", "too few", "as asked"]
)
def test_numbers_are_brought_within_the_bounds_of_the_agent(asked: int, wanted: int) -> None:
    bounds = Bounds(workers_max=10, agents={AGENT: (2, 100)})
    verdict = judge(Arbiter(bounds), view_with_slots(), p=[Provision(AGENT, asked)])
    [granted] = verdict.granted
    assert granted.directive == Provision(AGENT, wanted)
    assert ("bounds" in granted.reason) == (asked != wanted)


def test_only_so_many_sessions_move_in_a_second() -> None:
    names = [SessionId(f"s{number}") for number in range(5)]
    view = view_with_slots(**{name: SessionLoad(queued=1) for name in names})
    asked: list[Suggestion] = [Migrate(AGENT, name, WorkerId("idle")) for name in names]
    arbiter = Arbiter(Bounds(migrations_per_s=2))
    verdict = judge(arbiter, view, p=asked)
    assert (len(verdict.granted), len(verdict.refused)) == (2, 3)
    assert verdict.refused[0].reason == "more than 2 sessions would move in a second"
    view.now_s += 0.5
    assert len(judge(arbiter, view, p=asked).granted) == 1


def test_only_so_many_workers_are_ended_within_ten_seconds() -> None:
    view = cluster(*(worker(f"w{number}") for number in range(20)))
    asked: list[Suggestion] = [Kill(name) for name in view.workers]
    arbiter = Arbiter()
    verdict = judge(arbiter, view, p=asked)
    assert (len(verdict.granted), len(verdict.refused)) == (2, 18)
    assert verdict.refused[0].reason == "more than 2 of 20 workers would be ended within 10 s"
    view.now_s += 9
    assert not judge(arbiter, view, q=[Drain(WorkerId("w9"))]).granted, "whoever asks"
    view.now_s += 2
    assert len(judge(arbiter, view, q=[Drain(WorkerId("w9"))]).granted) == 1


def test_ends_and_moves_are_given_by_themselves_and_what_is_no_directive_not_withdrawn() -> None:
    view = cluster(worker("w"))
    odd: list[Suggestion] = [Together((Drain(WorkerId("w")),)), Withdraw(MOVE)]  # type: ignore[arg-type]
    for suggestion, why in zip(odd, ("is given by itself", "is no directive"), strict=True):
        verdict = judge(Arbiter(), view, p=[suggestion])
        assert why in reason(verdict)
        assert why in verdict.slips["p"]


def test_who_has_too_much_standing_may_withdraw_it() -> None:
    arbiter, view = Arbiter(Bounds(standing_max=1)), cluster(worker("w"))
    for name in "ab":
        stand(view, SetPriority("tenant", name, 1), "p")
    view.now_s += 10
    verdict = judge(arbiter, view, p=[Withdraw(SetPriority("tenant", "a", 1))])
    assert [it.withdrawn for it in verdict.granted] == [True]


def test_a_policy_that_ends_whatever_starts_is_a_fault() -> None:
    arbiter, view = Arbiter(), cluster()
    for number in range(ENDS_MAX + 1):
        fresh = worker(f"w{number}")
        view = cluster(fresh, now_s=100.0 + 11 * number)
        verdict = judge(arbiter, view, p=[Kill(fresh.worker)])
        assert len(verdict.granted) == 1
        assert bool(verdict.faults) == (number == ENDS_MAX)
        if number == ENDS_MAX:
            assert verdict.faults == {"p": "ends workers as fast as they start"}


def test_a_worker_that_is_not_there_is_a_race_and_no_fault() -> None:
    gone = WorkerId("gone")
    weights = SetWeights(AGENT, {"idle": 0.5, "gone": 2})
    for suggestion in (Migrate(AGENT, SessionId("s"), gone), Drain(gone), weights):
        verdict = judge(Arbiter(), view_with_slots(), p=[suggestion])
        assert reason(verdict) == "there is no worker gone"
        assert not verdict.faults
        assert not verdict.slips


@pytest.mark.parametrize(
    "wrong",
    [
        Provision(AgentName("Nobody"), 2),
        Provision(AGENT, -1),
        Migrate(AgentName("Nobody"), SessionId("s"), WorkerId("idle")),
        Pause(AgentName("a.b")),
        Withdraw(Pause(AgentName("Nobody"))),
        "restart everything",
        Withdraw("this"),  # type: ignore[arg-type] -- what a careless policy may make
        Together(()),
        Together(5),  # type: ignore[arg-type]
        Together((Provision(AGENT, 1),) * 2),
        Together((Provision(AGENT, -1),)),
        Together((Together((FIRST,)),)),  # type: ignore[arg-type]
        Together(tuple(SetPriority("session", f"s{number}", 1) for number in range(101))),
    ],
    ids=str,
)
def test_what_no_race_explains_is_a_slip_of_the_policy(wrong: Suggestion) -> None:
    verdict = judge(Arbiter(), view_with_slots(), p=[wrong])
    assert reason(verdict) == verdict.slips["p"]


def test_an_agent_with_a_queue_and_no_worker_is_known() -> None:
    view = view_with_slots()
    view.backlog[AgentName("Later")] = 3
    assert judge(Arbiter(), view, p=[Provision(AgentName("Later"), 1)]).granted


def test_a_flood_is_a_fault_and_nothing_of_it_is_granted() -> None:
    asked: list[Suggestion] = [SetPriority("session", f"s{number}", 1) for number in range(11)]
    verdict = judge(Arbiter(Bounds(suggestions_max=10)), view_with_slots(), p=asked, q=[FIRST])
    assert "more than 10" in verdict.faults["p"]
    assert [it.policy for it in verdict.granted] == ["q"]


def tenants(first: int, last: int) -> list[Suggestion]:
    return [SetPriority("tenant", f"t{number}", 1) for number in range(first, last)]


def test_of_what_would_change_at_once_the_rest_may_follow_in_the_next_decision() -> None:
    arbiter, view = Arbiter(Bounds(changes_max=4)), view_with_slots()
    verdict = judge(arbiter, view, p=tenants(0, 6))
    assert len(verdict.granted) == 4
    assert {it.reason for it in verdict.refused} == {
        "its share of the 4 directives that may change at once is used up"
    }
    assert not verdict.slips
    assert len(judge(arbiter, view, p=tenants(0, 6)).granted) == 2
    assert judge(arbiter, view, p=tenants(0, 6)) == Verdict()


def test_who_floods_does_not_use_up_what_others_may_change() -> None:
    verdict = judge(
        Arbiter(Bounds(changes_max=4)), view_with_slots(), p=tenants(0, 9), q=[FIRST, Pause(AGENT)]
    )
    assert [it.policy for it in verdict.granted] == ["p", "p", "q", "q"]


def test_an_exchange_that_exceeds_what_may_change_at_once_is_left_whole() -> None:
    both = Together((SetPriority("tenant", "a", 1), SetPriority("tenant", "b", 1)))
    arbiter, view = Arbiter(Bounds(changes_max=2)), view_with_slots()
    verdict = judge(arbiter, view, p=[FIRST, both])
    assert [it.directive for it in verdict.granted] == [FIRST]
    assert len(judge(arbiter, view, p=[FIRST, both]).granted) == 2


def test_more_than_may_stand_is_refused_and_a_slip_if_nobody_is_there_whom_it_is_about() -> None:
    arbiter, view = Arbiter(Bounds(standing_max=3)), view_with_slots()
    stand(view, SetPriority("tenant", "of q", 1), "q")
    stand(view, Route(AGENT, SessionId("s"), 1), "p")
    assert not judge(arbiter, view, p=tenants(0, 3)).refused
    verdict = judge(arbiter, view, p=tenants(0, 4), q=tenants(4, 6))
    assert [it.suggestion for it in verdict.refused] == tenants(3, 4)
    assert verdict.refused[0].reason == "more than 3 directives of it would stand"
    assert list(verdict.slips) == ["p"]
    view.now_s += 6.0
    assert not judge(arbiter, view, p=[Withdraw(SetPriority("tenant", "t0", 1))]).refused
    assert not judge(arbiter, view, p=tenants(3, 4)).refused


def test_more_than_may_stand_about_those_who_are_there_is_no_slip() -> None:
    load = RequestLoad(queued=1, tenant="t1")
    arbiter, view = Arbiter(Bounds(standing_max=1)), cluster(worker("w", requests={"r": load}))
    verdict = judge(arbiter, view, p=tenants(0, 2))
    assert verdict.refused
    assert not verdict.slips


def test_priorities_of_requests_have_no_bound_but_the_requests_that_are_there() -> None:
    roots = [f"r{number}" for number in range(5)]
    view = cluster(worker("w", requests={root: RequestLoad(queued=1) for root in roots}))
    asked: list[Suggestion] = [SetPriority("request", root, 1) for root in [*roots, "invented"]]
    verdict = judge(Arbiter(Bounds(standing_max=2)), view, p=asked)
    assert len(verdict.granted) == len(roots)
    assert [it.reason for it in verdict.refused] == ["no worker holds calls of the request"]
    assert not verdict.slips


def test_priorities_of_many_requests_that_end_at_once_are_withdrawn_in_lots() -> None:
    roots = [f"r{number}" for number in range(5)]
    view = cluster(worker("w", requests={root: RequestLoad(queued=1) for root in roots}))
    arbiter = Arbiter(Bounds(changes_max=2))
    asked: list[Suggestion] = [SetPriority("request", root, 1) for root in roots]
    while judge(arbiter, view, p=asked).granted:
        view.settle()
    view.take(worker("w", number=9))
    lots: list[int] = []
    while view.standing:
        lots.append(len(judge(arbiter, view, p=[]).granted))
        view.settle()
    assert lots == [2, 2, 1]


def test_what_goes_to_and_fro_at_a_cost_is_a_fault() -> None:
    arbiter, view = Arbiter(Bounds(rest_s=1.0)), view_with_slots()
    faults: list[str] = []
    changes = 0
    while not faults and changes < 20:
        asked: list[Suggestion] = [Provision(AGENT, 1 + changes % 2)]
        verdict = judge(arbiter, view, p=asked)
        changes += len(verdict.granted)
        faults += verdict.faults.values()
        view.now_s += 0.5
    assert changes == RETURNS_MAX + 2
    assert "to and fro" in faults[0]


def test_a_count_of_workers_that_follows_the_load_does_not_move_to_and_fro() -> None:
    arbiter, view = Arbiter(), cluster(worker("one"))
    for workers in (14, 12, 10, 11, 9, 10, 12, 11, 10, 12, 14):
        verdict = judge(arbiter, view, p=[Provision(AGENT, workers)])
        assert len(verdict.granted) == 1, verdict.refused
        assert not verdict.faults
        view.now_s += 10


def test_the_priority_of_a_request_goes_with_it() -> None:
    arbiter, view = Arbiter(), cluster(worker("w", requests={"r": RequestLoad(queued=1)}))
    judge(arbiter, view, p=[SetPriority("request", "r", 3)])
    view.settle()
    view.take(worker("w", number=9))
    [granted] = judge(arbiter, view, p=[]).granted
    assert (granted.withdrawn, granted.reason) == (True, "the request has ended")
    assert not view.standing
