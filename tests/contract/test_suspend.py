"""Suspending: a call that waits for long is in nobody's hands, and goes on as if it had been."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import nalar
from nalar.bus.codec import decode_record
from nalar.calls.suspended import SUSPENDED, Suspended
from nalar.client.client import Client
from nalar.controllers import suspender
from nalar.controllers.suspender import Suspender
from nalar.processes.host import Host
from nalar.settings import Settings
from tests.clusters import Cluster, jetstream_cluster, kill, memory_cluster, until
from tests.contract.suspending import (
    ALL,
    GATES,
    SEEN,
    asker,
    begin_anew,
    branches,
    grandparent,
    limited,
    parent,
    retried,
    sleeper,
    stubborn,
    tidy,
)
from tests.contract.worlds import eventually

#: Short, so that waiting for it costs the suite little.
AFTER_S = 0.2


@pytest.fixture(autouse=True)
def anew() -> None:
    begin_anew()


@pytest.fixture(params=["memory", pytest.param("jetstream", marks=pytest.mark.nats)])
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    settings = Settings(
        lease_s=2.0, reread_s=1.0, concurrency=4, suspend_after_s=AFTER_S,
        suspend_on_calls_after_s=AFTER_S,
    )  # fmt: skip
    if request.param == "memory":
        async with memory_cluster(settings) as made:
            yield made
    else:
        async with jetstream_cluster(settings, tmp_path) as made:
            yield made


async def suspended(client: Client, count: int = 1) -> list[Suspended]:
    """Wait until `count` calls are suspended, and return them."""
    found: list[Suspended] = []

    async def holds() -> bool:
        entries = await client.host.backend.control.scan(SUSPENDED)
        found[:] = filter(None, (Suspended.decode(entry.value or b"") for entry in entries))
        return len(found) == count

    await eventually(holds)
    return found


async def let_go(*hosts: Host) -> None:
    """Wait until nothing is held by any of the workers."""
    for host in hosts:
        await until(lambda host=host: host.worker is not None and not host.worker._held)


async def test_a_sleeping_call_is_in_no_hands_and_goes_on_when_it_was_to(cluster: Cluster) -> None:
    host = await cluster.worker(*ALL)
    client = await cluster.client()
    future = sleeper(1.2)
    [entry] = await suspended(client)
    await let_go(host)
    assert entry.told == "time"
    assert SEEN["sleeper ended early"] == 1
    async with asyncio.timeout(10):
        assert await future == "attempt 1", "a suspension is no attempt"
    assert SEEN["sleeper began"] == 2
    assert not await client.host.backend.control.scan(SUSPENDED)


async def test_a_signal_wakes_the_call_that_waits_for_it(cluster: Cluster) -> None:
    host = await cluster.worker(*ALL)
    client = await cluster.client()
    future = asker()
    [entry] = await suspended(client)
    await let_go(host)
    assert entry.told == "signal answer"
    await future.signal("answer", 42)
    async with asyncio.timeout(2):
        assert await future == ["before", 42]
    assert SEEN["slow before"] == 1, "what it had called before was not called again"
    assert SEEN["asker began"] == 2


async def test_calls_that_end_wake_the_call_that_made_them(cluster: Cluster) -> None:
    GATES["one"], GATES["two"] = asyncio.Event(), asyncio.Event()
    await cluster.worker("suspend_slow")
    waiter = await cluster.worker("suspend_parent")
    client = await cluster.client()
    future = parent()
    await suspended(client)
    await let_go(waiter)
    GATES["one"].set()
    await until(lambda: SEEN["parent began"] == 2)
    GATES["two"].set()
    async with asyncio.timeout(3):
        assert await future == ["one", "two"]
    assert SEEN["slow one"] == SEEN["slow two"] == 1


async def test_a_chain_of_suspended_calls_wakes_from_its_end(cluster: Cluster) -> None:
    host = await cluster.worker(*ALL)
    client = await cluster.client()
    run = await client.submit(grandparent)
    below = next(it for it in await suspended(client, 2) if it.target == "suspend_asker.run")
    await let_go(host)
    await client.signal(run, "answer", "yes", call=below.ref.future)
    async with asyncio.timeout(3):
        assert await (await client.future(run)) == ["before", "yes"]


async def test_a_call_of_which_any_branch_may_be_at_work_is_not_suspended(cluster: Cluster) -> None:
    GATES["work"] = asyncio.Event()
    host = await cluster.worker(*ALL)
    client = await cluster.client()
    future = branches()
    assert await limited() == "too late", "a limit of asyncio's is kept"
    assert SEEN["limited began"] == 1
    assert SEEN["branches began"] == 1
    await until(lambda: host.worker is not None and len(host.worker._held) == 1)
    GATES["work"].set()
    await suspended(client)
    await future.signal("answer", 1)
    async with asyncio.timeout(3):
        assert await future == [1, "worked"]


async def test_a_cancelled_call_ends_at_once_though_it_is_suspended(cluster: Cluster) -> None:
    host = await cluster.worker(*ALL)
    client = await cluster.client()
    future = grandparent()
    below = next(it for it in await suspended(client, 2) if it.target == "suspend_asker.run")
    await let_go(host)
    future.cancel()
    with pytest.raises(nalar.Cancelled):
        async with asyncio.timeout(3):
            await future
    ledger = client.host.backend.ledger

    async def ended() -> bool:
        return bool(await ledger.read([below.ref]))

    await eventually(ended)
    [record] = (await ledger.read([below.ref])).values()
    assert decode_record(record.ref, record.body).status == "cancelled"
    await suspended(client, 0)


async def test_a_suspended_call_ends_at_its_deadline(cluster: Cluster) -> None:
    await cluster.worker(*ALL)
    client = await cluster.client()
    future = asker.options(deadline_s=2)()
    await suspended(client)
    with pytest.raises(nalar.Expired):
        async with asyncio.timeout(6):
            await future


async def test_how_code_takes_its_suspension_is_not_how_its_call_ends(cluster: Cluster) -> None:
    await cluster.worker(*ALL)
    client = await cluster.client()
    tidying, swallowing = tidy(), stubborn()
    await suspended(client, 2)
    assert SEEN["slow tidied"] == 0, "a call made on the way into suspension is refused"
    await until(lambda: SEEN["swallowed"])
    await tidying.signal("answer", 1)
    await swallowing.signal("answer", 2)
    async with asyncio.timeout(4):
        assert [await tidying, await swallowing] == [1, 2]
    assert SEEN["slow tidied"] == 1


async def test_an_attempt_that_is_suspended_is_the_same_attempt_when_it_goes_on(
    cluster: Cluster,
) -> None:
    await cluster.worker(*ALL)
    client = await cluster.client()
    future = retried()
    await suspended(client)
    await future.signal("answer", "yes")
    async with asyncio.timeout(4):
        assert await future == [2, "ConnectionError", "yes", 2]
    assert SEEN["failing first"] == 2
    assert SEEN["failing second"] == 1, "what it has seen fail, it sees fail again"

    async def forgotten() -> bool:
        return not await client.host.backend.control.scan("start")

    await eventually(forgotten)


async def test_a_signal_is_not_lost_that_comes_while_its_call_is_being_suspended(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once before all that it waits for is read again, and once just after."""
    await cluster.worker(*ALL)
    await cluster.client()
    for place in ("_write", "has_come"):
        future = asker()
        sent = asyncio.Event()
        owner: Any = Suspender if place == "_write" else suspender
        original = getattr(owner, place)

        async def meanwhile(
            *given: Any, original: Any = original, future: Any = future, sent: Any = sent
        ) -> Any:
            done = await original(*given)
            if not sent.is_set():
                sent.set()
                await future.signal("answer", "just now")
            return done

        with monkeypatch.context() as patch:
            patch.setattr(owner, place, meanwhile)
            async with asyncio.timeout(4):
                assert await future == ["before", "just now"]
        assert sent.is_set()


async def test_a_worker_that_dies_while_it_suspends_a_call_has_not_lost_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry stands, the message was not handed back: its lease must run out."""
    written = asyncio.Event()
    write = Suspender._write

    async def last_act(self: Suspender, sleeping: Suspended) -> None:
        await write(self, sleeping)
        written.set()
        await asyncio.Event().wait()

    doomed = await cluster.worker(*ALL)
    client = await cluster.client()
    with monkeypatch.context() as patch:
        patch.setattr(Suspender, "_write", last_act)
        asking = asker()
        await written.wait()
        await kill(doomed)
    await cluster.worker(*ALL)
    await suspended(client, 1)
    await asking.signal("answer", "yes")
    async with asyncio.timeout(6):
        assert await asking == ["before", "yes"]
    assert SEEN["slow before"] == 1


async def test_workers_that_die_meanwhile_take_nothing_with_them(cluster: Cluster) -> None:
    doomed = await cluster.worker(*ALL)
    client = await cluster.client()
    sleeping = [sleeper(3 + number / 10) for number in range(10)]
    asking = [asker() for _ in range(10)]
    await suspended(client, 20)
    await let_go(doomed)
    await kill(doomed)
    await cluster.worker(*ALL)
    for future in asking:
        await future.signal("answer", "yes")
    async with asyncio.timeout(15):
        assert [await future for future in asking] == [["before", "yes"]] * 10
        assert [await future for future in sleeping] == ["attempt 1"] * 10
    assert SEEN["slow before"] == 10
