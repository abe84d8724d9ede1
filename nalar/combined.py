"""Several futures at once: their values together, one by one as they end, or after a while."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from functools import partial
from heapq import heappop, heappush
from typing import Any, Generic, Literal, TypeVar, cast, overload

from nalar.context import current_call
from nalar.errors import FutureMisuse
from nalar.futures import Future

T = TypeVar("T")

#: Guards what several futures, ended by several threads, count together.
_counting = threading.Lock()


class Gathered(Future[list[T]]):
    """Several futures as one: their values, in the order they were given."""

    __slots__ = ("_missing", "_tolerant", "parts")

    def __init__(self, parts: Sequence[Future[Any]], *, tolerant: bool = False) -> None:
        super().__init__()
        self.parts = tuple(parts)
        self._tolerant = tolerant
        self.on_cancel(self._cancel_parts)
        self._missing = len(self.parts)
        if not self.parts:
            self.resolve([])
        for part in self.parts:
            part.add_done_callback(self._part_done)

    def as_json(self) -> object:
        if self._tolerant:
            raise FutureMisuse(
                "nalar.gather(..., return_exceptions=True) cannot be an argument, for errors are "
                "none: await it, and pass on what is a value"
            )
        return [part.as_json() for part in self.parts]

    def _cancel_parts(self) -> bool:
        asked = [part.cancel() for part in self.parts]  # All of them, not up to the first.
        return any(asked)

    def _part_done(self, part: Future[Any]) -> None:
        if part.failure is not None and not self._tolerant:
            self.fail(part.failure, revision=part.revision)
            return
        with _counting:
            self._missing -= 1
            complete = self._missing == 0
        if complete:
            values = [part.failure or part.result() for part in self.parts]
            self.resolve(cast("list[T]", values), revision=_last(self.parts))


@overload
def gather(*futures: Future[T], return_exceptions: Literal[False] = False) -> Gathered[T]: ...
@overload
def gather(
    *futures: Future[T], return_exceptions: Literal[True]
) -> Gathered[T | BaseException]: ...
def gather(*futures: Future[T], return_exceptions: bool = False) -> Gathered[Any]:
    """Return one future of all values, in order; fails as soon as one of `futures` fails.

    Await it, call `.result()`, or pass it on as an argument like any future. With
    `return_exceptions` it waits for all, and has the error of each that failed in its place.
    """
    return Gathered(_checked("gather", futures), tolerant=return_exceptions)


class Another(Future[None]):
    """Ends when another one of `parts` has."""

    __slots__ = ("parts",)

    def __init__(self, parts: Sequence[Future[Any]]) -> None:
        super().__init__()
        self.parts = parts


class Completions(Generic[T]):
    """Futures in the order in which they end; iterate with `for` or `async for`."""

    def __init__(self, futures: Sequence[Future[T]], timeout: float | None) -> None:
        self._futures = futures
        self._missing = len(futures)
        self._timeout = timeout
        #: What has ended and was not handed out, by its place in the ledger: a resumed workflow
        #: sees the ledger's order again. A heap.
        self._ended: list[tuple[int, int, Future[T]]] = []
        #: Ends when something has, after nothing had.
        self._another = Another(futures)
        #: Nothing that has not ended is older than this place in the ledger.
        self._reached = 0
        for place, future in enumerate(futures):
            future.add_done_callback(partial(self._take_in, place))

    def _take_in(self, place: int, future: Future[T]) -> None:
        with _counting:
            heappush(self._ended, (future.revision, place, future))
            another = self._another
        another.resolve(None)

    def _look(self) -> tuple[Future[T] | None, Future[Any]]:
        """Hand out the oldest that has ended, or say what to wait for.

        In a call, which may be resumed, it is handed out only once no older one can have ended
        unheard.
        """
        call = current_call()
        order = call.order if call is not None else None
        with _counting:
            if not self._ended:
                if self._another.done():
                    self._another = Another(self._futures)
                return None, self._another
            revision = self._ended[0][0]
            if order is None or revision <= self._reached or len(self._ended) == self._missing:
                self._missing -= 1
                return heappop(self._ended)[-1], self._another
        caught_up: Future[Any] = order.reached(revision)
        caught_up.add_done_callback(partial(self._catch_up, revision))
        return None, caught_up

    def _catch_up(self, revision: int, _: Future[Any]) -> None:
        self._reached = max(self._reached, revision)

    def __iter__(self) -> Iterator[Future[T]]:
        while self._missing:
            ended, before = self._look()
            if ended is not None:
                yield ended
            else:
                before.result(self._timeout)

    async def __aiter__(self) -> AsyncIterator[Future[T]]:
        while self._missing:
            async with asyncio.timeout(self._timeout):
                ended, before = self._look()
                while ended is None:
                    await before
                    ended, before = self._look()
            yield ended


def as_completed(futures: Iterable[Future[T]], *, timeout: float | None = None) -> Completions[T]:
    """Iterate over `futures` as they end; `timeout` bounds the wait for each next one.

    In a call they come in the order in which they stand in the ledger, so that a call which is
    resumed sees the order again that it has acted on. For that it asks the ledger once before
    it hands one out while others have not ended.
    """
    return Completions(_checked("as_completed", list(futures)), timeout)


class Waited(Future[tuple[set[Future[T]], set[Future[T]]]]):
    """What `wait` returns: the futures that had ended when it did, and those that had not."""

    __slots__ = ("_errors", "_missing", "parts")

    def __init__(self, parts: set[Future[T]], count: int, *, errors: bool) -> None:
        super().__init__()
        self.parts, self._missing, self._errors = parts, count, errors
        if not parts:
            self.split()
        for part in parts:
            part.add_done_callback(self._part_done)

    def _part_done(self, part: Future[T]) -> None:
        with _counting:
            self._missing -= 1
            enough = self._missing <= 0
        if enough or (self._errors and part.failure is not None):
            self.split()

    def split(self) -> None:
        """End with what has ended by now."""
        if not self.done():
            done = {part for part in self.parts if part.done()}
            self.resolve((done, self.parts - done), revision=_last(done))


def wait(
    futures: Iterable[Future[T]],
    *,
    timeout: float | None = None,
    return_when: Literal["FIRST_COMPLETED", "FIRST_EXCEPTION", "ALL_COMPLETED"] = "ALL_COMPLETED",
) -> Waited[T]:
    """Return one future of (done, pending): after `timeout` seconds or when `return_when` holds.

    As `concurrent.futures.wait`. Await it, or call `.result()` in synchronous code. It never
    fails; the timeout counts from now, whether or not anybody waits.
    """
    parts = set(_checked("wait", list(futures)))
    count = 1 if return_when == "FIRST_COMPLETED" else len(parts)
    waited = Waited(parts, count, errors=return_when == "FIRST_EXCEPTION")
    if timeout is not None and timeout <= 0:
        waited.split()
    if timeout is not None and not waited.done():
        call_off = after(timeout, waited.split)
        waited.add_done_callback(lambda _: call_off())
    return waited


def _checked(what: str, futures: Sequence[Future[T]]) -> Sequence[Future[T]]:
    """Return `futures`; raises FutureMisuse, naming what is none."""
    for future in cast("Sequence[object]", futures):  # A user's: it may be anything.
        if not isinstance(future, Future):
            spread = isinstance(future, list | tuple | set)
            raise FutureMisuse(
                f"nalar.{what} takes futures, as calls return them, not {future!r:.80}"
                + (f": write nalar.{what}(*futures)" if spread and what == "gather" else "")
            )
    return futures


def _last(parts: Iterable[Future[Any]]) -> int:
    """Return the place in the ledger of the latest record."""
    return max((part.revision for part in parts), default=0)


def after(seconds: float, act: Callable[[], None]) -> Callable[[], object]:
    """Have `act` called later, on this event loop or in a thread; return what calls that off."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        timer = threading.Timer(seconds, act)
        timer.daemon = True
        timer.start()
        return timer.cancel
    handle = loop.call_later(seconds, act)

    def call_off() -> None:
        with contextlib.suppress(RuntimeError):  # The loop has closed.
            loop.call_soon_threadsafe(handle.cancel)

    return call_off


def leaves(futures: Iterable[Future[Any]]) -> set[Future[Any]] | None:
    """Return what has not ended of `futures`, combinations taken apart.

    None when one of them ends by something that is neither a call nor a wait of one.
    """
    found: set[Future[Any]] = set()
    left = [future for future in futures if not future.done()]
    while left:
        future = left.pop()
        if future.ref is not None:
            found.add(future)
        elif isinstance(future, Gathered | Waited | Another):
            parts = cast("Iterable[Future[Any]]", future.parts)
            left += [part for part in parts if not part.done()]
        else:
            return None
    return found
