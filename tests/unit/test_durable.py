"""Sleeping, signals and steps outside of any call."""

import asyncio
import math

import pytest

import nalar
from nalar.errors import UsageError


def double(n: int) -> int:
    return n * 2


async def later(n: int) -> int:
    await asyncio.sleep(0)
    return n * 2


def test_outside_of_a_call_it_is_ordinary_code() -> None:
    assert nalar.sleep(0.001).result(5) is None
    assert nalar.step(double, 4).result() == 8
    assert nalar.step(later, 4).result() == 8
    with pytest.raises(TypeError):
        nalar.step(double, "x", 1).result()  # type: ignore[call-arg, arg-type]


async def test_on_an_event_loop_too() -> None:
    await nalar.sleep(0.001)
    assert await nalar.step(double, 4) == 8
    assert await nalar.step(later, n=4) == 8


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(UsageError, match=r"wait_for\('x'\).*none runs"):
        nalar.wait_for("x")
    for seconds in (-1, math.inf, math.nan):
        with pytest.raises(UsageError, match="number of seconds"):
            nalar.sleep(seconds)


def test_a_pending_future_that_is_no_call_takes_no_signal() -> None:
    with pytest.raises(UsageError, match="no call that signals can be sent to"):
        nalar.gather().signal("x")


def test_in_virtual_time_hours_pass_at_once() -> None:
    with nalar.local(virtual_time=True):
        assert half_a_day().result(20) == "12 hours later"


@nalar.workflow(name="durable_half_a_day")
async def half_a_day() -> str:
    for _ in range(12):
        await nalar.sleep(3_600)
    return "12 hours later"
