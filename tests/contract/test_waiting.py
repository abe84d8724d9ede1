"""What calls that wait may rely on: they never stand in the way of what they wait for."""

import asyncio
import dataclasses
import time
from typing import Any

import pytest

import nalar
from nalar.errors import AgentError, Cancelled
from tests.clusters import Cluster, kill, until

#: Seconds that branches take before they call; tests change them between two attempts.
DELAYS: dict[str, float] = {}


@nalar.tool(name="waiting_leaf")
async def leaf(n: int, pause_s: float = 0.0) -> int:
    await asyncio.sleep(pause_s)
    return n


@nalar.workflow(name="waiting_gather")
async def gathering(n: int) -> int:
    return sum(await asyncio.gather(*(leaf(i) for i in range(n))))


@nalar.workflow(name="waiting_impatient")
async def impatient() -> int:
    quick = leaf(1)
    leaf(2, 0.6)
    try:
        async with asyncio.timeout(0.3):
            return await quick  # The slot is taken by then, until the timeout has passed.
    except TimeoutError:
        return await leaf(3)


@nalar.workflow(name="waiting_down")
async def down(depth: int, tag: int) -> int:
    return 0 if depth == 0 else 1 + await down(depth - 1, tag)


@nalar.tool(name="waiting_own_loop")
def own_loop() -> int:
    async def inner() -> int:
        other = leaf(2, 0.3)
        first = await leaf(1)
        return first + await other

    return asyncio.run(inner())


class WaitingPad(nalar.Agent, stateful=True):
    rows: nalar.ManagedList[str]

    @nalar.method(timeout_s=0.1)
    def too_slow(self) -> None:
        time.sleep(0.4)
        self.rows.append("from a call that failed")

    @nalar.method
    async def stray(self) -> None:
        async def later(rows: nalar.ManagedList[str]) -> None:
            await asyncio.sleep(0.1)
            rows.append("from a task that outlived its call")

        DELAYS.clear()
        stray: Any = asyncio.get_running_loop().create_task(later(self.rows))
        STRAYS.append(stray)

    @nalar.method
    async def add(self, row: str, pause_s: float = 0.0) -> int:
        await asyncio.sleep(pause_s)
        self.rows.append(row)
        return len(self.rows)

    @nalar.method
    async def add_elsewhere(self, session: str, pause_s: float) -> int:
        await asyncio.sleep(pause_s)
        return await WaitingPad.options(session=session).add("from elsewhere")


STRAYS: list[asyncio.Task[None]] = []


@nalar.workflow(name="waiting_both")
async def both() -> list[int]:
    async def one(session: str) -> int:
        await asyncio.sleep(DELAYS[session])
        return await WaitingPad.options(session=session).add("the same")

    return list(await asyncio.gather(one("a"), one("b")))


@nalar.workflow(name="waiting_careless")
async def careless() -> str:
    async def later() -> None:
        await asyncio.sleep(0.05)
        await leaf(1)

    STRAYS.append(asyncio.get_running_loop().create_task(later()))
    return "done"


async def test_branches_of_one_call_wait_on_a_single_slot(cluster: Cluster) -> None:
    await cluster.worker("waiting_leaf", "waiting_gather", concurrency=1)
    await cluster.client()
    async with asyncio.timeout(10):
        assert await nalar.gather(*(gathering(n) for n in range(1, 6))) == [0, 1, 3, 6, 10]


async def test_a_wait_that_is_cut_off_while_its_slot_is_taken_goes_on(cluster: Cluster) -> None:
    await cluster.worker("waiting_leaf", "waiting_impatient", concurrency=1)
    await cluster.client()
    async with asyncio.timeout(10):
        assert await impatient() in (1, 3)


async def test_more_is_asked_for_when_all_that_runs_waits(cluster: Cluster) -> None:
    await cluster.worker("waiting_down", concurrency=1)
    await cluster.client()
    async with asyncio.timeout(10):
        assert await nalar.gather(*(down(2, tag) for tag in range(12))) == [2] * 12


async def test_synchronous_code_may_run_a_loop_of_its_own(cluster: Cluster) -> None:
    await cluster.worker("waiting_leaf", "waiting_own_loop", concurrency=1)
    await cluster.client()
    async with asyncio.timeout(10):
        assert await own_loop() == 3


async def test_code_that_outlives_its_call_reaches_no_later_one(cluster: Cluster) -> None:
    await cluster.worker("WaitingPad")
    client = await cluster.client()
    slow, stray = (WaitingPad.options(session=name) for name in ("slow", "stray"))
    with pytest.raises(AgentError, match="TimeoutError"):
        await slow.too_slow()
    await stray.stray()
    await nalar.gather(slow.add("kept", 0.6), stray.add("kept", 0.6))
    for session in ("slow", "stray"):
        assert (await client.session("WaitingPad", session)).state == {"rows": ["kept"]}


async def test_a_call_from_code_that_outlived_its_own_is_refused(cluster: Cluster) -> None:
    await cluster.worker("waiting_leaf", "waiting_careless")
    await cluster.client()
    assert await careless() == "done"
    with pytest.raises(nalar.UsageError, match="outlived its own call, waiting_careless"):
        await STRAYS.pop()


async def test_a_resumed_parent_tells_equal_calls_to_two_sessions_apart(cluster: Cluster) -> None:
    DELAYS.update(a=0.0, b=60.0)
    await cluster.worker("WaitingPad")
    client = await cluster.client()
    first = await cluster.worker("waiting_both")
    future = both()

    async def done() -> bool:
        return (await client.session("WaitingPad", "a")).revision > 0

    async with asyncio.timeout(10):
        while not await done():  # noqa: ASYNC110 -- what is awaited is the ledger's
            await asyncio.sleep(0.01)
    await kill(first)
    DELAYS.update(a=0.1, b=0.0)
    await cluster.worker("waiting_both")
    async with asyncio.timeout(10):
        assert await future == [1, 1]
    for session in ("a", "b"):
        assert (await client.session("WaitingPad", session)).state == {"rows": ["the same"]}


async def test_a_slot_is_handed_over_while_its_calls_wait_for_others_of_it(
    cluster: Cluster,
) -> None:
    cluster.settings = dataclasses.replace(cluster.settings, slots=2)
    await cluster.worker("WaitingPad")
    await cluster.client()
    calls = [
        WaitingPad.options(session=f"from-{n}").add_elsewhere(f"to-{n}", 0.3) for n in range(8)
    ]
    second = await cluster.worker("WaitingPad")
    async with asyncio.timeout(15):
        assert await nalar.gather(*calls) == [1] * 8
        await until(lambda: second.worker is not None and second.worker._membership._own)


async def test_a_queued_call_with_large_arguments_can_be_cancelled(cluster: Cluster) -> None:
    await cluster.worker("WaitingPad")
    client = await cluster.client()
    session = WaitingPad.options(session="s")
    running = session.add("first", 1.0)
    queued = session.add("x" * 2_000_000)
    queued.cancel()
    with pytest.raises(Cancelled):
        await queued
    assert await running == 1
    assert (await client.session("WaitingPad", "s")).state == {"rows": ["first"]}
