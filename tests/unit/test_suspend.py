"""When a waiting call is suspended, and when one that comes again goes on."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nalar.calls.suspended import Suspended
from nalar.controllers.suspend import CALLS_MAX, Patience, Rest, Resting, asleep_s
from nalar.ids import AgentName, FutureId, Ref, RootId, SessionId

PATIENCE = Patience(waits_s=5.0, calls_s=60.0)


def rest(what: str = "a", *, until_s: float = math.inf, calls: int = 0, signals: int = 0) -> Rest:
    return Rest(what, until_s, calls, signals)


def suspended(*, until: float, calls: int = 0, signals: int = 0) -> Suspended:
    refs = [
        Ref("r", AgentName("a"), SessionId("_"), RootId("r"), "p", FutureId(f"f{number}"))
        for number in range(calls + 1)
    ]
    named = {f"s{number}": 0 for number in range(signals)}
    return Suspended(refs[0], "a.run", b"lease", 100.0, until, tuple(refs[1:]), named)


@pytest.mark.parametrize(
    ("waits", "after_s"),
    [
        (rest(until_s=1000.0), 0.0),
        (rest(signals=1), 5.0),
        (rest(signals=1, until_s=1000.0), 5.0),
        (rest(calls=2, until_s=1000.0), 5.0),
        (rest(calls=2, signals=1), 5.0),
        (rest(calls=2), 60.0),
    ],
    ids=["time", "signal", "signal or time", "calls or time", "calls or signal", "calls"],
)
def test_a_call_is_suspended_once_it_has_rested_for_long_enough(
    waits: Rest, after_s: float
) -> None:
    resting = Resting(PATIENCE)
    assert resting.due("k", waits, 100.0) is (after_s == 0.0)
    assert not after_s or not resting.due("k", waits, 100.0 + after_s - 0.1)
    assert resting.due("k", waits, 100.0 + after_s)


def test_a_wait_that_is_about_to_end_is_not_worth_it() -> None:
    resting = Resting(PATIENCE)
    assert not resting.due("k", rest(until_s=105.0), 100.0)
    assert not resting.due("k", rest(signals=1, until_s=110.0), 100.0)
    assert not resting.due("k", rest(signals=1, until_s=110.0), 106.0)


@pytest.mark.parametrize("moved", [rest("b", calls=1), None])
def test_what_moves_begins_to_rest_anew(moved: Rest | None) -> None:
    resting = Resting(PATIENCE)
    resting.due("k", rest("a", calls=2), 100.0)
    assert not resting.due("k", moved, 159.0)
    assert not resting.due("k", rest("b", calls=1), 161.0)
    assert resting.due("k", rest("b", calls=1), 221.0)


def test_a_call_that_has_left_is_forgotten() -> None:
    resting = Resting(PATIENCE)
    resting.due("k", rest(signals=1), 100.0)
    resting.forget(frozenset())
    assert not resting.due("k", rest(signals=1), 106.0)


def test_more_calls_than_an_entry_names_are_waited_for_here() -> None:
    resting = Resting(PATIENCE)
    resting.due("k", rest(calls=CALLS_MAX + 1), 100.0)
    assert not resting.due("k", rest(calls=CALLS_MAX + 1), 1000.0)


def test_a_sleeper_sleeps_until_its_time_and_no_longer() -> None:
    assert asleep_s(suspended(until=500.0), 200.0, come=False) == 300.0
    assert asleep_s(suspended(until=500.0), 500.0, come=False) == 0.0
    assert asleep_s(suspended(until=500.0), 200.0, come=True) == 0.0


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.booleans())
def test_what_waits_for_records_looks_again_within_a_minute(
    waited_s: float, left_s: float, signal: bool
) -> None:
    waits = {"signals": 1} if signal else {"calls": 1}
    now_s = 100.0 + waited_s
    pause_s = asleep_s(suspended(until=now_s + left_s, **waits), now_s, come=False)
    assert pause_s <= 60.0
    assert pause_s <= left_s + 1e-6
    assert pause_s >= min(left_s, 5.0) - 1e-6, "never in a tight loop"
