"""Calls that gather start as a full batch, or once one of them has waited long enough."""

import pytest

from nalar.call_policy import Batch
from nalar.controllers.lanes import Credits
from nalar.controllers.local_events import (
    Arrived,
    Directed,
    DrainBegan,
    Effect,
    Ended,
    Event,
    Finished,
    HandBack,
    Rejoined,
    Start,
    StopRequested,
    Ticked,
)
from nalar.controllers.ranking import Traits
from nalar.directives import Limit, Pause, SetPriority
from nalar.ids import AgentName
from tests.local_controller import Checked

A = AgentName("A")
BATCH = Batch(size=3, linger_s=1.0)


def call(  # noqa: PLR0913 -- each by its name
    key: str, *, at_s: float = 0.0, method: str = "ask", tenant: str = "", lock: str | None = None,
    priority: int = 0, deadline: float = 1000.0, batch: Batch | None = BATCH,
) -> Arrived:  # fmt: skip
    traits = Traits(A, lock or "", key, tenant, method=method)
    return Arrived(
        key, lock, priority, deadline, frozenset(), None, at_s, traits=traits, batch=batch
    )


@pytest.fixture
def state() -> Checked:
    return Checked(concurrency=2)


def batches(effects: list[Effect]) -> list[tuple[str, ...]]:
    """Return what starts together; who starts alone is one by itself."""
    started = [it for it in effects if isinstance(it, Start)]
    found = list(dict.fromkeys(it.batch or (it.key,) for it in started))
    assert sorted(it.key for it in started) == sorted(key for keys in found for key in keys)
    return found


def tell(state: Checked, *events: Event, at_s: float = 0.0) -> list[tuple[str, ...]]:
    return [found for event in events for found in batches(state.handle(event, at_s))]


def test_a_batch_starts_when_it_is_full_in_one_slot(state: Checked) -> None:
    assert tell(state, call("a"), call("b")) == []
    assert tell(state, call("c")) == [("a", "b", "c")]
    assert state.load == 1
    assert tell(state, call("x", batch=None)) == [("x",)]


def test_a_batch_starts_when_its_first_call_is_due(state: Checked) -> None:
    tell(state, call("a", at_s=5.0), at_s=5.0)
    tell(state, call("b", at_s=5.5), at_s=5.5)
    assert state.due_s == 6.0
    assert tell(state, Ticked(5.99)) == []
    assert tell(state, Ticked(6.0)) == [("a", "b")]
    assert state.due_s is None


def test_a_slot_is_free_once_the_last_of_a_batch_has_left_it() -> None:
    state = Checked(concurrency=1)
    tell(state, call("a"), call("b"), call("c"))
    assert tell(state, call("x", batch=None), Finished("a"), Ended("b")) == []
    assert tell(state, Ended("c")) == [("x",)]


def test_a_call_of_a_batch_that_runs_once_more_has_a_slot_of_its_own(state: Checked) -> None:
    tell(state, call("a"), call("b"), call("c"), Finished("a"), Rejoined("a"))
    assert state.load == 2
    tell(state, Ended("b"), Ended("c"))
    assert state.load == 1
    tell(state, Ended("a"))
    assert state.load == 0


def test_methods_gather_apart_from_each_other(state: Checked) -> None:
    tell(state, call("a"), call("b"), call("x", method="tell"), call("y", method="tell"))
    assert tell(state, call("z", method="tell")) == [("x", "y", "z")]


def test_one_that_may_have_failed_its_batch_starts_alone_and_at_once(state: Checked) -> None:
    tell(state, call("a"))
    assert tell(state, call("b", batch=None)) == [("b",)]


def test_half_of_the_time_that_is_left_is_the_longest_wait(state: Checked) -> None:
    tell(state, call("a", deadline=10.0, batch=Batch(3, 60.0)))
    tell(state, call("b", deadline=1.0, batch=Batch(3, 60.0)))
    assert state.due_s == 0.5
    assert tell(state, Ticked(0.5)) == [("a", "b")]


def test_when_the_clock_is_set_back_nobody_waits_for_its_old_time(state: Checked) -> None:
    tell(state, call("a", at_s=500.0), at_s=500.0)
    assert tell(state, Ticked(10.0)) == [("a",)]


def test_the_highest_priority_is_in_the_first_batch() -> None:
    state = Checked(concurrency=1)
    tell(state, call("x", batch=None))
    tell(state, *(call(f"a{n}") for n in range(3)), call("high", priority=1))
    assert tell(state, Ended("x")) == [("high", "a0", "a1")]


def test_one_that_is_ranked_anew_has_waited_as_long_as_before(state: Checked) -> None:
    tell(state, call("a", tenant="t"))
    tell(state, Directed(SetPriority("tenant", "t", 5)), at_s=0.9)
    assert state.due_s == 1.0


def test_calls_of_one_session_are_in_batches_one_after_the_other(state: Checked) -> None:
    tell(state, call("a", lock="s"), call("b", lock="s"), call("c", lock="t"))
    assert tell(state, Ticked(1.0)) == [("a", "c")]
    tell(state, Ended("a"), at_s=1.5)
    assert tell(state, Ticked(2.5)) == [("b",)]


def test_who_is_cancelled_or_given_back_is_not_waited_for(state: Checked) -> None:
    tell(state, call("a"), call("b"), StopRequested("a", "cancelled"))
    assert tell(state, call("c")) == []
    assert HandBack("b") in state.handle(DrainBegan())
    assert state.due_s is None


def test_a_paused_agent_gathers_and_starts_nothing(state: Checked) -> None:
    pause = Pause(A)
    assert tell(state, Directed(pause), call("a"), call("b"), call("c"), Ticked(5.0)) == []
    assert state.due_s is None, "nothing is to happen at any time"
    assert tell(state, Directed(pause, withdrawn=True)) == [("a", "b", "c")]


def test_limits_count_calls_and_hold_a_batch_to_what_is_left() -> None:
    state = Checked(concurrency=4)
    roomy, limit = Batch(size=4, linger_s=1.0), Limit("tenant", "t", 2)
    held_back = (call(key, tenant="t", batch=roomy) for key in "abcd")
    tell(state, Directed(limit))
    assert tell(state, *held_back) == [("a", "b")]
    tell(state, call("x", at_s=1.0, batch=roomy), at_s=1.0)
    assert tell(state, Ended("a"), Ended("b"), at_s=1.5) == [], "c and d wait anew"
    assert tell(state, Ticked(2.0)) == [("c", "d", "x")]


def test_what_waits_counts_as_the_full_batches_that_it_makes() -> None:
    state = Checked(concurrency=1)
    tell(state, call("x", batch=None), *(call(f"a{n}") for n in range(7)))
    assert state.load == 1 + 2, "the seventh has room beside it"


def test_a_worker_that_prefetches_nothing_asks_until_a_batch_is_full() -> None:
    state, credits_ = Checked(concurrency=1), Credits(slots=1)
    credits_.open("A", rank=1)
    came, started = 0, list[tuple[str, ...]]()
    while asked := sum(ask.count for ask in credits_.asks(state.load)):
        for _ in range(asked):
            credits_.delivered("A", backlog=9)
            started += tell(state, call(f"a{came}"))
            came += 1
    assert started == [("a0", "a1", "a2")]
    assert came == 3, "nothing is prefetched while that runs"


def test_many_that_come_and_go_behind_one_that_stays_are_forgotten() -> None:
    state = Checked(concurrency=1)
    tell(state, call("x", batch=None), call("first", priority=-1))
    for n in range(500):
        tell(state, call(f"a{n}"), StopRequested(f"a{n}", "cancelled"), Ended(f"a{n}"))
    (line,) = state._ready.batching._lines.values()
    assert line.count == 1
    assert len(line.times) < 100
