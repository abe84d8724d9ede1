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
