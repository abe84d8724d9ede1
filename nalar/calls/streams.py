"""Reading what a call yields while it runs: `async for value in future.stream()`.

A reader may come late, leave and come again: it reads what is kept, then hears of the rest, and
takes what it lacks from the record once that stands. Any number of readers cost the worker nothing.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any, Generic, TypeVar, cast

import orjson

from nalar.agents.spec import MethodSpec
from nalar.backend import Backend
from nalar.bus.port import Watch
from nalar.chunks import Assembly, Chunk, Stream
from nalar.context import aside
from nalar.errors import NalarError, StreamRestarted, UsageError
from nalar.futures import Future
from nalar.ids import Ref
from nalar.statestore.port import ChunkEntry

T = TypeVar("T")


class Streams:
    """Opens the streams of one process's futures."""

    def __init__(self, backend: Backend, loop: asyncio.AbstractEventLoop) -> None:
        self.chunks = backend.chunks
        self.loop = loop
        #: Those that listen, in order; touched on the runtime's loop alone.
        self.listening: dict[_Reading, None] = {}
        backend.on_reconnect(self._reconnected)

    def _reconnected(self) -> None:
        """What came meanwhile was announced to nobody here: the log has it."""
        for reading in self.listening:
            reading.read_again()

    def open(
        self, spec: MethodSpec | None, future: Future[Any], after: int, resume: bool
    ) -> Stream[Any]:
        """Return what the call behind `future` yields; raises UsageError if it never yields."""
        if spec is not None and not spec.is_generator:
            raise UsageError(f"{spec.label} yields nothing: its result is one value; await it")
        if after < 0:
            raise UsageError(f"stream(after=...) is a count of values from 0 up, not {after}")
        load = orjson.loads if spec is None else spec.signature.load_result
        reading = _Reading(self, future, load, Assembly(position=after), resume)
        return ChunkStream(reading, after)


class ChunkStream(Generic[T]):
    """`chunks.Stream`: hands out, in whatever thread or loop, what is read on the runtime's."""

    def __init__(self, reading: "_Reading", position: int) -> None:
        self._reading = reading
        self._position = position

    @property
    def position(self) -> int:
        return self._position

    async def __aiter__(self) -> AsyncIterator[T]:
        ready = self._reading.ready
        try:
            while await self._reading.more():
                while ready:
                    self._position += 1
                    yield ready.popleft()
        finally:
            self._reading.leave()

    def __iter__(self) -> Iterator[T]:
        ready = self._reading.ready
        try:
            while self._reading.more().result():
                while ready:
                    self._position += 1
                    yield ready.popleft()
        finally:
            self._reading.leave()


class _Reading:
    """One reader's side of a call's chunks; on the runtime's loop but for what says otherwise."""

    def __init__(
        self,
        streams: Streams,
        future: Future[Any],
        load: Callable[[bytes], Any],
        assembly: Assembly,
        resume: bool,
    ) -> None:
        assert future.ref is not None, "a future with a stream is the result of one call"
        #: Values to hand out; the reader's thread takes them off.
        self.ready: deque[Any] = deque()
        self._ref: Ref = future.ref
        self._streams = streams
        self._chunks = streams.chunks
        self._future = future
        self._load = load
        self._loop = streams.loop
        self._assembly = assembly
        self._resume = resume
        self._heard: deque[ChunkEntry] = deque()
        #: Up to this revision nothing is lacking.
        self._whole_upto = 0
        #: Announcements may have been lost since the log was read last.
        self._stale = False
        #: What is lacking was looked for in the log; then only the record can fill it.
        self._gap_read = False
        self._watch: Watch | None = None
        self._read: asyncio.Task[None] | None = None
        #: Readers that wait for news.
        self._asked: list[Future[bool]] = []
        self._failure: BaseException | None = None
        self._ended = False

    def more(self) -> Future[bool]:
        """Return what resolves once values are ready (true) or none will come; from any thread.

        Ends in what the call has ended in, or StreamRestarted.
        """
        asked: Future[bool] = Future()
        self._soon(partial(self._ask, asked))
        return asked

    def leave(self) -> None:
        """The reader has gone, perhaps to come again; from any thread."""
        self._soon(self._unwatch)

    def read_again(self) -> None:
        """Announcements may have been lost."""
        self._stale = True
        self._read_log()

    def _soon(self, act: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # The loop has closed, and all reading with it.
            self._loop.call_soon_threadsafe(act)

    def _ask(self, asked: Future[bool]) -> None:
        self._asked.append(asked)
        if self._watch is None and not self._ended:
            self._watch = self._chunks.watch(self._ref, self._came)
            self._streams.listening[self] = None
            self._read_log()
            self._future.add_done_callback(self._done)
        self._answer()

    def _answer(self) -> None:
        """Answer the readers that wait, if there is something to say."""
        if self._asked and (self.ready or self._ended):
            asked, self._asked = self._asked, []
            for news in asked:
                if self._failure is None or self.ready:
                    news.resolve(bool(self.ready))
                else:
                    news.fail(self._failure)

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None
            self._streams.listening.pop(self, None)

    def _came(self, entry: ChunkEntry) -> None:
        self._heard.append(entry)
        self._take_in()

    def _done(self, _: Future[Any]) -> None:
        """The call has ended: whoever says so may be on another thread."""
        self._soon(self._read_log)

    def _read_log(self) -> None:
        if self._read is None and not self._ended:
            self._read = self._loop.create_task(self._read_now(), context=aside())

    async def _read_now(self) -> None:
        """Read what is kept and has not come; once the call has ended, the last of it."""
        done = self._future.done()
        self._stale = False
        if not done or self._future.failure is not None:  # Else the record has it all.
            with contextlib.suppress(NalarError):  # It is only a preview.
                kept = await self._chunks.read(self._ref, after=self._whole_upto)
                self._assembly.begin(entry.chunk.epoch for entry in kept)
                self._heard.extendleft(reversed(kept))
        self._read = None
        self._take_in()
        if done:
            self._finish()
        elif self._stale or self._future.done():
            self._read_log()

    def _take_in(self) -> None:
        """Take in what was heard, in order: not before the log was read."""
        while self._heard and self._read is None and not self._ended:
            entry = self._heard.popleft()
            with contextlib.suppress(NalarError):  # From a foreign hand; the record decides.
                self._take(entry.chunk, self._load(entry.chunk.values))
            if not self._assembly.lacks:
                self._whole_upto = max(self._whole_upto, entry.revision)
                self._gap_read = False
            elif not self._gap_read:
                self._gap_read = True
                self._read_log()
        self._answer()

    def _take(self, chunk: Chunk, values: list[Any]) -> None:
        self.ready.extend(self._assembly.take(chunk.epoch, chunk.at, values))
        if self._assembly.restarted and not self._resume:
            self.ready.clear()
            self._end(
                StreamRestarted(
                    "the call was begun again after some of its values had come: read its stream "
                    "anew, or go on at the same place with stream(resume=True)"
                )
            )

    def _finish(self) -> None:
        """Take the rest from the record."""
        failure = self._future.failure
        result: object = None if failure is not None else self._future.result()
        if isinstance(result, list):
            self.ready.extend(self._assembly.finish(cast("list[Any]", result)))
        elif failure is None:
            failure = UsageError("this call yields nothing: its result is one value; await it")
        self._end(failure)

    def _end(self, failure: BaseException | None) -> None:
        self._ended = True
        self._failure = failure
        self._unwatch()
        self._answer()
