"""Retries in virtual time: hours of backoff, to the second, in no time."""

import asyncio
from itertools import pairwise

import pytest

import nalar
from nalar.errors import AgentError

BEGAN: list[float] = []


@nalar.tool(
    name="retries_hourly",
    retry=nalar.Retry(max_attempts=4, initial_s=3600, multiplier=3, cap_s=20_000, jitter=0),
)
async def hourly() -> int:
    BEGAN.append(asyncio.get_running_loop().time())
    raise ConnectionError(f"attempt {nalar.context().attempt}")


@nalar.tool(name="retries_scattered", retry=nalar.Retry(max_attempts=2, initial_s=60, jitter=0.5))
async def scattered(number: int) -> int:
    if nalar.context().attempt == 1:
        raise ConnectionError("all at the same time")
    BEGAN.append(asyncio.get_running_loop().time())
    return number


def test_calls_that_failed_together_are_tried_again_apart() -> None:
    """Drawn anew by each worker: neither one moment for all calls, nor the same for all workers."""
    drawn: list[list[float]] = []
    for _ in range(2):
        BEGAN.clear()
        with nalar.local(virtual_time=True):
            begun = [scattered(number) for number in range(40)]
            assert [future.result() for future in begun] == list(range(40))
        first, last = min(BEGAN), max(BEGAN)
        assert last - first > 30, "half of the share at least"
        assert last - first <= 61
        drawn.append(sorted(at - first for at in BEGAN))
    assert max(abs(one - other) for one, other in zip(*drawn, strict=True)) > 1


def test_waits_grow_up_to_their_cap_and_are_kept() -> None:
    BEGAN.clear()
    with nalar.local(virtual_time=True), pytest.raises(AgentError, match="attempt 4"):
        hourly().result()
    waits = [after - before for before, after in pairwise(BEGAN)]
    assert [round(wait_s) for wait_s in waits] == [3600, 10_800, 20_000]


def test_a_wait_that_would_pass_the_deadline_is_not_begun() -> None:
    BEGAN.clear()
    with nalar.local(virtual_time=True), pytest.raises(AgentError, match="attempt 2"):
        hourly.options(deadline_s=10_000)().result()
    assert len(BEGAN) == 2
