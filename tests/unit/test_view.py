"""The cluster's view is the sum of what its workers have said last."""

from nalar.cluster.view import ClusterView
from nalar.directives import Issued, Provision, key_of
from nalar.ids import AgentName, RootId, SessionId, WorkerId
from nalar.reports import AgentLoad, MethodLoad, Report, RequestLoad, SessionLoad

AGENT = AgentName("Analyst")
ONE, TWO = WorkerId("one"), WorkerId("two")
S, R = SessionId("s"), RootId("r")


def report(  # noqa: PLR0913 -- each by its name
    worker: WorkerId,
    number: int,
    *,
    full: bool = False,
    load: AgentLoad | None = None,
    session: SessionLoad | None = None,
    request: RequestLoad | None = None,
    gone: bool = False,
) -> Report:
    return Report(
        worker, number, float(number), full=full, concurrency=4, running=1, applied=0,
        agents={AGENT: load} if load else {},
        sessions={AGENT: {S: session}} if session or gone else {},
        requests={R: request} if request or gone else {},
    )  # fmt: skip


def test_counts_add_up_over_workers_and_times_are_means_by_calls() -> None:
    view = ClusterView()
    view.take(report(ONE, 1, full=True, load=AgentLoad(queued=2, finished=3, service_s=1.0)))
    view.take(
        report(TWO, 1, full=True, load=AgentLoad(queued=1, finished=1, service_s=5.0, oldest_at=9))
    )
    total = view.load(AGENT)
    assert (total.queued, total.finished, total.service_s, total.oldest_at) == (3, 4, 2.0, 9)
    assert [worker.name for worker in view.serving(AGENT)] == [ONE, TWO]
    view.forget(TWO)
    assert view.load(AGENT).queued == 2


def test_a_lost_report_is_noticed_and_a_full_one_mends_it() -> None:
    view = ClusterView()
    assert not view.take(report(ONE, 1))  # Nothing is known of it yet.
    assert view.take(report(ONE, 2, full=True, session=SessionLoad(queued=1)))
    assert view.take(report(ONE, 3, load=AgentLoad(queued=1)))
    assert not view.take(report(ONE, 5))
    assert view.take(report(ONE, 6, full=True, load=AgentLoad(queued=7)))
    assert view.load(AGENT).queued == 7
    assert not view.sessions  # The full one did not name it.


def test_a_report_that_comes_twice_or_late_changes_nothing() -> None:
    view = ClusterView()
    view.take(report(ONE, 1, full=True, load=AgentLoad(queued=1)))
    view.take(report(ONE, 2, load=AgentLoad(queued=2)))
    assert view.take(report(ONE, 1, load=AgentLoad(queued=9)))
    assert view.take(report(ONE, 2, load=AgentLoad(queued=9)))
    assert view.load(AGENT).queued == 2


def test_a_session_that_moves_is_seen_where_it_is() -> None:
    view = ClusterView()
    view.take(report(ONE, 1, full=True, session=SessionLoad(queued=2, oldest_at=5)))
    view.take(report(TWO, 1, full=True))
    assert list(view.waiting) == [(AGENT, S)]
    view.take(report(TWO, 2, session=SessionLoad(queued=1, oldest_at=6)))
    view.take(report(ONE, 2, gone=True))  # What the old place says now takes nothing away.
    assert view.sessions[AGENT, S].worker == TWO
    view.take(report(TWO, 3, session=SessionLoad(running=1)))
    assert not view.waiting
    view.take(report(TWO, 4, gone=True))
    assert not view.sessions


def test_requests_add_up_over_workers_and_go_with_the_last_part() -> None:
    view = ClusterView()
    view.take(report(ONE, 1, full=True, request=RequestLoad(finished=2, busy_s=1.5, depth=1)))
    view.take(report(TWO, 1, full=True, request=RequestLoad(queued=1, busy_s=0.5, depth=3)))
    known = view.requests[R]
    assert (known.finished, known.queued, known.busy_s, known.depth) == (2, 1, 2.0, 3)
    view.take(report(ONE, 2, gone=True))
    assert view.requests[R].finished == 0
    view.forget(TWO)
    assert not view.requests


def test_what_has_changed_is_told_once() -> None:
    view = ClusterView()
    view.take(report(ONE, 1, full=True, session=SessionLoad(queued=1), request=RequestLoad()))
    assert (view.changed_sessions, view.changed_requests) == ({(AGENT, S)}, {R})
    view.settle()
    view.take(report(ONE, 2, load=AgentLoad(queued=1)))
    assert not view.changed_sessions | view.changed_requests


def test_the_session_that_has_waited_longest_comes_first() -> None:
    view = ClusterView()
    sessions = {SessionId(name): SessionLoad(queued=1, oldest_at=at) for name, at in
                (("young", 9.0), ("old", 1.0), ("middle", 5.0))}  # fmt: skip
    told = report(ONE, 1, full=True, load=AgentLoad(queued=3))
    told.sessions = {AGENT: dict(sessions)}
    view.take(told)
    assert [it.session for it in view.longest_waiting(AGENT)] == ["old", "middle", "young"]


def test_a_full_report_that_says_nothing_new_changes_nothing() -> None:
    view = ClusterView()
    first = report(ONE, 1, full=True, session=SessionLoad(queued=1), request=RequestLoad(busy_s=3))
    view.take(first)
    view.settle()
    again = report(ONE, 2, full=True, session=SessionLoad(queued=1), request=RequestLoad(busy_s=3))
    assert view.take(again)
    assert not view.changed_sessions | view.changed_requests
    assert view.tenants[""].busy_s == 3


def test_a_worker_that_was_started_again_under_its_name_begins_anew() -> None:
    view = ClusterView()
    view.take(report(ONE, 7, full=True, load=AgentLoad(queued=1), session=SessionLoad(queued=1)))
    restarted = report(ONE, 1, full=True)
    restarted.at_s = 100.0
    assert view.take(restarted)
    assert not view.sessions
    assert not view.serving(AGENT)
    assert view.take(report(ONE, 2, load=AgentLoad(queued=4)))
    assert view.load(AGENT).queued == 4


def test_what_a_tenant_has_had_stays_when_its_requests_are_gone() -> None:
    view = ClusterView()
    view.take(report(ONE, 1, full=True, request=RequestLoad(queued=1, busy_s=2.0, tenant="t")))
    view.take(report(ONE, 2, request=RequestLoad(running=1, busy_s=5.0, tenant="t")))
    assert (view.tenants["t"].queued, view.tenants["t"].running) == (0, 1)
    view.take(report(ONE, 3, gone=True))
    tenant = view.tenants["t"]
    assert (tenant.running, tenant.parts, tenant.busy_s) == (0, 0, 5.0)


def test_as_many_workers_are_wanted_as_directed_or_as_there_are() -> None:
    view = ClusterView()
    view.take(report(ONE, 1, full=True, load=AgentLoad()))
    assert view.wanted(AGENT) == 1
    directive = Provision(AGENT, 5)
    view.standing[key_of(directive)] = Issued(directive, "hand", "", 0.0)
    assert view.wanted(AGENT) == 5


def test_who_comes_now_waits_for_what_is_ahead() -> None:
    view = ClusterView()
    view.take(report(ONE, 1, full=True, load=AgentLoad(queued=2, finished=1, service_s=4.0)))
    view.backlog[AGENT] = 6
    assert view.ahead_s(AGENT) == 8.0  # Eight calls of four seconds in four slots.


def test_a_batch_counts_as_one_slot_wherever_its_calls_are() -> None:
    view = ClusterView()
    methods = {"embed": MethodLoad(finished=9, batch=8)}
    load = AgentLoad(running=8, sharing=7, queued=16, spared=14, methods=methods)
    view.take(report(ONE, 1, full=True, load=load))
    view.take(report(TWO, 1, full=True, load=AgentLoad(running=2, sharing=1)))
    view.backlog[AGENT] = 32
    assert view.demand(AGENT) == 1 + 2 + 1 + 4
    assert view.workers[ONE].room == 1, "one of four is taken, and two batches wait"
