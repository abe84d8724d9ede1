"""Retries and suspicion while the server itself dies and comes back."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial

import pytest

import nalar
from nalar.bus.embedded import EmbeddedServer
from nalar.settings import Settings
from nalar.statestore.jetstream import open_jetstream
from tests.clusters import Cluster, publish_raw, until
from tests.contract.worlds import kill_and_restart

RUNS: Counter[str] = Counter()
GATES: dict[str, asyncio.Event] = {}


@nalar.tool(name="restarts_gated", retry=nalar.Retry(max_attempts=2, initial_s=2, jitter=0))
async def gated(name: str, failures: int = 0) -> int:
    RUNS[name] += 1
    if RUNS[name] <= failures:
        raise ConnectionError(name)
    await GATES[name].wait()
    return RUNS[name]


@pytest.fixture
async def cluster(server: EmbeddedServer) -> AsyncIterator[Cluster]:
    RUNS.clear()
    settings = Settings(url=server.url, lease_s=1.5, reread_s=1.0, crashes_max=1)
    async with AsyncExitStack() as stack:
        yield Cluster(open_jetstream, settings, stack, partial(publish_raw, server.url))


async def test_a_call_that_outlives_the_server_is_not_suspected_for_it(
    server: EmbeddedServer, cluster: Cluster
) -> None:
    GATES["long"] = asyncio.Event()
    workers = [await cluster.worker("restarts_gated") for _ in range(2)]
    await cluster.client()
    future = gated("long")
    await until(lambda: RUNS["long"] == 1)
    for _ in range(3):
        await kill_and_restart(server)
        # Long enough for the lease to have lapsed, had it not been kept.
        await asyncio.sleep(cluster.settings.lease_s * 1.3)
    GATES["long"].set()
    assert await future >= 1
    async with asyncio.timeout(10):
        while await workers[0].backend.control.scan("start"):  # noqa: ASYNC110 -- told to nobody
            await asyncio.sleep(0.02)
    assert await workers[0].backend.control.scan("dead") == []


async def test_a_retry_that_waits_is_not_lost_with_the_server(
    server: EmbeddedServer, cluster: Cluster
) -> None:
    GATES["flaky"] = asyncio.Event()
    GATES["flaky"].set()
    host = await cluster.worker("restarts_gated")
    worker = host.worker
    assert worker is not None
    await cluster.client()
    future = gated("flaky", failures=1)
    # This attempt has been acknowledged: the next one is stored.
    await until(lambda: RUNS["flaky"] == 1 and not worker._held)
    await kill_and_restart(server)
    assert await future == 2
