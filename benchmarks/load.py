"""The load: closed loops that call, await, and call again. The same for both sides."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchmarks.bench_measure import Sample, summarise

#: One call. Its number is that of the loop plus a multiple of the loops there are: what is chosen
#: by number modulo a multiple of the loops belongs to one loop, and is never in use twice.
Call = Callable[[int], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Load:
    """How one round loads a side."""

    in_flight: int
    seconds: float
    #: Run before anything is counted: the pipeline fills.
    warm_s: float = 0.3


async def drive(call: Call, load: Load) -> Sample:
    """Keep `load.in_flight` calls open and return what was seen after the warm-up.

    Counts for `load.seconds`, or longer until each loop could have made a call: a slow disk is
    measured too.
    """
    latencies: list[float] = []
    completed = 0
    opens = time.perf_counter() + load.warm_s
    closes = opens + load.seconds
    closed = 0.0

    async def loop(number: int) -> None:
        nonlocal completed, closed
        while not closed:
            began = time.perf_counter()
            await call(number)
            ended = time.perf_counter()
            number += load.in_flight
            if ended < opens:
                continue
            # Calls that end after the round count as latencies: they may be the slowest.
            latencies.append(ended - began)
            if not closed:
                completed += 1
                closed = ended if ended >= closes and completed >= load.in_flight else 0.0

    async with asyncio.TaskGroup() as tasks:
        for number in range(load.in_flight):
            tasks.create_task(loop(number))
    return summarise(latencies, completed=completed, seconds=closed - opens)
