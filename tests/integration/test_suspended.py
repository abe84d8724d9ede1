"""Suspended calls while the server itself dies and comes back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial

import pytest

from nalar.bus.embedded import EmbeddedServer
from nalar.calls.suspended import SUSPENDED
from nalar.settings import Settings
from nalar.statestore.jetstream import open_jetstream
from tests.clusters import Cluster, publish_raw, until
from tests.contract.suspending import ALL, SEEN, asker, begin_anew, sleeper
from tests.contract.worlds import eventually, kill_and_restart


@pytest.fixture
async def cluster(server: EmbeddedServer) -> AsyncIterator[Cluster]:
    begin_anew()
    settings = Settings(url=server.url, lease_s=1.5, reread_s=1.0, suspend_after_s=0.2)
    async with AsyncExitStack() as stack:
        yield Cluster(open_jetstream, settings, stack, partial(publish_raw, server.url))


async def test_suspended_calls_outlive_the_server_and_go_on_when_they_were_to(
    server: EmbeddedServer, cluster: Cluster
) -> None:
    host = await cluster.worker(*ALL)
    client = await cluster.client()
    control = client.host.backend.control
    sleeping = [sleeper(8 + number / 10) for number in range(10)]
    asking = [asker() for _ in range(10)]

    async def all_sleep() -> bool:
        return len(await control.scan(SUSPENDED)) == 20

    await eventually(all_sleep)
    began = SEEN["sleeper began"]
    await kill_and_restart(server)
    # It has forgotten for how long they were handed back, and delivers them all.
    for future in asking:
        await future.signal("answer", "yes")
    async with asyncio.timeout(10):
        assert [await future for future in asking] == [["before", "yes"]] * 10
    assert not any(future.done() for future in sleeping)
    await until(lambda: host.worker is not None and not host.worker._held)
    assert SEEN["sleeper began"] == began, "none of them woke for nothing"
    async with asyncio.timeout(15):
        assert [await future for future in sleeping] == ["attempt 1"] * 10
    assert SEEN["slow before"] == 10
