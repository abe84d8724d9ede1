"""Where a run keeps everything: one nats-server that is killed, or three of which one is."""

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from nalar.bus.embedded import EmbeddedServer, ServerOptions
from tests.chaos import raw
from tests.nodes import Node, Nodes, free_ports, three_nodes

#: How long a node of three that was killed stays away, and one that was stopped.
AWAY_S: Final = 3.0
#: The others elect a new leader after four to nine seconds.
FROZEN_S: Final = 10.0


class OneServer:
    """One server, which comes back at once, on its store and its port."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server

    @property
    def url(self) -> str:
        return self._server.url

    async def kill(self, chance: int) -> None:
        del chance  # There is one.
        await self._server.kill()
        await self._server.start()

    async def freeze(self, chance: int) -> None:
        raise NotImplementedError("one server leads nobody")

    async def settle(self) -> None:
        """It is whole as soon as it is there."""


class ThreeServers:
    """Three nodes: the leader of the ledger or of a queue is lost for a while."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    @property
    def url(self) -> str:
        return self._nodes.url

    async def kill(self, chance: int) -> None:
        leader = await self._leader(chance)
        await leader.kill()
        await asyncio.sleep(AWAY_S)
        await leader.start()
        # A second node that is lost before the first is back takes the majority with it.
        await self._nodes.whole()

    async def freeze(self, chance: int) -> None:
        leader = await self._leader(chance)
        leader.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(FROZEN_S)
        finally:
            leader.send(signal.SIGCONT)
        await self._nodes.whole()

    async def _leader(self, chance: int) -> Node:
        """Return who leads the ledger or a queue."""
        streams = (raw.STREAM, f"{raw.QUEUES}Account", f"{raw.QUEUES}transfer")
        return await self._nodes.leader(streams[chance % len(streams)])

    async def settle(self) -> None:
        await self._nodes.whole()
        await self._nodes.agree(raw.STREAM)


@asynccontextmanager
async def one_server(folder: Path, *, sync_always: bool = True) -> AsyncGenerator[OneServer]:
    [port] = free_ports(1)
    options = ServerOptions(folder / "store", port=port, sync_always=sync_always)
    async with EmbeddedServer(options) as server:
        yield OneServer(server)


@asynccontextmanager
async def three_servers(folder: Path) -> AsyncGenerator[ThreeServers]:
    async with three_nodes(folder / "nodes") as nodes:
        yield ThreeServers(nodes)
