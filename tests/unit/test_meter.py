"""The meter says what has changed of a worker's calls, and all of it adds up to what there is."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from nalar.cluster.view import ClusterView
from nalar.controllers.local_events import (
    Ended,
    Event,
    Finished,
    Left,
    Rejoined,
    Resume,
    Returned,
    Settled,
    Start,
    Ticked,
)
from nalar.ids import RootId, SessionId
from nalar.reports import AgentLoad
from tests.metered import DESK, ONE, THREE, Metered, ref


def test_calls_are_counted_where_they_stand() -> None:
    it = Metered(concurrency=2)
    it.arrive("runs", session="s")
    it.arrive("blocked", session="s")
    it.arrive("waits for a future")
    it.do(Left("waits for a future"))
    it.arrive("also runs")
    it.arrive("queued")
    it.arrive("parked", missing=["x"])
    load = it.report().agents[DESK]
    assert load == AgentLoad(queued=2, parked=1, running=2, waiting=1, blocked=1, oldest_at=2.0)
    it.do(Settled(ref("x"), ok=True))
    it.end("runs")
    it.end("also runs")
    load = it.report().agents[DESK]
    assert (load.queued, load.parked, load.running, load.blocked) == (1, 0, 2, 0)
    assert load.oldest_at == 6.0, "the parked one, by its arrival"


def test_nothing_is_said_twice_unless_all_is_to_be_said() -> None:
    it = Metered()
    it.arrive("a", session="s", root="r")
    first = it.report()
    assert list(first.agents) == [DESK]
    assert list(first.sessions[DESK]) == ["s"]
    assert list(first.requests) == ["r"]
    assert not it.changed
    second = it.report()
    assert (second.agents, second.sessions, second.requests) == ({}, {}, {})
    assert (second.number, second.running) == (2, 1)
    third = it.report(full=True)
    assert (third.agents, third.sessions, third.requests) == (
        first.agents, first.sessions, first.requests,
    )  # fmt: skip


def test_a_call_that_came_and_went_between_reports_leaves_only_its_share_of_the_totals() -> None:
    it = Metered()
    it.arrive("a", session="s")
    it.end("a")
    report = it.report()
    load = report.agents[DESK]
    assert (load.finished, load.busy_s, load.service_s, load.wait_s) == (1, 2.0, 2.0, 1.0)
    assert (load.tokens, report.tokens) == (7, {"small": 7})
    assert load.methods["work"].finished == 1
    assert (report.sessions, report.requests) == ({}, {})


def test_times_are_smoothed_and_failures_counted_apart() -> None:
    it = Metered()
    for key, busy_s, failed in (("a", 2.0, False), ("b", 12.0, True)):
        it.arrive(key)
        it.end(key, busy_s=busy_s, failed=failed)
    load = it.report().agents[DESK]
    assert (load.finished, load.failed, load.busy_s) == (1, 1, 14.0)
    assert load.service_s == load.methods["work"].service_s == 3.0


def test_a_batch_takes_one_slot_until_the_last_of_its_calls_runs_no_longer() -> None:
    it = Metered(concurrency=2)
    for key in "abc":
        it.arrive(key, batch=THREE)
    taken: list[tuple[int, int, int]] = []
    for ends in ("", "a", "b", "c"):
        if ends:
            it.do(Finished(ends))
        report = it.report(full=True)
        load = report.agents[DESK]
        taken.append((report.running, load.running, load.sharing))
    assert taken == [(1, 3, 2), (1, 2, 1), (1, 1, 0), (0, 0, 0)]


def test_a_call_of_a_batch_that_runs_once_more_by_itself_takes_a_slot_of_its_own() -> None:
    it = Metered(concurrency=2)
    for key in "abc":
        it.arrive(key, batch=THREE)
    it.report()
    it.do(Finished("a"), Rejoined("a"))
    report = it.report()
    assert (report.running, report.agents[DESK].running, report.agents[DESK].sharing) == (2, 3, 1)
    for key in "bca":
        it.end(key)
    report = it.report()
    assert (report.running, report.agents[DESK].running, report.agents[DESK].sharing) == (0, 0, 0)


def test_calls_that_gather_need_slots_for_full_batches() -> None:
    it = Metered(concurrency=1)
    it.arrive("runs")
    for number in range(7):
        it.arrive(f"{number}", batch=THREE)
    it.arrive("by itself")
    load = it.report().agents[DESK]
    assert (load.queued, load.spared, load.runs) == (8, 4, 5), "1, and 1, 3, 3, 1"
    it.end("runs")
    load = it.report().agents[DESK]
    assert (load.queued, load.spared, load.running, load.sharing) == (5, 2, 3, 2)
    assert load.runs == 4


def test_how_many_calls_share_a_run_is_told_before_any_has_come() -> None:
    it = Metered()
    it.meter.serve(DESK, {"work": 3})
    assert it.report().agents[DESK].methods["work"].batch == 3
    it.arrive("a", batch=THREE)
    it.end("a")
    assert it.report().agents[DESK].share == 1 / 3


def test_what_is_gone_is_said_once() -> None:
    it = Metered()
    it.arrive("a", session="s")
    it.report()
    it.end("a")
    report = it.report()
    assert report.sessions == {DESK: {SessionId("s"): None}}
    assert report.requests == {RootId("a"): None}
    assert not it.changed


def test_what_is_gone_is_said_also_where_all_is_said() -> None:
    it = Metered()
    it.arrive("a", session="s")
    it.report()
    it.end("a")
    report = it.report(full=True)
    assert report.sessions == {DESK: {SessionId("s"): None}}
    assert report.requests == {RootId("a"): None}


def test_the_oldest_is_found_however_many_came_and_went_behind_it() -> None:
    it = Metered(concurrency=2)
    it.arrive("holds the session", session="s")
    it.arrive("oldest", session="s")
    for number in range(1000):
        it.arrive(f"{number}", session=f"s{number}")
        it.arrive(f"{number} behind", session=f"s{number}")
        assert it.report().agents[DESK].oldest_at == 2.0
        it.end(f"{number}")
        it.end(f"{number} behind")
    line = it.meter._agents[DESK].line
    assert len(line._heap) < 200, "those that wait no longer are forgotten"


class Told(Metered):
    """One worker's life, step by step, with somebody who listens."""

    def __init__(self) -> None:
        super().__init__(concurrency=2)
        self.held: set[str] = set()
        self.running: set[str] = set()
        self.waiting: set[str] = set()
        self.view = ClusterView()
        self.view.take(self.report(full=True))

    def do(self, *events: Event) -> None:
        for event in events:
            for effect in self.state.handle(event):
                assert isinstance(effect, Start | Resume)
                self.running.add(effect.key)
                self.waiting.discard(effect.key)

    def arrives(self, key: str) -> None:
        if key not in self.held:
            self.held.add(key)
            session, missing = "s" if key in "abg" else "", ["x"] if key in "gh" else []
            batch = THREE if key in "acdfh" else None
            root = f"r{key in 'ace'}"
            self.arrive(key, session=session, root=root, missing=missing, batch=batch)

    def leaves(self, key: str) -> None:
        if key in self.running:
            self.running.remove(key)
            self.waiting.add(key)
            self.do(Left(key))

    def returns(self, key: str) -> None:
        if key in self.waiting:
            self.do(Returned(key))

    def ends(self, key: str) -> None:
        if key in self.running:
            self.running.remove(key)
            self.held.remove(key)
            self.do(Finished(key), Ended(key))

    def is_run_again(self, key: str) -> None:
        if key in self.running:
            self.do(Finished(key), Rejoined(key))

    def lingers_no_longer(self, _: str) -> None:
        self.now_s += THREE.linger_s
        self.do(Ticked(self.now_s))

    def settles(self, _: str) -> None:
        self.do(Settled(ref("x"), ok=True))

    def tells(self, _: str) -> None:
        self.view.take(self.report())

    def tells_all(self, _: str) -> None:
        self.view.take(self.report(full=True))

    def is_lost(self, _: str) -> None:
        if not self.view.take(self.report() and self.report()):
            self.tells_all("")


_STEPS = [
    Told.arrives, Told.leaves, Told.returns, Told.ends, Told.is_run_again, Told.lingers_no_longer,
    Told.settles, Told.tells, Told.tells_all, Told.is_lost,
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(_STEPS), st.sampled_from("abcdefgh")), max_size=60))
def test_what_a_listener_adds_up_is_what_there_is(
    steps: list[tuple[Callable[[Told, str], None], str]],
) -> None:
    it = Told()
    for step, key in steps:
        step(it, key)
    it.tells("")
    counts, view, load = it.state.counts(), it.view, it.view.load(DESK)
    assert (load.queued, load.parked, load.running, load.waiting) == (
        counts["queued"], counts["parked"], counts["running"],
        counts["waiting"] + counts["returning"],
    )  # fmt: skip
    assert view.workers[ONE].running == it.state._running, "a batch takes one slot"
    assert load.running - load.sharing == it.state._running
    sessions = [known.load.running for known in view.sessions.values()]
    assert sessions == ([len(it.running & {*"abg"})] if it.held & {*"abg"} else [])
    requests = view.requests.values()
    assert sum(request.running for request in requests) == counts["running"]
    assert sum(request.queued for request in requests) == counts["queued"]
    fresh = ClusterView()
    fresh.take(it.report(full=True))
    assert fresh.load(DESK) == load, "all there is says the same"
