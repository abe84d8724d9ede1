"""In virtual time waiting costs nothing, and the clock says how long it was."""

import asyncio
import time

import nalar
from nalar.sim.virtual_time import LoopClock, VirtualTimeLoop


def test_a_day_passes_in_no_time() -> None:
    async def day() -> float:
        clock = LoopClock()
        before = clock.now_s()
        await asyncio.sleep(86_400)
        return clock.now_s() - before

    started = time.perf_counter()
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(day()) == 86_400
    assert time.perf_counter() - started < 5


def test_timers_fire_in_order_whatever_else_is_ready() -> None:
    async def order() -> list[str]:
        seen: list[str] = []

        async def note(name: str, delay_s: float) -> None:
            await asyncio.sleep(delay_s)
            seen.append(name)

        async with asyncio.TaskGroup() as tasks:
            for name, delay_s in (("c", 3), ("a", 1), ("b", 2), ("now", 0)):
                tasks.create_task(note(name, delay_s))
        return seen

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(order()) == ["now", "a", "b", "c"]


@nalar.tool(name="virtual_time_slow")
async def slow(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


def test_a_local_runtime_in_virtual_time_waits_for_nobody() -> None:
    started = time.perf_counter()
    with nalar.local(virtual_time=True):
        assert slow(3600.0).result(10) == 3600.0
    assert time.perf_counter() - started < 5
