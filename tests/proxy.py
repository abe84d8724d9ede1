"""A cable between a server and whoever is connected through it, to be cut and mended."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class Cable:
    """Passes bytes on to a server, both ways, while it is whole."""

    def __init__(self, server_url: str) -> None:
        self._host, _, port = server_url.removeprefix("nats://").rpartition(":")
        self._port = int(port)
        self._whole = True
        self._tasks: set[asyncio.Task[None]] = set()
        #: What has passed, to the server and from it.
        self.sent, self.got = bytearray(), bytearray()
        #: Where to connect instead of the server.
        self.url = ""

    def cut(self) -> None:
        """End all connections, and let none stand until it is mended."""
        self._whole = False
        for task in self._tasks:
            task.cancel()

    def mend(self) -> None:
        self._whole = True

    async def gone(self) -> None:
        """Wait until none of its connections is left: their sockets would outlive the loop."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either end, or the cable, ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            if self._whole:
                await self._carry(reader, writer)
        except* ConnectionError:
            pass
        finally:
            await _close(writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._host, self._port)
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(_pass(reader, back, self.sent))
                ways.create_task(_pass(there, writer, self.got))
        finally:
            await _close(back)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, log: bytearray) -> None:
    while piece := await reader.read(65_536):
        log += piece
        writer.write(piece)
        await writer.drain()
    raise ConnectionResetError


@asynccontextmanager
async def cable(server_url: str) -> AsyncGenerator[Cable]:
    """Lay a cable to the server."""
    laid = Cable(server_url)
    async with await asyncio.start_server(laid.carry, "127.0.0.1", 0) as listening:
        port: int = listening.sockets[0].getsockname()[1]
        laid.url = f"nats://127.0.0.1:{port}"
        try:
            yield laid
        finally:
            laid.cut()
            await laid.gone()
