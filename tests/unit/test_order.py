"""Older records are told before a newer one is acted on, however they were heard."""

import asyncio
import dataclasses
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from nalar.calls.order import Order
from nalar.calls.results import Results
from nalar.combined import as_completed
from nalar.context import Call, Runtime, entered
from nalar.errors import Unavailable
from nalar.futures import Future
from nalar.ids import AgentName, FutureId, Ref, RootId, SessionId
from nalar.settings import Settings
from nalar.sim.virtual_time import VirtualTimeLoop
from nalar.statestore.memory import MemoryBroker, MemoryLedger
from nalar.statestore.port import LedgerEntry
from tests.clusters import until

PARENT = Ref("r", AgentName("flow"), SessionId("_"), RootId("root"), "client", FutureId("flow"))


class Slot:
    """An execution slot that nobody competes for."""

    waiting = False

    def leave(self) -> None: ...
    async def enter(self) -> None: ...
    def enter_blocking(self) -> None: ...
    def rejoin(self) -> None: ...


class Asked(MemoryLedger):
    """A ledger that announces nothing, remembers what it was asked, and may be away."""

    def __init__(self) -> None:
        super().__init__(MemoryBroker(Settings()))
        self.asked: list[tuple[int, int]] = []
        self.away = 0

    async def find(self, pattern: str, *, after: int = 0, upto: int = 0) -> list[LedgerEntry]:
        self.asked.append((after, upto))
        await asyncio.sleep(0.001)
        if self.away:
            self.away -= 1
            raise Unavailable("no server")
        return await super().find(pattern, after=after, upto=upto)


class World:
    """The children of one running call, told of by hand."""

    def __init__(self) -> None:
        self.ledger = Asked()
        self.results = Results(self.ledger, reread_s=1e9, chance=random.Random(1))
        self.order = Order(self.ledger, self.results, PARENT)
        self.call = Call(
            ref=PARENT, agent="flow", method="run", session="", tenant="", priority=0,
            deadline=1e9, attempt=1, worker="w", path="flow", holds=(), traceparent="",
            runtime=cast("Runtime", None), slot=Slot(), order=self.order,
        )  # fmt: skip

    def child(self, name: str, parent: str = "flow") -> Future[str]:
        ref = dataclasses.replace(PARENT, parent=parent, future=FutureId(name))
        future: Future[str] = Future(ref)

        def told(entry: LedgerEntry) -> None:
            future.resolve(name, revision=entry.revision)

        self.results.expect(ref, told, covered=True)
        return future

    async def end(self, future: Future[Any], *, heard: bool) -> int:
        assert future.ref is not None
        revision = await self.ledger.commit(future.ref, b"{}", expected=0, ttl_s=1e6)
        if heard:
            self.results.announce(LedgerEntry(future.ref, revision, b"{}"))
        return revision


async def test_what_is_older_is_told_first_though_nobody_heard_of_it() -> None:
    world = World()
    unheard, heard, later = (world.child(name) for name in "abc")
    await world.end(unheard, heard=False)
    revision = await world.end(heard, heard=True)
    await world.order.reached(revision)
    assert [unheard.done(), heard.done(), later.done()] == [True, True, False]
    assert unheard.revision < heard.revision


async def test_records_of_other_callers_are_none_of_its_business() -> None:
    world = World()
    own, foreign = world.child("a"), world.child("b", parent="another")
    await world.end(foreign, heard=False)
    await world.order.reached(await world.end(own, heard=True))
    assert not foreign.done()


async def test_the_ledger_is_asked_for_what_is_new_and_once_for_many() -> None:
    world = World()
    children = [world.child(str(number)) for number in range(5)]
    first, second, third = [await world.end(child, heard=True) for child in children[:3]]
    for reached in [world.order.reached(first), world.order.reached(third)]:
        await reached
    await world.order.reached(second)
    await world.order.reached(await world.end(children[3], heard=True))
    assert world.ledger.asked == [(0, third), (third, third + 1)]


async def test_a_value_that_is_being_fetched_for_an_older_record_is_waited_for() -> None:
    world = World()
    fetched = asyncio.Event()

    async def fetch() -> None:
        await fetched.wait()

    revision = await world.end(world.child("a"), heard=True)
    async with asyncio.TaskGroup() as tasks:
        world.order.fetches(tasks.create_task(fetch()))
        reached = world.order.reached(revision)
        await until(lambda: world.ledger.asked)
        assert not reached.done()
        fetched.set()
        await reached


def test_a_server_that_is_away_is_asked_until_it_answers() -> None:
    async def story() -> list[tuple[int, int]]:
        world = World()
        world.ledger.away = 3
        revision = await world.end(world.child("a"), heard=True)
        await world.order.reached(revision)
        return world.ledger.asked

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert len(runner.run(story())) == 4


async def test_a_call_that_has_ended_asks_no_more() -> None:
    world = World()
    world.ledger.away = 10**6
    world.order.reached(1)
    await asyncio.sleep(0.01)
    world.order.close()
    await asyncio.sleep(0)
    assert [task for task in asyncio.all_tasks() if "Order" in repr(task)] == []


async def acts_on(futures: list[Future[str]]) -> list[str]:
    return [await future async for future in as_completed(futures)]


def acts_on_in_a_thread(futures: list[Future[str]]) -> list[str]:
    return [future.result() for future in as_completed(futures)]


async def seen(
    world: World, futures: list[Future[str]], act: Callable[[], Any], *, thread: bool
) -> list[str]:
    """Return in which order code of the call sees the futures end, while `act` ends them."""
    loop = asyncio.get_running_loop()
    context = entered(world.call)
    with ThreadPoolExecutor(1) as threads:
        code: asyncio.Future[list[str]]
        if thread:
            code = loop.run_in_executor(threads, lambda: context.run(acts_on_in_a_thread, futures))
        else:
            code = loop.create_task(acts_on(futures), context=context)
        await act()
        return await code


async def story_of(*, thread: bool) -> None:
    world = World()
    futures = [world.child(name) for name in "abcd"]

    async def act() -> None:
        await asyncio.sleep(0.01)
        await world.end(futures[2], heard=False)
        await world.end(futures[1], heard=True)
        await asyncio.sleep(0.02)
        await world.end(futures[3], heard=True)
        await world.end(futures[0], heard=True)

    assert await seen(world, futures, act, thread=thread) == ["c", "b", "d", "a"]
    # The last one can have nothing before it, and what was heard together is asked for once.
    assert len(world.ledger.asked) <= 3


async def test_a_call_sees_its_children_end_in_the_ledgers_order() -> None:
    await story_of(thread=False)


async def test_a_call_in_a_thread_sees_its_children_end_in_the_ledgers_order() -> None:
    await story_of(thread=True)


async def test_who_is_not_resumed_does_not_ask() -> None:
    world = World()
    futures = [world.child(name) for name in "ab"]
    for future in futures:
        await world.end(future, heard=True)
    assert await acts_on(futures) == ["a", "b"]
    assert world.ledger.asked == []
