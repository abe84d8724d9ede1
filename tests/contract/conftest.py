"""Each contract test runs on the broker in memory and on a real server, one for each module."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from nalar.bus.embedded import EmbeddedServer, ServerOptions
from nalar.settings import Settings
from tests.clusters import Cluster, jetstream_cluster, memory_cluster
from tests.contract.worlds import JetStreamWorld, MemoryWorld, World


def free_port() -> int:
    """Return a port that nobody listens on; a fixed one survives the server's restart."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    store: Path = tmp_path_factory.mktemp("nats")
    running = EmbeddedServer(ServerOptions(store, port=free_port(), sync_always=False))
    asyncio.run(running.start())
    yield running
    asyncio.run(running.stop())


@pytest.fixture(params=["memory", pytest.param("jetstream", marks=pytest.mark.nats)])
def broker(request: pytest.FixtureRequest) -> EmbeddedServer | None:
    """The server, or None for the broker in memory."""
    if request.param == "memory":
        return None
    running: EmbeddedServer = request.getfixturevalue("server")
    return running


@pytest.fixture
async def world(broker: EmbeddedServer | None) -> AsyncIterator[World]:
    opened: World = MemoryWorld() if broker is None else JetStreamWorld(broker.url)
    yield opened
    await opened.close()


@pytest.fixture(params=["memory", pytest.param("jetstream", marks=pytest.mark.nats)])
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    """Workers and clients on a broker that begins empty."""
    settings = Settings(lease_s=2.0, reread_s=1.0, concurrency=4)
    if request.param == "memory":
        async with memory_cluster(settings) as made:
            yield made
    else:
        async with jetstream_cluster(settings, tmp_path) as made:
            yield made
