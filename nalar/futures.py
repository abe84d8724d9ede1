"""Futures: what a call returns at once, and how one waits for several.

A future belongs to no event loop: it is resolved by the runtime's thread and may be awaited on
any loop or waited for in any thread. Waiting inside a call gives the call's execution slot up.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, Self, TypeVar, cast

from nalar.context import current_call
from nalar.errors import CallTimeout, FutureMisuse, NotData
from nalar.ids import Ref
from nalar.messages import FUTURE_KEY

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

log = logging.getLogger("nalar.futures")

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

#: Guards the step from pending to done of every future; held for nanoseconds.
_transition = threading.Lock()


class Future(Generic[T_co]):
    """The result of a call that may still be running.

    `await f` or `f.result(timeout)` gives the value or raises what the call ended in. Pass it
    on as an argument, also inside lists, dicts and models: that is a dependency, not a wait.
    """

    __slots__ = ("__weakref__", "_callbacks", "_cancel", "_done", "_error", "_value", "ref",
                 "revision")  # fmt: skip

    def __init__(self, ref: Ref | None = None) -> None:
        #: Address of the result in the ledger; None for a combination of futures.
        self.ref = ref
        #: Place of the record in the ledger's order, once there is one.
        self.revision = 0
        self._done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Self], object]] | None = []
        self._cancel: Callable[[], bool] | None = None

    # What users do.

    def done(self) -> bool:
        """Say whether the call has ended; never waits."""
        return self._done

    def result(self, timeout: float | None = None) -> T_co:
        """Wait at most `timeout` seconds and return the value.

        Raises what the call ended in (a CallError), CallTimeout when it takes longer, and
        FutureMisuse on an event loop, where it would block: use `await` there.
        """
        self._wait_blocking(timeout, "result()")
        if self._error is not None:
            raise self._error
        return cast("T_co", self._value)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait as `result` does and return the error the call ended in, or None."""
        self._wait_blocking(timeout, "exception()")
        return self._error

    def cancel(self) -> bool:
        """Ask that the call end as cancelled; False when it has ended already."""
        return not self._done and self._cancel is not None and self._cancel()

    def add_done_callback(self, notify: Callable[[Self], object]) -> None:
        """Call `notify(self)` once the call has ended; at once when it has.

        Runs in the thread that resolves the future, so it must be quick.
        """
        with _transition:
            if self._callbacks is not None:
                self._callbacks.append(notify)
                return
        self._notify(notify)

    def value(self, timeout: float | None = None) -> T_co:
        """The paper's name for `result`."""
        return self.result(timeout)

    def available(self) -> bool:
        """The paper's name for `done`."""
        return self._done

    def __await__(self) -> Generator[Any, None, T_co]:
        if not self._done:
            yield from self._wait().__await__()
        if self._error is not None:
            raise self._error
        return cast("T_co", self._value)

    def __len__(self) -> int:
        return len(self._resolved("len(f)"))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._resolved("iterating over f"))

    def __getitem__(self, key: Any) -> Any:
        return self._resolved("f[...]")[key]

    def __bool__(self) -> NoReturn:
        raise FutureMisuse(
            "a future is neither true nor false: ask `f.done()` whether the call has ended, or "
            "test its value, `await f`"
        )

    def __repr__(self) -> str:
        state = "pending" if not self._done else "failed" if self._error else "succeeded"
        return f"<Future {self.ref.future if self.ref else 'combined'} {state}>"

    # What the runtime does.

    @property
    def failure(self) -> BaseException | None:
        """The error it ended in; None while it is pending or when it succeeded."""
        return self._error

    def resolve(self, value: object, *, revision: int = 0) -> None:
        """End with `value`; does nothing when the future has ended."""
        self._end(value, None, revision)

    def fail(self, error: BaseException, *, revision: int = 0) -> None:
        """End with `error`; does nothing when the future has ended."""
        self._end(None, error, revision)

    def on_cancel(self, cancel: Callable[[], bool]) -> None:
        """Say what `cancel()` does while the future is pending."""
        self._cancel = cancel

    def _end(self, value: object, error: BaseException | None, revision: int) -> None:
        with _transition:
            if self._done:
                return
            self._value, self._error, self.revision = value, error, revision
            self._done = True
            callbacks, self._callbacks = self._callbacks, None
        self._cancel = None
        for notify in callbacks or ():
            self._notify(notify)

    def _notify(self, notify: Callable[[Self], object]) -> None:
        """Call `notify`; one that raises must not keep the others from hearing."""
        try:
            notify(self)
        except Exception:
            log.exception("a callback of %r failed", self)

    # Waiting.

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        thread = threading.get_ident()

        def wake(_: object = None) -> None:
            if not waiter.done():
                waiter.set_result(None)

        def notify(_: object) -> None:
            if threading.get_ident() == thread:
                wake()
            else:
                with contextlib.suppress(RuntimeError):  # The waiter's loop has closed.
                    loop.call_soon_threadsafe(wake)

        self.add_done_callback(notify)
        call = current_call()
        if call is None:
            await waiter
            return
        call.slot.leave()
        try:
            await waiter
        except BaseException:
            call.slot.rejoin()
            raise
        await call.slot.enter()

    def _wait_blocking(self, timeout: float | None, what: str) -> None:
        if self._done:
            return
        if _on_event_loop():
            raise FutureMisuse(f"{what} would block the event loop: write `await f` here")
        ended = threading.Event()
        self.add_done_callback(lambda _: ended.set())
        call = current_call()
        if call is not None:
            call.slot.leave()
        try:
            in_time = ended.wait(timeout)
        finally:
            if call is not None:
                call.slot.enter_blocking()
        if not in_time:
            raise CallTimeout(f"{self!r} has not ended within {timeout} s; it goes on")

    def _resolved(self, what: str) -> Any:
        if _on_event_loop():
            raise FutureMisuse(
                f"{what} needs the value, and an event loop cannot wait for it: write `await f`"
            )
        return self.result()

    def as_json(self) -> object:
        """Return the JSON that stands for this future inside arguments: its reference.

        Raises NotData for one that is not the result of one call.
        """
        if self.ref is None:
            raise NotData(f"{self!r} is not the result of one call and cannot be passed on")
        return {FUTURE_KEY: str(self.ref)}

    @classmethod
    def __get_pydantic_core_schema__(
        cls,
        source: Any,
        handler: "GetCoreSchemaHandler",
    ) -> "CoreSchema":
        """A field annotated `Future[T]` takes a future or, on the other side, its value."""
        from nalar.future_schema import future_schema  # noqa: PLC0415 -- pydantic is 60 ms to import

        return future_schema(cls, source, handler)


def _on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class Gathered(Future[list[T]]):
    """Several futures as one: their values, in the order they were given."""

    __slots__ = ("_missing", "parts")

    def __init__(self, parts: Sequence[Future[T]]) -> None:
        super().__init__()
        self.parts = tuple(parts)
        self._missing = len(self.parts)
        if not self.parts:
            self.resolve([])
        for part in self.parts:
            part.add_done_callback(self._part_done)

    def as_json(self) -> object:
        return [part.as_json() for part in self.parts]

    def _part_done(self, part: Future[T]) -> None:
        if part.failure is not None:
            self.fail(part.failure)
            return
        with _transition:
            self._missing -= 1
            complete = self._missing == 0
        if complete:
            self.resolve([part.result() for part in self.parts])


def gather(*futures: Future[T]) -> Gathered[T]:
    """Return one future of all values, in order; fails as soon as one of `futures` fails.

    Await it, call `.result()`, or pass it on as an argument like any future.
    """
    return Gathered(futures)


class Completions(Generic[T]):
    """Futures in the order in which they end; iterate with `for` or `async for`."""

    def __init__(self, futures: Iterable[Future[T]], timeout: float | None) -> None:
        self._pending = list(futures)
        self._timeout = timeout

    def _ended(self) -> list[Future[T]]:
        """Take out what has ended; a resumed workflow sees the ledger's order again."""
        ended = sorted((f for f in self._pending if f.done()), key=lambda f: f.revision)
        self._pending = [f for f in self._pending if not f.done()]
        return ended

    def __iter__(self) -> Iterator[Future[T]]:
        while self._pending:
            ended = self._ended()
            if not ended:
                _first_of(self._pending, 1).result(self._timeout)
            yield from ended

    async def __aiter__(self) -> AsyncIterator[Future[T]]:
        while self._pending:
            ended = self._ended()
            if not ended:
                async with asyncio.timeout(self._timeout):
                    await _first_of(self._pending, 1)
            for future in ended:
                yield future


def as_completed(futures: Iterable[Future[T]], *, timeout: float | None = None) -> Completions[T]:
    """Iterate over `futures` as they end; `timeout` bounds the wait for each next one."""
    return Completions(futures, timeout)


def _first_of(futures: Sequence[Future[Any]], count: int, *, errors: bool = False) -> Future[None]:
    """Return a future that ends when `count` of `futures` have, or one failed if `errors`."""
    reached: Future[None] = Future()
    missing = count

    def ended(future: Future[Any]) -> None:
        nonlocal missing
        with _transition:
            missing -= 1
            enough = missing <= 0
        if enough or (errors and future.failure is not None):
            reached.resolve(None)

    for future in futures:
        future.add_done_callback(ended)
    return reached


class Waited(Future[tuple[set[Future[T]], set[Future[T]]]]):
    """What `wait` returns: the futures that have ended and those that have not."""

    __slots__ = ("_futures", "_reached", "_timeout")

    def __init__(
        self, futures: set[Future[T]], reached: Future[None], timeout: float | None
    ) -> None:
        super().__init__()
        self._futures, self._reached, self._timeout = futures, reached, timeout

    def _split(self) -> tuple[set[Future[T]], set[Future[T]]]:
        done = {future for future in self._futures if future.done()}
        return done, self._futures - done

    def result(self, timeout: float | None = None) -> tuple[set[Future[T]], set[Future[T]]]:
        """Wait and return (done, pending); never raises for a timeout given to `wait`."""
        with contextlib.suppress(CallTimeout):
            self._reached.result(self._timeout if timeout is None else timeout)
        return self._split()

    def __await__(self) -> Generator[Any, None, tuple[set[Future[T]], set[Future[T]]]]:
        return self._both().__await__()

    async def _both(self) -> tuple[set[Future[T]], set[Future[T]]]:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout):
                await self._reached
        return self._split()


def wait(
    futures: Iterable[Future[T]],
    *,
    timeout: float | None = None,
    return_when: Literal["FIRST_COMPLETED", "FIRST_EXCEPTION", "ALL_COMPLETED"] = "ALL_COMPLETED",
) -> Waited[T]:
    """Return (done, pending) after `timeout` seconds or when `return_when` holds.

    Await it, or call `.result()` in synchronous code. As `concurrent.futures.wait`.
    """
    all_ = set(futures)
    count = 1 if return_when == "FIRST_COMPLETED" else len(all_)
    reached = _first_of(list(all_), count, errors=return_when == "FIRST_EXCEPTION")
    if not all_:
        reached.resolve(None)
    return Waited(all_, reached, timeout)
