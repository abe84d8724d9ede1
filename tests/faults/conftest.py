"""A server for each module, which may be killed, and a bank on it for each test."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from nalar.bus.embedded import EmbeddedServer, ServerOptions
from tests.faults.bank import Bank, opened
from tests.proxy import Cable, cable


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
    running = EmbeddedServer(
        ServerOptions(tmp_path_factory.mktemp("nats"), port=port, sync_always=False)
    )
    asyncio.run(running.start())
    yield running
    asyncio.run(running.stop())


@pytest.fixture
async def line(server: EmbeddedServer) -> AsyncIterator[Cable]:
    """A cable to the server that outlives whoever is connected through it."""
    async with cable(server.url) as laid:
        yield laid


@pytest.fixture
async def bank(server: EmbeddedServer, tmp_path: Path) -> AsyncIterator[Bank]:
    async with opened(server.url, tmp_path) as made:
        yield made
