"""What calls yield, over the simulated wire."""

import asyncio
from collections.abc import Awaitable, Callable

from nalar.chunks import Chunk
from nalar.errors import Unavailable
from nalar.ids import Ref
from nalar.statestore.memory_chunks import ChunkWatch, MemoryChunks
from nalar.statestore.port import ChunkEntry
from tests.simulation.wire import Wire


class WireChunks:
    """`statestore.port.Chunks`; its notices come straight, since they are only a preview."""

    def __init__(self, wire: Wire, inner: MemoryChunks) -> None:
        self._wire = wire
        self._inner = inner

    def publish(self, chunk: Chunk) -> asyncio.Future[None]:
        def act(_: bool) -> Awaitable[None]:
            return self._inner.publish(chunk)

        return self._wire.request("chunk", act, Unavailable, resends=True)

    async def read(self, ref: Ref, *, after: int = 0) -> list[ChunkEntry]:
        return await self._inner.read(ref, after=after)

    def watch(self, ref: Ref, deliver: Callable[[ChunkEntry], None]) -> ChunkWatch:
        return self._inner.watch(ref, deliver)
