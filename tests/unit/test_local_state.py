"""The local controller decides what runs next: events in, effects out."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nalar.call_policy import Batch
from nalar.controllers.local_events import (
    Arrived,
    Directed,
    DrainBegan,
    Effect,
    Ended,
    Expire,
    Fail,
    Finished,
    HandBack,
    LaneLost,
    Left,
    Rejoined,
    Resume,
    Returned,
    Settled,
    Start,
    Stop,
    StopRequested,
    Ticked,
)
from nalar.controllers.local_state import LocalState
from nalar.controllers.ranking import NO_TRAITS, Traits
from nalar.directives import Directive, Limit, Order, Pause, SetPriority
from nalar.ids import AgentName, FutureId, Ref, RootId, SessionId
from tests.local_controller import Checked


def ref(name: str) -> Ref:
    return Ref("r", AgentName("agent"), SessionId("_"), RootId("root"), "parent", FutureId(name))


def arrived(  # noqa: PLR0913 -- one default-valid event, any part of which a test may change
    key: str,
    *,
    lock: str | None = None,
    priority: int = 0,
    deadline: float = 1000.0,
    missing: tuple[str, ...] = (),
    after: str | None = None,
    at_s: float = 0.0,
    stop_at: float = 1000.0,
) -> Arrived:
    return Arrived(
        key, lock, priority, deadline,
        frozenset(map(ref, missing)), None if after is None else ref(after), at_s, stop_at,
    )  # fmt: skip


@pytest.fixture
def state() -> Checked:
    return Checked(concurrency=1)


def test_a_call_starts_at_once_when_a_slot_is_free(state: Checked) -> None:
    assert state.handle(arrived("a")) == [Start("a")]


def test_the_second_call_waits_for_the_first(state: Checked) -> None:
    state.handle(arrived("a"))
    assert state.handle(arrived("b")) == []
    assert state.handle(Ended("a")) == [Start("b")]


def test_a_higher_priority_overtakes_and_equals_keep_their_order(state: Checked) -> None:
    state.handle(arrived("running"))
    for key, priority in (("low", -1), ("first", 0), ("second", 0), ("high", 5)):
        state.handle(arrived(key, priority=priority))
    started = ["running"]
    while effects := state.handle(Ended(started[-1])):
        started += [effect.key for effect in effects]
    assert started == ["running", "high", "first", "second", "low"]


def test_one_call_of_a_session_runs_at_a_time_and_other_sessions_go_ahead() -> None:
    state = Checked(concurrency=8)
    assert state.handle(arrived("a1", lock="s/a")) == [Start("a1")]
    assert state.handle(arrived("a2", lock="s/a")) == []
    assert state.handle(arrived("b1", lock="s/b")) == [Start("b1")]
    assert state.handle(Ended("a1")) == [Start("a2")]


def test_a_call_keeps_its_session_while_it_waits_for_a_future() -> None:
    state = Checked(concurrency=1)
    state.handle(arrived("a1", lock="s/a"))
    state.handle(arrived("a2", lock="s/a"))
    assert state.handle(Left("a1")) == []
    assert state.handle(arrived("other")) == [Start("other")]


def test_a_waiting_call_gives_its_slot_up_and_comes_back_ahead_of_the_queue(
    state: Checked,
) -> None:
    state.handle(arrived("parent"))
    assert state.handle(arrived("child")) == []
    assert state.handle(Left("parent")) == [Start("child")]
    state.handle(arrived("stranger", priority=100))
    assert state.handle(Returned("parent")) == []
    assert state.handle(Ended("child")) == [Resume("parent")]
    assert state.handle(Ended("parent")) == [Start("stranger")]


def test_a_slot_is_free_while_a_record_is_stored_but_the_session_is_not() -> None:
    state = Checked(concurrency=1)
    state.handle(arrived("a1", lock="s/a"))
    state.handle(arrived("a2", lock="s/a"))
    state.handle(arrived("b"))
    assert state.handle(Finished("a1")) == [Start("b")]
    assert state.settling == 1
    state.handle(Finished("b"))
    assert state.handle(Ended("a1")) == [Start("a2")]


def test_a_call_on_its_way_out_runs_beyond_the_limit(state: Checked) -> None:
    state.handle(arrived("a"))
    state.handle(arrived("b"))
    assert state.handle(Left("a")) == [Start("b")]
    assert state.handle(Rejoined("a")) == []
    assert state.handle(Ended("b")) == []
    assert state.load == 1


def test_a_call_is_parked_until_its_last_dependency_settles(state: Checked) -> None:
    assert state.handle(arrived("a", missing=("x", "y"))) == []
    assert state.load == 0
    assert state.handle(Settled(ref("x"), ok=True)) == []
    assert state.handle(Settled(ref("y"), ok=True)) == [Start("a")]


def test_parked_calls_never_keep_others_from_starting() -> None:
    state = LocalState(concurrency=1)  # Checking 5,000 calls after each event takes long.
    for number in range(5000):
        assert state.handle(arrived(f"parked{number}", missing=("producer",))) == []
    assert state.handle(arrived("producer")) == [Start("producer")]
    effects = state.handle(Ended("producer"))
    assert effects == []
    assert state.handle(Settled(ref("producer"), ok=True)) == [Start("parked0")]


def test_a_failed_dependency_fails_the_call_but_a_failed_predecessor_only_precedes(
    state: Checked,
) -> None:
    state.handle(arrived("data", missing=("x",)))
    state.handle(arrived("order", missing=("x",), after="x"))
    assert state.handle(Settled(ref("x"), ok=False)) == [Fail("data", ref("x")), Start("order")]


def test_a_second_delivery_of_a_held_call_changes_nothing(state: Checked) -> None:
    state.handle(arrived("a"))
    assert state.handle(arrived("a")) == []
    state.handle(Ended("a"))
    assert state.idle


def test_a_call_past_its_deadline_expires_whether_it_comes_late_or_waits_too_long(
    state: Checked,
) -> None:
    assert state.handle(arrived("late", deadline=5, at_s=5)) == [Expire("late")]
    state.handle(arrived("running", at_s=5))
    state.handle(arrived("queued", deadline=10, at_s=5))
    state.handle(arrived("parked", deadline=10, missing=("x",), at_s=5))
    assert set(state.handle(Ticked(10))) == {Expire("queued"), Expire("parked")}
    assert state.handle(Ended("running")) == []


def test_an_expired_call_passes_its_session_on() -> None:
    state = Checked(concurrency=1)
    state.handle(arrived("busy"))
    state.handle(arrived("a1", lock="s/a", deadline=10))
    state.handle(arrived("a2", lock="s/a"))
    assert state.handle(Ticked(10)) == [Expire("a1")]
    state.handle(Ended("a1"))
    assert state.handle(Ended("busy")) == [Start("a2")]


def test_drain_gives_back_the_queue_and_keeps_the_running(state: Checked) -> None:
    state.handle(arrived("running"))
    state.handle(arrived("queued"))
    state.handle(arrived("parked", missing=("x",)))
    assert set(state.handle(DrainBegan())) == {HandBack("queued"), HandBack("parked")}
    state.handle(Ended("queued"))
    state.handle(Ended("parked"))
    assert state.handle(arrived("newcomer")) == [HandBack("newcomer")]
    state.handle(Ended("newcomer"))
    assert state.handle(Ended("running")) == []
    assert state.idle


def test_a_waiting_call_still_finishes_while_draining(state: Checked) -> None:
    state.handle(arrived("a"))
    state.handle(Left("a"))
    state.handle(DrainBegan())
    assert state.handle(Returned("a")) == [Resume("a")]


def test_losing_a_lane_gives_back_only_what_came_from_it(state: Checked) -> None:
    state.handle(arrived("running", lock="s/a"))
    state.handle(arrived("lost", lock="s/a"))
    state.handle(arrived("kept"))
    assert state.handle(LaneLost(("running", "lost"))) == [HandBack("lost")]
    assert state.handle(Ended("running")) == [Start("kept")]


def test_deadlines_of_calls_long_gone_do_not_pile_up() -> None:
    state = LocalState(concurrency=1)
    for number in range(50_000):
        state.handle(arrived(f"a{number}", deadline=1e9))
        state.handle(Ended(f"a{number}"))
    assert state.deadlines_kept <= 20_000


def test_a_queued_or_parked_call_that_is_to_stop_never_starts(state: Checked) -> None:
    state.handle(arrived("running", lock="s/a"))
    state.handle(arrived("queued", lock="s/a"))
    state.handle(arrived("parked", missing=("x",)))
    assert state.handle(StopRequested("queued", "cancelled")) == [Stop("queued", "cancelled")]
    assert state.handle(StopRequested("parked", "cancelled")) == [Stop("parked", "cancelled")]
    assert state.handle(Settled(ref("x"), ok=True)) == []
    assert state.handle(Ended("running")) == []


def test_a_running_call_that_is_to_stop_keeps_slot_and_session_until_it_has_ended(
    state: Checked,
) -> None:
    state.handle(arrived("a1", lock="s/a"))
    state.handle(arrived("a2", lock="s/a"))
    assert state.handle(StopRequested("a1", "cancelled")) == [Stop("a1", "cancelled")]
    assert state.handle(StopRequested("a1", "expired")) == [], "it was told once"
    assert state.load == 1
    assert state.handle(Ended("a1")) == [Start("a2")]


def test_a_call_that_is_to_stop_waits_for_no_slot_on_its_way_out(state: Checked) -> None:
    for key in ("waiting", "returning", "other"):
        state.handle(arrived(key))
        state.handle(Left(key))
    assert state.handle(arrived("running")) == [Start("running")]
    assert state.handle(Returned("returning")) == []
    assert state.handle(StopRequested("returning", "cancelled")) == [
        Resume("returning"),
        Stop("returning", "cancelled"),
    ]
    assert state.handle(StopRequested("waiting", "cancelled")) == [Stop("waiting", "cancelled")]
    assert state.handle(Returned("waiting")) == [Resume("waiting")]
    assert state.handle(Returned("other")) == []


def test_a_call_whose_record_is_on_its_way_stops_only_if_that_is_refused(state: Checked) -> None:
    state.handle(arrived("a"))
    state.handle(Finished("a"))
    assert state.handle(StopRequested("a", "cancelled")) == []
    assert state.handle(Rejoined("a")) == [Stop("a", "cancelled")]


def test_a_running_call_stops_at_its_deadline_however_early_it_had_to_start(
    state: Checked,
) -> None:
    state.handle(arrived("a", deadline=5.0, stop_at=8.0))
    assert state.handle(Ticked(6.0)) == []
    assert state.handle(Ticked(7.9)) == []
    assert state.handle(Ticked(8.0)) == [Stop("a", "expired")]
    assert state.handle(Ticked(9.0)) == []


ANALYST = AgentName("Analyst")
DIRECTIVES: list[Directive] = [Pause(ANALYST), Limit("agent", ANALYST, 1), Limit("tenant", "a", 0),
    SetPriority("session", "s1", 9), Order(ANALYST, "depth")]  # fmt: skip
KEYS = st.sampled_from([f"k{number}" for number in range(8)])


class AnyOrderOfEvents(RuleBasedStateMachine):
    """Whatever happens in whatever order: limits hold, and nothing is forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.state = Checked(concurrency=2)
        self.held: set[str] = set()
        self.running: set[str] = set()
        self.waiting: set[str] = set()
        self.leaving: set[str] = set()
        self.stopped: set[str] = set()
        self.draining = False

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            assert effect.key in self.held, f"{effect} for a call that is not held"
            match effect:
                case Start(key):
                    assert key not in self.running | self.waiting | self.leaving
                    assert not self.draining, "nothing starts while draining"
                    self.running.add(key)
                case Resume(key):
                    assert key in self.waiting
                    self.waiting.discard(key)
                    self.running.add(key)
                case Fail(key) | Expire(key) | HandBack(key):
                    assert key not in self.running | self.waiting
                    self.leaving.add(key)
                case Stop(key):
                    assert key not in self.leaving | self.stopped, "told once, and not too late"
                    self.stopped.add(key)
                    if key not in self.running | self.waiting:
                        self.leaving.add(key)

    @rule(
        key=KEYS,
        lock=st.sampled_from([None, "s/a", "s/b"]),
        priority=st.integers(-1, 1),
        deadline=st.sampled_from([5.0, 1000.0]),
        missing=st.sets(st.sampled_from(["x", "y"])),
        batch=st.sampled_from([None, None, Batch(size=2, linger_s=0.5)]),
        traits=st.sampled_from([NO_TRAITS, Traits(ANALYST, "s1"), Traits(ANALYST, tenant="a")]),
    )
    def arrive(
        self, key: str, traits: Traits, batch: Batch | None, missing: set[str], **given: Any
    ) -> None:
        self.held.add(key)
        event = arrived(key, missing=tuple(missing), **given)
        event = replace(event, traits=traits, batch=batch)
        self.take(self.state.handle(event))

    @rule(name=st.sampled_from(["x", "y"]), ok=st.booleans())
    def settle(self, name: str, ok: bool) -> None:
        self.take(self.state.handle(Settled(ref(name), ok=ok)))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        self.running.discard(key)
        self.waiting.add(key)
        self.take(self.state.handle(Left(key)))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def come_back(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.waiting)))
        self.take(self.state.handle(Returned(key)))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        self.running.discard(key)
        self.leaving.add(key)
        self.take(self.state.handle(Finished(key)))

    @precondition(lambda self: self.running | self.waiting | self.leaving)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.running | self.waiting | self.leaving)))
        for group in (self.held, self.running, self.waiting, self.leaving, self.stopped):
            group.discard(key)
        self.take(self.state.handle(Ended(key)))

    @rule(at_s=st.sampled_from([1.0, 6.0]))
    def tick(self, at_s: float) -> None:
        self.take(self.state.handle(Ticked(at_s)))

    @rule(key=KEYS)
    def stop(self, key: str) -> None:
        self.take(self.state.handle(StopRequested(key, "cancelled")))

    @rule(directive=st.sampled_from(DIRECTIVES), withdrawn=st.booleans())
    def direct(self, directive: Directive, withdrawn: bool) -> None:
        self.take(self.state.handle(Directed(directive, withdrawn=withdrawn)))

    @rule(keys=st.frozensets(KEYS))
    def lose_lane(self, keys: frozenset[str]) -> None:
        self.take(self.state.handle(LaneLost(tuple(sorted(keys)))))

    @rule()
    def drain(self) -> None:
        self.draining = True
        self.take(self.state.handle(DrainBegan()))

    @invariant()
    def limits_hold(self) -> None:
        running = [self.state._held[key] for key in self.running - self.stopped]
        slots = {id(held.shared or held) for held in running}
        assert len(slots) <= 2, "no more than the limit runs"
        assert self.state.idle == (not self.held)


TestAnyOrderOfEvents = AnyOrderOfEvents.TestCase
TestAnyOrderOfEvents.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
