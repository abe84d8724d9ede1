"""Streams whose reader, or whose worker, loses the server for a while."""

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator

import pytest

import nalar
from nalar.errors import StreamRestarted
from nalar.futures import Future
from tests.clusters import until
from tests.contract.worlds import eventually
from tests.faults.bank import Bank
from tests.proxy import Cable

#: Lets a generator's next value out, by its name and which of its executions it is.
GATES: defaultdict[tuple[str, int], asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(0))
BEGUN: Counter[str] = Counter()
#: Values that were taken off each generator's hands.
YIELDED: Counter[str] = Counter()


@nalar.tool(name="faults_tell")
async def tell(name: str, upto: int) -> AsyncIterator[int]:
    """Yield a number for each that is let through, a hundred more in each execution."""
    execution = BEGUN[name]
    BEGUN[name] += 1
    for n in range(upto):
        await GATES[name, execution].acquire()
        yield 100 * execution + n
        YIELDED[name] += 1


def let(name: str, count: int, execution: int = 0) -> None:
    for _ in range(count):
        GATES[name, execution].release()


async def kept(bank: Bank, future: Future[list[int]], count: int) -> None:
    """Wait until so many values are stored."""
    chunks, ref = bank.client.host.backend.chunks, future.ref
    assert ref is not None

    async def stored() -> bool:
        return sum(len(entry.chunk.values) // 2 for entry in await chunks.read(ref)) >= count

    await eventually(stored)


async def test_many_readers_of_a_stream_cost_its_worker_no_message(line: Cable, bank: Bank) -> None:
    await bank.cluster.worker("faults_tell", url=line.url)
    elsewhere = [await bank.cluster.host() for _ in range(5)]
    costs: list[tuple[int, int]] = []
    for name, readers in (("one", 1), ("fifty", 50)):
        before = messages(line)
        future = tell(name, 20)
        assert future.ref is not None
        streams = [
            aiter(elsewhere[number % 5].calls.attach(None, future.ref).stream())
            for number in range(readers)
        ]
        for n in range(20):
            let(name, 1)
            assert await asyncio.gather(*map(anext, streams)) == [n] * readers
        assert await future == list(range(20))
        after = messages(line)
        costs.append((after[0] - before[0], after[1] - before[1]))
    (sent, got), (sent_to_many, got_for_many) = costs
    assert sent >= 20
    # Signs of life and reports come and go as time does.
    assert sent_to_many - sent < 20
    assert got_for_many - got < 20


def messages(line: Cable) -> tuple[int, int]:
    """Return how many messages were published through a cable, and how many delivered."""
    return len(re.findall(rb"PUB \S+ ", line.sent)), len(re.findall(rb"MSG \S+ ", line.got))


async def test_a_reader_that_lost_the_server_gets_what_came_meanwhile_once_and_in_order(
    line: Cable, bank: Bank
) -> None:
    await bank.heir("faults_tell")
    away = await bank.cluster.host(url=line.url)
    future = tell("a", 6)
    assert future.ref is not None
    read: Future[list[int]] = away.calls.attach(None, future.ref)
    values = aiter(read.stream())
    let("a", 2)
    assert [await anext(values), await anext(values)] == [0, 1]
    line.cut()
    let("a", 3)
    await kept(bank, future, 5)
    line.mend()
    async with asyncio.timeout(10):  # Though nothing more is yielded, and the call goes on.
        assert [await anext(values) for _ in range(3)] == [2, 3, 4]
    let("a", 1)
    assert [value async for value in values] == [5]
    assert await read == list(range(6))


async def test_what_a_worker_yields_without_a_server_comes_once_and_in_order_when_it_is_back(
    line: Cable, bank: Bank
) -> None:
    # Nobody else is to take over meanwhile: that is the next test.
    host = await bank.cluster.worker("faults_tell", url=line.url, lease_s=30.0)
    future = tell("b", 6)
    values = aiter(future.stream())
    let("b", 2)
    assert [await anext(values), await anext(values)] == [0, 1]
    line.cut()
    await until(lambda: host.backend.describe()["state"] != "connected")
    let("b", 3)
    await until(lambda: YIELDED["b"] == 5)
    line.mend()
    async with asyncio.timeout(10):
        assert [await anext(values) for _ in range(3)] == [2, 3, 4]
    let("b", 1)
    assert [value async for value in values] == [5]
    assert await future == list(range(6))


async def test_a_reader_is_told_that_another_worker_began_anew_and_what_the_first_says_late_is_void(
    line: Cable, bank: Bank
) -> None:
    first = await bank.cluster.worker("faults_tell", url=line.url)
    future = tell("c", 5)
    strict, lenient = aiter(future.stream()), aiter(future.stream(resume=True))
    let("c", 2)
    assert [await anext(strict), await anext(strict)] == [0, 1]
    assert [await anext(lenient), await anext(lenient)] == [0, 1]
    line.cut()
    await until(lambda: first.backend.describe()["state"] != "connected")
    let("c", 2)  # Yielded, and not stored before another has begun anew.
    await bank.heir("faults_tell")
    let("c", 3, 1)
    with pytest.raises(StreamRestarted):
        await anext(strict)
    assert await anext(lenient) == 102
    line.mend()
    await until(lambda: first.backend.describe()["state"] == "connected")
    await kept(bank, future, 2 + 3 + 2)
    let("c", 2, 1)
    async with asyncio.timeout(20):
        assert [value async for value in lenient] == [103, 104]
        assert [value async for value in future.stream()] == list(range(100, 105))
        assert await future == list(range(100, 105))
