"""What a call's code has under way: whether it may be at work is read off its tasks and timers."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from nalar.activity import Activity
from nalar.context import entered
from nalar.controllers.attending import attend
from nalar.futures import Future
from nalar.loops import new_loop
from nalar.stopping import StopFlag


class FreeSlot:
    """As many slots as one likes."""

    def leave(self) -> None: ...

    async def enter(self) -> None: ...

    def rejoin(self) -> None: ...


@dataclass
class Code:
    """A call as far as its code touches it."""

    activity: Activity = field(default_factory=Activity)
    slot: FreeSlot = field(default_factory=FreeSlot)
    stop: StopFlag = field(default_factory=StopFlag)
    runtime: Any = None

    def check(self) -> None:
        self.stop.check()


OURS: Future[None] = Future()
Body = Callable[[], Coroutine[Any, Any, object]]


async def ours() -> None:
    await OURS


async def several(*work: Awaitable[object]) -> None:
    await asyncio.gather(*work)


async def in_a_group() -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ours())
        tasks.create_task(several(ours(), ours()))


async def waiting() -> None:
    loop = asyncio.get_running_loop()
    await asyncio.wait([loop.create_task(ours()), loop.create_task(ours())])


async def limited() -> None:
    async with asyncio.timeout(60):
        await OURS


async def locked() -> None:
    lock = asyncio.Lock()
    await lock.acquire()
    await several(ours(), lock.acquire())


async def in_a_thread() -> None:
    await several(ours(), asyncio.to_thread(lambda: RELEASED.wait(5)))


async def after_a_limit() -> None:
    async with asyncio.timeout(60):
        await asyncio.sleep(0)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.001):
            await asyncio.sleep(1)
    for _ in range(100):
        await asyncio.get_running_loop().create_task(asyncio.sleep(0))
    await OURS


async def beside_what_it_forgot() -> None:
    FORGOTTEN.append(asyncio.get_running_loop().create_task(asyncio.sleep(60)))
    await OURS


async def scheduled() -> None:
    asyncio.get_running_loop().call_later(60, print)
    await OURS


async def with_timers_that_were_due_at_once() -> None:
    loop = asyncio.get_running_loop()
    for _ in range(100):
        loop.call_later(0, len, "")
        loop.call_at(loop.time() - 1, len, "")
    await OURS


RELEASED = threading.Event()
FORGOTTEN: list[asyncio.Task[None]] = []


def looked_at(body: Body) -> object:
    """Run `body` as a call's code, on the loop that workers have, and look once it has settled."""

    async def look() -> object:
        attend(asyncio.get_running_loop())
        call: Any = Code()
        task = asyncio.get_running_loop().create_task(body(), context=entered(call))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await asyncio.shield(task)
        seen = call.activity.awaited()
        RELEASED.set()
        task.cancel()
        await asyncio.wait([task])
        return seen

    RELEASED.clear()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(look())


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (ours, 1),
        (lambda: several(ours(), ours()), 2),
        (in_a_group, 3),
        (waiting, 2),
        (after_a_limit, 1),
        (with_timers_that_were_due_at_once, 1),
    ],
)
def test_a_call_rests_when_all_of_it_waits_for_futures(body: Body, count: int) -> None:
    assert looked_at(body) == (OURS,) * count


@pytest.mark.parametrize(
    "body",
    [
        lambda: several(ours(), asyncio.sleep(60)),
        limited,
        lambda: asyncio.wait_for(ours(), 60),  # noqa: TID251 -- users may
        locked,
        in_a_thread,
        beside_what_it_forgot,
        scheduled,
        lambda: asyncio.sleep(60),
    ],
    ids=["sleep", "timeout", "wait_for", "lock", "thread", "forgotten", "timer", "alone"],
)
def test_a_call_that_anything_else_may_go_on_is_at_work(body: Body) -> None:
    assert looked_at(body) is None
