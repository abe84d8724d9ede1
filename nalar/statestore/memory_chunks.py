"""What calls yield, in memory; forgotten after a while, as on JetStream."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from nalar.bus.codec import HEADERS_MAX_BYTES
from nalar.bus.memory import answered, check_size
from nalar.chunks import Chunk, decode_chunk, encode_chunk
from nalar.errors import Unavailable
from nalar.ids import Ref
from nalar.statestore.port import ChunkEntry

#: How long the chunks of a call are kept after its last one, in seconds.
KEPT_S: Final = 3_600.0


@dataclass(slots=True)
class _Said:
    """What one call has yielded."""

    at_s: float
    entries: list[ChunkEntry] = field(default_factory=list[ChunkEntry])


class ChunkLog:
    """What a broker remembers; shared by the clients of one process."""

    def __init__(self) -> None:
        #: The call that has said nothing for longest comes first.
        self.calls: OrderedDict[Ref, _Said] = OrderedDict()
        self.watches: dict[ChunkWatch, tuple[Ref, Callable[[ChunkEntry], None]]] = {}
        self._revision = 0

    def store(self, chunk: Chunk) -> None:
        """Keep the chunk, tell who watches, and forget what is too old."""
        loop = asyncio.get_running_loop()
        self._revision += 1
        entry = ChunkEntry(self._revision, decode_chunk(chunk.ref, encode_chunk(chunk)))
        said = self.calls.setdefault(chunk.ref, _Said(loop.time()))
        said.at_s = loop.time()
        said.entries.append(entry)
        self.calls.move_to_end(chunk.ref)
        while self.calls and next(iter(self.calls.values())).at_s < loop.time() - KEPT_S:
            self.calls.popitem(last=False)
        for watch, (ref, deliver) in self.watches.items():
            if ref == chunk.ref:
                loop.call_soon(self._tell, watch, deliver, entry)

    def _tell(
        self, watch: "ChunkWatch", deliver: Callable[[ChunkEntry], None], entry: ChunkEntry
    ) -> None:
        if watch in self.watches:
            deliver(entry)


class ChunkWatch:
    """`statestore.port.Watch` of one call's chunks."""

    def __init__(self, log: ChunkLog) -> None:
        self._log = log

    def close(self) -> None:
        self._log.watches.pop(self, None)


class MemoryChunks:
    """`statestore.port.Chunks` in memory."""

    def __init__(self, log: ChunkLog) -> None:
        self.closed = False
        self._log = log

    def publish(self, chunk: Chunk) -> Awaitable[None]:
        return answered(lambda: self._publish(chunk))

    def _publish(self, chunk: Chunk) -> None:
        if self.closed:
            raise Unavailable("this connection is closed")
        check_size(len(chunk.values) + HEADERS_MAX_BYTES, str(chunk.ref))
        self._log.store(chunk)

    async def read(self, ref: Ref, *, after: int = 0) -> list[ChunkEntry]:
        said = self._log.calls.get(ref)
        return [] if said is None else [it for it in said.entries if it.revision > after]

    def watch(self, ref: Ref, deliver: Callable[[ChunkEntry], None]) -> ChunkWatch:
        watch = ChunkWatch(self._log)
        self._log.watches[watch] = (ref, deliver)
        return watch
