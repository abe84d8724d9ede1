"""Handing on what a running call yields, while it runs."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from nalar.chunks import Chunk
from nalar.errors import NalarError
from nalar.ids import Ref
from nalar.statestore.port import Chunks

log = logging.getLogger("nalar.worker")

#: How long a value may wait for more to go with it, in seconds: a model's tokens come one by one.
LINGER_S: Final = 0.01
#: Values and bytes of one chunk, at the most.
VALUES_MAX: Final = 256
BYTES_MAX: Final = 64 * 1024
#: Chunks that may be on their way; then the call's code waits until one is stored.
WINDOW: Final = 32


class Emitter:
    """Publishes the values of one execution in chunks, behind its back."""

    def __init__(
        self, chunks: Chunks, ref: Ref, epoch: str, dump: Callable[[Any], bytes], max_bytes: int
    ) -> None:
        self._chunks = chunks
        self._ref = ref
        self._epoch = epoch
        #: Returns a list of values as a JSON array; raises InvalidResult.
        self._dump = dump
        self._max_bytes = max_bytes
        self._loop = asyncio.get_running_loop()
        self._values: list[bytes] = []
        self._size = 0
        self._at = 0
        self._timer: asyncio.TimerHandle | None = None
        self._sending: set[asyncio.Future[None]] = set()

    async def emit(self, value: object) -> None:
        """Hand one value on; waits only while too many are on their way.

        Raises InvalidResult for one that does not fit the method's annotation.
        """
        text = self._dump([value])[1:-1]
        self._values.append(text)
        self._size += len(text)
        if len(self._values) >= VALUES_MAX or self._size >= BYTES_MAX:
            self._flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(LINGER_S, self._flush)
        while len(self._sending) >= WINDOW:
            await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)

    def emit_blocking(self, value: object) -> None:
        """As `emit`, from a thread that runs synchronous code."""
        asyncio.run_coroutine_threadsafe(self.emit(value), self._loop).result()

    async def drain(self) -> None:
        """Send what has gathered, and wait until it is stored or cannot be."""
        self._flush()
        if self._sending:
            await asyncio.wait(self._sending)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._values:
            return
        values, self._values, self._size = self._values, [], 0
        at, self._at = self._at, self._at + len(values)
        body = b"[%b]" % b",".join(values)
        if len(body) > self._max_bytes:
            return  # No message can hold it: readers get it with the whole result.
        sending = asyncio.ensure_future(  # noqa: TID251 -- wraps what the port returns; `_sent` ends it
            self._chunks.publish(Chunk(self._ref, self._epoch, at, body))
        )
        self._sending.add(sending)
        sending.add_done_callback(self._sent)

    def _sent(self, sending: "asyncio.Future[None]") -> None:
        self._sending.discard(sending)
        if sending.cancelled():
            return
        error = sending.exception()
        if isinstance(error, NalarError):
            # Only the preview suffers: readers get the values with the whole result.
            log.warning("what %s yields is not seen before it ends: %s", self._ref.agent, error)
        elif error is not None:
            log.error("publishing a chunk failed", exc_info=error)
