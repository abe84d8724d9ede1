"""What is told of single sessions and requests, and when."""

from nalar.cluster.view import ClusterView
from nalar.controllers.meter import ENTRIES_MAX
from nalar.controllers.untold import REFILL_MAX
from nalar.ids import RootId
from nalar.reports import RequestLoad
from tests.metered import DESK, Metered


def test_a_request_without_calls_here_is_remembered_for_a_while() -> None:
    it = Metered(kept_s=10.0)
    it.arrive("child", root="r")
    it.end("child", root="r")
    assert it.report().requests == {
        RootId("r"): RequestLoad(finished=1, busy_s=2.0, deadline=900.0, tenant="acme", depth=1)
    }
    it.now_s += 9.0
    assert it.report(full=True).requests[RootId("r")] is not None
    it.now_s += 1.0
    assert it.report().requests == {RootId("r"): None}


def test_of_requests_without_calls_here_only_so_many_are_remembered() -> None:
    it = Metered(kept_max=2)
    for root in "abc":
        it.arrive(f"child of {root}", root=root)
        it.end(f"child of {root}", root=root)
    it.arrive("another child of b", root="b")
    assert sorted(it.report().requests) == ["b", "c"]


def test_a_session_and_a_request_are_told_of_once_a_call_of_theirs_stays() -> None:
    it = Metered(detailed_after_s=3.0)
    it.arrive("runs", session="s")
    it.arrive("queued", session="t")
    first = it.report()
    assert first.agents[DESK].queued == 1, "it counts at once"
    assert (first.sessions, first.requests) == ({}, {})
    assert not it.changed
    it.now_s = 3.9
    assert not it.meter.is_due(it.now_s)
    it.now_s = 4.0
    assert it.meter.is_due(it.now_s)
    told = it.report()
    assert (list(told.sessions[DESK]), list(told.requests)) == (["s"], ["runs"])
    assert it.meter.has_young, "the other one has come a second later"
    it.end("runs")
    it.end("queued")
    told = it.report()
    assert (told.sessions, told.requests) == ({DESK: {"s": None}}, {"runs": None})
    assert not it.meter.has_young, "what has ended young is never told of"


def test_a_request_whose_own_call_has_ended_goes_with_its_last_call_here() -> None:
    it = Metered(concurrency=2)
    it.arrive("r")
    it.arrive("child", root="r")
    it.report()
    it.end("r")
    assert it.report().requests[RootId("r")] is not None
    it.end("child", root="r")
    assert it.report().requests == {RootId("r"): None}


def test_all_there_is_is_told_bit_by_bit_and_what_changes_meanwhile_goes_first() -> None:
    it, there = Metered(concurrency=2), 3 * REFILL_MAX
    for number in range(there):
        it.arrive(f"{number}", session=f"s{number}")
    it.report()
    assert not it.changed
    view, first = ClusterView(), it.report(full=True)
    assert len(first.sessions[DESK]) == len(first.requests) == REFILL_MAX
    it.end("0")
    it.arrive("new", session="new")
    second = it.report()
    assert {"s0", "s2", "new"} <= second.sessions[DESK].keys()
    assert len(second.sessions[DESK]) == REFILL_MAX + 3
    for report in (first, second, it.report()):
        assert view.take(report)
    assert len(view.sessions) == len(view.requests) == there
    assert not it.changed


def test_more_than_fits_comes_in_several_reports() -> None:
    it = Metered()
    for number in range(2 * ENTRIES_MAX + 1):
        it.arrive(f"{number}", session=f"s{number}")
    view, reports = ClusterView(), [it.report(full=True)]
    while it.changed:
        reports.append(it.report())
    assert [len(report.requests) for report in reports] == [ENTRIES_MAX, ENTRIES_MAX, 1]
    assert all(view.take(report) for report in reports)
    assert len(view.sessions) == len(view.requests) == 2 * ENTRIES_MAX + 1
