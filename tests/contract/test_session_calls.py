"""What calls that share state may rely on, whichever broker carries them."""

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

import nalar
from nalar.bus.codec import decode_record
from nalar.client.agreement import SLOTS
from nalar.context import connect_runtime
from nalar.controllers.run import Runner
from nalar.errors import (
    AgentError,
    Cancelled,
    InvalidResult,
    ReentrantCall,
    Unavailable,
    UsageError,
)
from nalar.ids import AgentName, SessionId
from nalar.messages import Invocation
from nalar.processes.host import Host
from tests.clusters import Cluster, kill, until
from tests.contract.served import (
    GATES,
    RUNS,
    Box,
    CallsCounter,
    CallsShelf,
    Colour,
    Shape,
    write_then_read,
)


async def test_a_session_sees_every_call_once_and_in_its_callers_order(cluster: Cluster) -> None:
    await cluster.worker("CallsCounter")
    client = await cluster.client()
    session = CallsCounter.options(session="ann")
    assert await nalar.gather(*(session.push(x) for x in range(20))) == list(range(1, 21))
    assert await session.look() == list(range(20))
    assert await CallsCounter.options(session="bob").look() == []
    view = await client.session("CallsCounter", "ann")
    assert view.state == {"seen": list(range(20)), "named": {"all": list(range(20))}}


async def test_a_session_name_may_be_any_text(cluster: Cluster) -> None:
    await cluster.worker("CallsCounter")
    client = await cluster.client()
    for name in ("ann@example.org", "a.b.*.>", "naïve ünicode", "x" * 100):
        assert await CallsCounter.options(session=name).push(1) == 1
        assert (await client.session("CallsCounter", name)).state["seen"] == [1]
    assert ("CallsCounter", "a.b.*.>") in await client.sessions()


async def test_a_call_that_raises_leaves_no_trace_in_its_session(cluster: Cluster) -> None:
    await cluster.worker("CallsCounter")
    await cluster.client()
    session = CallsCounter.options(session="s")
    await session.push(1)
    with pytest.raises(AgentError, match="after the change"):
        await session.push_then_fail(2)
    assert await session.look() == [1]
    assert await session.push(3) == 2


async def test_a_caller_reads_what_it_wrote_though_its_worker_has_an_older_copy(
    cluster: Cluster,
) -> None:
    """As a worker may have that lost the slot and got it back, or that others took for dead."""
    host = await cluster.worker("CallsCounter")
    await cluster.client()
    session = CallsCounter.options(session="s")
    await session.push(1)
    with older_copy(host):
        await session.push(2)
    assert await session.look() == [1, 2]


async def test_a_stranger_reads_what_the_worker_itself_has_heard_of_though_its_copy_is_older(
    cluster: Cluster,
) -> None:
    host = await cluster.worker("CallsCounter")
    connect_runtime(host.calls)
    session = CallsCounter.options(session="s")
    await session.push(1)
    with older_copy(host):
        await session.push(2)
    await cluster.client()  # Has heard of nothing.
    assert await session.look() == [1, 2]


async def test_a_resumed_workflow_reads_what_it_wrote_before_it_was_resumed(
    cluster: Cluster,
) -> None:
    GATES["written"] = asyncio.Event()
    host = await cluster.worker("CallsCounter")
    await cluster.client()
    first = await cluster.worker("calls_write_then_read")
    await CallsCounter.options(session="s").push(1)
    with older_copy(host):
        asked = write_then_read.options(session="s")(2)
        await until(lambda: RUNS.get("written"))
    await kill(first)
    GATES["written"].set()
    await cluster.worker("calls_write_then_read")
    assert await asked == [1, 2]


@pytest.mark.parametrize("noticed", ["at once", "before its code"])
async def test_after_a_call_that_came_again_nobody_reads_from_a_copy_that_lacks_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, noticed: str
) -> None:
    host = await cluster.worker("CallsCounter")
    client = await cluster.client()
    session = CallsCounter.options(session="s")
    await session.push(1)
    with older_copy(host):
        done = session.push(2)
        await done
    if noticed == "before its code":  # As if a zombie had committed it in between.
        monkeypatch.setattr(Runner, "_ended_before", not_yet)
    assert done.ref is not None
    entry = (await client.host.backend.ledger.read([done.ref]))[done.ref]
    record = decode_record(entry.ref, entry.body)
    again = Invocation(
        record.ref, record.method, record.session, record.arguments, 4e9, record.created,
        resent=True, hops=1,  # A subject of its own: the first one may not be acknowledged yet.
    )  # fmt: skip
    worker, calls = host.worker, client.host.calls
    assert worker is not None
    await until(lambda: worker.describe()["finished"] == 2)
    await client.host.backend.queue.publish(calls.routes.lane(again, stateful=True), again)
    await until(lambda: worker.describe()["finished"] == 3)
    await cluster.client()  # Has heard of nothing.
    assert await session.look() == [1, 2]


async def not_yet(*_: object) -> bool:
    return False


@contextmanager
def older_copy(host: Host) -> Generator[None]:
    """Let a worker have, after the block, the copy of the session that it has at its beginning."""
    assert host.worker is not None
    copies = host.worker._sessions
    old = copies.peek(AgentName("CallsCounter"), SessionId("s"))
    assert old is not None
    copies.drop(old)
    yield
    copies._known[old.agent, old.name] = old


async def test_a_read_while_a_call_runs_does_not_make_the_next_one_run_twice(
    cluster: Cluster,
) -> None:
    """The reader has seen a record that the running call has not: of one that was cancelled."""
    RUNS.clear()
    GATES.update(running=asyncio.Event(), after=asyncio.Event())
    await cluster.worker("CallsCounter")
    await cluster.client()
    session = CallsCounter.options(session="s")
    await session.push(0)
    running = session.push_when_open("running", 1)
    await until(lambda: RUNS.get("running"))
    behind = session.push(2)
    behind.cancel()
    with pytest.raises(Cancelled):
        await behind
    assert await session.look() == [0]
    GATES["running"].set()
    await running
    GATES["after"].set()
    await session.push_when_open("after", 3)
    assert (RUNS["after"], await session.look()) == (1, [0, 1, 3])


async def test_a_read_only_method_that_changes_state_is_refused(cluster: Cluster) -> None:
    await cluster.worker("CallsCounter")
    await cluster.client()
    session = CallsCounter.options(session="s")
    with pytest.raises(InvalidResult, match="read_only"):
        await session.cheat()
    assert await session.look() == []


async def test_state_outlives_the_worker(cluster: Cluster) -> None:
    await cluster.client()
    session = CallsCounter.options(session="s")
    first = await cluster.worker("CallsCounter", snapshot_every=3)
    for x in range(5):
        await session.push(x)
    await first.drain(1)
    await cluster.worker("CallsCounter")
    assert await session.look() == [0, 1, 2, 3, 4]
    assert await session.push(5) == 6


async def test_bytes_inside_models_are_state_as_any_other(cluster: Cluster) -> None:
    await cluster.client()
    session = CallsShelf.options(session="s")
    first = await cluster.worker("CallsShelf", snapshot_every=2)
    when = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    shape = Shape(sides=3, boxes=[Box(when, b"\x00\xff\xfe", {Colour.RED})])
    assert [await session.put(shape) for _ in range(3)] == [1, 2, 3]
    await session.repaint(b"\xfb\xff\xbf")
    painted = Shape(sides=3, boxes=[Box(when, b"\xfb\xff\xbf", {Colour.RED})])
    expected = (
        [*painted.boxes, *shape.boxes, *shape.boxes],
        {"0": painted, "1": shape, "2": shape},
        painted,
    )
    assert await session.look() == expected
    await first.drain(1)
    await cluster.worker("CallsShelf")
    assert await session.look() == expected


async def test_a_call_into_a_session_that_its_chain_holds_is_refused(cluster: Cluster) -> None:
    await cluster.worker("CallsCounter")
    await cluster.client()
    session = CallsCounter.options(session="s")
    with pytest.raises(ReentrantCall, match="CallsCounter/s > CallsCounter/s"):
        await session.again()
    await session.push(7)
    assert await session.look_from_inside() == [7]


async def test_a_cancelled_call_ends_as_cancelled_and_changes_nothing(cluster: Cluster) -> None:
    RUNS.clear()
    GATES["cancel"] = asyncio.Event()
    await cluster.worker("CallsCounter")
    await cluster.client()
    session = CallsCounter.options(session="s")
    future = session.push_when_open("cancel", 1)
    await until(lambda: RUNS.get("cancel") == 1)
    assert future.cancel()
    with pytest.raises(Cancelled):
        await future
    GATES["cancel"].set()
    assert await session.look() == []
    assert not future.cancel()


async def test_a_call_cancelled_at_once_by_the_thread_that_made_it_ends_as_cancelled(
    cluster: Cluster,
) -> None:
    RUNS.clear()
    GATES["at once"] = asyncio.Event()
    await cluster.worker("CallsCounter")
    await cluster.client()
    session = CallsCounter.options(session="s")

    def call_and_cancel() -> tuple[nalar.Future[int], bool]:
        future = session.push_when_open("at once", 1)
        return future, future.cancel()

    with ThreadPoolExecutor(1) as threads:
        # The loop stands still, so that it has not heard of the call when that is cancelled.
        future, cancelled = threads.submit(call_and_cancel).result()
    assert cancelled
    with pytest.raises(Cancelled):
        await future
    GATES["at once"].set()
    assert await session.look() == []


async def test_whoever_is_set_to_another_number_of_slots_takes_the_clusters(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.settings = dataclasses.replace(cluster.settings, slots=24)
    await cluster.worker("CallsCounter")
    await cluster.worker("CallsCounter", slots=16)  # The default: nobody chose it.
    assert not caplog.text
    cluster.settings = dataclasses.replace(cluster.settings, slots=1000)
    await cluster.client()
    assert "begun with 24 slots" in caplog.text
    async with asyncio.timeout(10):
        counts = [CallsCounter.options(session=f"s{n}").push(n) for n in range(20)]
        assert await nalar.gather(*counts) == [1] * 20


async def test_a_worker_that_would_look_for_sessions_elsewhere_is_refused(
    cluster: Cluster,
) -> None:
    host = await cluster.worker("CallsCounter")
    await host.backend.control.delete(SLOTS)
    with pytest.raises(UsageError, match=r"16 slots.*NALAR_SET_SLOTS=16"):
        await cluster.worker("CallsCounter", slots=8)


async def test_a_number_of_slots_that_is_none_is_named(cluster: Cluster) -> None:
    host = await cluster.worker("CallsCounter")
    await host.backend.control.put(SLOTS, b"many")
    with pytest.raises(Unavailable, match=r"cluster\.slots .*b'many'"):
        await cluster.client()
