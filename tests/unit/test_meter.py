"""The meter says what has changed of a worker's calls, and all of it adds up to what there is."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from nalar.call_policy import Batch
from nalar.cluster.view import ClusterView
from nalar.controllers.local_events import (
    Arrived,
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
from nalar.controllers.local_state import LocalState
from nalar.controllers.meter import ENTRIES_MAX, Meter
from nalar.controllers.ranking import Traits
from nalar.controllers.untold import REFILL_MAX
from nalar.ids import AgentName, FutureId, Ref, RootId, SessionId, WorkerId
from nalar.reports import AgentLoad, Report, RequestLoad

DESK, ONE = AgentName("Desk"), WorkerId("one")
THREE = Batch(size=3, linger_s=60.0)


def ref(name: str) -> Ref:
    return Ref("r", DESK, SessionId("_"), RootId("root"), "parent", FutureId(name))


@dataclass(frozen=True)
class Call:
    """A call that waited for a second, and has ended."""

    traits: Traits
    failed: bool
    ended_s: float
    busy_s: float
    deadline: float = 900.0
    arrived_s: float = 1.0
    started_s: float = 2.0
    tokens: dict[str, int] | None = field(default_factory=lambda: {"small": 7})


class Metered:
    """A local controller with its meter, and what a listener makes of its reports."""

    def __init__(self, concurrency: int = 1, *, kept_s: float = 60.0, kept_max: int = 1000) -> None:
        self.state = LocalState(concurrency, metered=True)
        self.meter = Meter(ONE, concurrency, requests_kept_s=kept_s, requests_kept_max=kept_max)
        self.meter.serve(DESK)
        self.now_s = 0.0

    def arrive(
        self, key: str, *, session: str = "", root: str = "", missing: Iterable[str] = (),
        batch: Batch | None = None,
    ) -> None:  # fmt: skip
        self.now_s += 1
        self.do(Arrived(
            key, session or None, 0, 1e6, frozenset(map(ref, missing)), None, self.now_s, 900.0,
            Traits(DESK, session, root or key, "acme", depth=1 if root else 0, method="work"),
            3 if session else None, batch,
        ))  # fmt: skip

    def do(self, *events: Event) -> None:
        for event in events:
            self.state.handle(event)

    def end(self, key: str, *, root: str = "", busy_s: float = 2.0, failed: bool = False) -> None:
        traits = Traits(DESK, "", root or key, "acme", depth=1 if root else 0, method="work")
        call = Call(traits, failed, ended_s=self.now_s, busy_s=busy_s)
        self.meter.ended(call, whole=not root)
        self.do(Finished(key), Ended(key))

    @property
    def changed(self) -> bool:
        return self.state.has_moved or self.meter.changed

    def report(self, *, full: bool = False) -> Report:
        self.meter.count(self.state.moved(), self.now_s)
        return self.meter.report(self.now_s, slots={DESK: [3]}, full=full)


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


def test_a_request_whose_own_call_has_ended_goes_with_its_last_call_here() -> None:
    it = Metered(concurrency=2)
    it.arrive("r")
    it.arrive("child", root="r")
    it.report()
    it.end("r")
    assert it.report().requests[RootId("r")] is not None
    it.end("child", root="r")
    assert it.report().requests == {RootId("r"): None}


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
