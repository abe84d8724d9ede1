"""Which calls are started once more after a worker died."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nalar.controllers.crashes import Condemn, Go, Starts, Wait, apart_s, decide

LEASE_S = 10.0


def verdict(known: Starts, **changes: Any) -> Go | Wait | Condemn:
    values: dict[str, Any] = {
        "future": "f", "attempt": 1, "upto": 0, "process": "p2", "now_s": 1000.0,
        "lease_s": LEASE_S, "crashes_max": 3,
    }  # fmt: skip
    return decide(known, **(values | changes))


def test_a_first_suspect_delivery_is_started_at_once_and_written_down() -> None:
    decided = verdict(Starts())
    assert decided == Go(Starts(1, 1000.0, "p2", 1, 0), Starts(0, 0.0, "", 1, 0))


def test_a_start_that_ended_is_taken_back_and_the_deaths_before_it_are_not() -> None:
    decided = verdict(Starts(2, 900.0, "p1", 1, 0))
    assert isinstance(decided, Go)
    assert (decided.starts.count, decided.back.count) == (3, 2)


def test_a_call_whose_workers_died_too_often_is_condemned() -> None:
    assert verdict(Starts(3, 900.0, "p1", 1, 0)) == Condemn(3)


def test_a_process_knows_that_its_own_start_has_not_killed_it() -> None:
    decided = verdict(Starts(3, 900.0, "p2", 1, 0))
    assert isinstance(decided, Go)
    assert decided.starts.count == 3


def test_calls_that_died_together_are_started_apart() -> None:
    died = Starts(1, 1000.0 - LEASE_S, "p1", 1, 0)
    waits = [verdict(died, future=f"f{n}") for n in range(16)]
    delays = [wait.delay_s for wait in waits if isinstance(wait, Wait)]
    assert len(set(delays)) == 16
    assert all(0 < delay_s <= 2 for delay_s in delays)
    for n, delay_s in enumerate(delays):
        assert isinstance(verdict(died, future=f"f{n}", now_s=1000.001 + delay_s), Go)


def test_the_distance_grows_and_has_an_end() -> None:
    assert all(apart_s(f"f{n}", 40) <= 30 for n in range(50))
    assert max(apart_s(f"f{n}", 3) for n in range(50)) > 4


def test_an_attempt_keeps_where_its_childrens_records_ended_when_it_began() -> None:
    first = verdict(Starts(), attempt=2, upto=70)
    assert isinstance(first, Go)
    assert first.back.upto == first.starts.upto == 70
    resumed = verdict(first.back, attempt=2, upto=90)
    assert isinstance(resumed, Go)
    assert resumed.starts.upto == 70
    after_a_death = verdict(first.starts, attempt=2, upto=90, now_s=2000.0)
    assert isinstance(after_a_death, Go)
    assert after_a_death.starts.upto == 70
    following = verdict(first.back, attempt=3, upto=90)
    assert isinstance(following, Go)
    assert following.starts.upto == 90


@given(st.builds(Starts, st.integers(0, 9), st.floats(0, 2e9), st.text(), st.integers(0, 9)))
def test_an_entry_is_read_back_as_it_was_written(starts: Starts) -> None:
    assert Starts.decode(starts.encode()) == starts


@pytest.mark.parametrize("value", [None, b"", b"nonsense", b"[]", b'{"starts":"many"}', b"3"])
def test_what_is_no_entry_counts_as_no_start(value: bytes | None) -> None:
    assert Starts.decode(value) == Starts()
