"""A real nats-server for each test module: free port, temporary store, stopped whatever happens."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from nalar.bus.embedded import EmbeddedServer, ServerOptions
from nalar.settings import Settings
from nalar.statestore.jetstream import JetStreamBackend, open_jetstream


@pytest.fixture(scope="session")
def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server on a port that it keeps when it is restarted."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    running = EmbeddedServer(ServerOptions(tmp_path_factory.mktemp("nats"), port=port))
    asyncio.run(running.start())
    yield running
    asyncio.run(running.stop())


@pytest.fixture
async def backend(server: EmbeddedServer) -> AsyncIterator[JetStreamBackend]:
    opened = await open_jetstream(Settings(url=server.url, lease_s=1.0))
    yield opened
    await opened.close()
