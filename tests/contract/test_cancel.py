"""Cancelling calls: durable, down the tree, wherever they stand; one record whatever the race."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

import nalar
from nalar.calls.notices import notice_key
from nalar.errors import Cancelled, Expired
from tests.clusters import Cluster, until
from tests.contract.cancellable import (
    ALL,
    FREE,
    SEEN,
    CancelLog,
    awaiting,
    awaiting_sync,
    begin_anew,
    checking,
    deaf,
    idle,
    pending,
    quick,
    ref_of,
    slow,
    statuses,
    stubborn,
)


@pytest.fixture(autouse=True)
def anew() -> None:
    begin_anew()


async def test_a_queued_call_is_cancelled_with_no_worker_alive_and_never_runs(
    cluster: Cluster,
) -> None:
    client = await cluster.client()
    future = quick("never")
    assert future.cancel()
    with pytest.raises(Cancelled):
        await future
    assert await statuses(client.host, f"call.*.*.*.{ref_of(future).root}.*.*") == ["cancelled"]
    host = await cluster.worker(*ALL)
    assert await quick("after it") == "after it"
    await idle(host)
    assert SEEN["ran never"] == 0


async def test_a_parked_call_is_cancelled_and_never_runs(cluster: Cluster) -> None:
    host = await cluster.worker(*ALL)
    await cluster.client()
    first = pending("first")
    parked = quick(cast("Any", first))
    await until(lambda: SEEN["began first"])
    assert parked.cancel()
    with pytest.raises(Cancelled):
        await parked
    assert host.worker is not None
    await until(lambda: host.worker is not None and ref_of(parked).future not in host.worker._held)
    assert first.cancel()
    await idle(host)
    assert not [what for what in SEEN if what.startswith("ran")]


async def test_running_coroutines_are_cancelled_clean_up_and_may_make_no_more_calls(
    cluster: Cluster,
) -> None:
    host = await cluster.worker(*ALL)
    await cluster.client()
    future = pending("it")
    await until(lambda: SEEN["began it"])
    assert future.cancel()
    with pytest.raises(Cancelled):
        await future
    await idle(host)
    assert SEEN == {"began it": 1, "cleaned it": 1, "refused Cancelled it": 1}
    assert await statuses(host, "call.*.*.*.*.*.*") == ["cancelled"]


async def test_a_call_that_swallows_its_cancellation_is_cancelled_all_the_same(
    cluster: Cluster,
) -> None:
    host = await cluster.worker(*ALL)
    await cluster.client()
    future = stubborn("it")
    await until(lambda: SEEN["began it"])
    future.cancel()
    with pytest.raises(Cancelled):
        await future
    await idle(host)
    assert SEEN["swallowed it"] == 1
    assert await statuses(host, "call.*.*.*.*.*.*") == ["cancelled"]


async def test_code_in_a_thread_that_looks_finds_out(cluster: Cluster) -> None:
    host = await cluster.worker(*ALL)
    await cluster.client()
    future = checking("it")
    await until(lambda: SEEN["began it"])
    future.cancel()
    with pytest.raises(Cancelled):
        await future
    await idle(host)
    assert SEEN == {"began it": 1, "saw it": 1}


async def test_code_in_a_thread_that_never_looks_keeps_its_slot_until_it_has_ended(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    host = await cluster.worker(*ALL, concurrency=1, stop_grace_s=0.2)
    told: list[bool] = []
    assert host.worker is not None
    host.worker.on_stuck(lambda: told.append(True))
    await cluster.client()
    future = deaf("it")
    await until(lambda: SEEN["began it"])
    future.cancel()
    with pytest.raises(Cancelled):
        await future
    waiting = quick("next")
    await until(lambda: told)
    assert f"cancel_deaf.run (call {ref_of(future).future}) still runs 0.2 s" in caplog.text
    assert not waiting.done()
    FREE.set()
    assert await waiting == "next"
    assert SEEN["ended it"] == 1


async def test_code_that_outlives_its_timeout_in_a_thread_is_found_stuck(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    host = await cluster.worker(*ALL, stop_grace_s=0.2)
    told: list[bool] = []
    assert host.worker is not None
    host.worker.on_stuck(lambda: told.append(True))
    await cluster.client()
    with pytest.raises(nalar.AgentError, match="longer than its timeout_s"):
        await slow("it")
    await until(lambda: told)
    assert "cancel_slow.run" in caplog.text
    FREE.set()


@pytest.mark.parametrize("workflow", [awaiting, awaiting_sync])
async def test_a_call_that_waits_is_woken_and_its_child_goes_with_it(
    cluster: Cluster, workflow: Callable[[str], nalar.Future[str]]
) -> None:
    host = await cluster.worker(*ALL, concurrency=1)
    await cluster.client()
    future = workflow("it")
    await until(lambda: SEEN["began it/child"])
    future.cancel()
    with pytest.raises(Cancelled):
        await future
    await idle(host)
    assert (SEEN["cleaned it"], SEEN["cleaned it/child"]) == (1, 1)
    assert await statuses(host, "call.*.*.*.*.*.*") == ["cancelled"] * 2


async def test_a_gathered_future_cancels_its_parts(cluster: Cluster) -> None:
    host = await cluster.worker(*ALL)
    await cluster.client()
    parts = [pending("one"), pending("two")]
    whole = nalar.gather(*parts)
    await until(lambda: SEEN["began one"] and SEEN["began two"])
    assert whole.cancel()
    for part in parts:
        with pytest.raises(Cancelled):
            await part
    await idle(host)


async def test_cancelling_twice_is_once(cluster: Cluster) -> None:
    host = await cluster.worker(*ALL)
    await cluster.client()
    future = pending("it")
    await until(lambda: SEEN["began it"])
    assert future.cancel()
    assert future.cancel()
    with pytest.raises(Cancelled):
        await future
    assert not future.cancel()
    await idle(host)
    assert await statuses(host, "call.*.*.*.*.*.*") == ["cancelled"]


async def test_cancelling_who_awaits_leaves_the_call_alone(cluster: Cluster) -> None:
    await cluster.worker(*ALL)
    await cluster.client()
    future = checking("it")
    await until(lambda: SEEN["began it"])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await future
    FREE.set()
    assert await future == "it"


async def test_a_worker_that_missed_the_notice_reads_it_when_it_connects_again(
    cluster: Cluster,
) -> None:
    host = await cluster.worker(*ALL)
    client = await cluster.client()
    future = pending("it")
    await until(lambda: SEEN["began it"])
    assert host.worker is not None
    watch = host.worker._cancel_watch._watch
    assert watch is not None
    watch.close()
    await client.host.backend.control.put(
        notice_key(ref_of(future).future), b'{"at": 1, "until": 4e9}', ttl_s=60
    )
    host.worker._cancel_watch._again.set()
    with pytest.raises(Cancelled):
        await future


async def test_a_deadline_ends_running_code(cluster: Cluster) -> None:
    host = await cluster.worker(*ALL)
    await cluster.client()
    futures = [pending.options(deadline_s=0.3)("it"), checking.options(deadline_s=0.3)("it")]
    for future in futures:
        with pytest.raises(Expired):
            await future
    await idle(host)
    assert (SEEN["cleaned it"], SEEN["refused Expired it"], SEEN["saw it"]) == (1, 1, 1)


async def test_a_cancelled_call_changes_nothing_and_the_next_one_of_its_session_runs_once(
    cluster: Cluster,
) -> None:
    host = await cluster.worker(*ALL)
    await cluster.client()
    log = CancelLog.options(session="s")
    assert await log.add("first") == ["first"]
    future = log.add_and_wait("cancelled")
    await until(lambda: SEEN["began cancelled"])
    following = log.add("last")
    future.cancel()
    with pytest.raises(Cancelled):
        await future
    assert await following == ["first", "last"]
    assert SEEN["ran last"] == 1, "it began on the state as it was then"
    await idle(host)
