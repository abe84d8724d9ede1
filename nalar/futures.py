"""Futures: what a call returns at once. How one waits for several is in nalar.combined.

A future belongs to no event loop: it is resolved by the runtime's thread and may be awaited on
any loop or waited for in any thread. Waiting inside a call gives the call's execution slot up.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Self, TypeVar, cast

from nalar.chunks import Stream
from nalar.context import current_call
from nalar.errors import CallTimeout, FutureMisuse, NotData, UsageError
from nalar.ids import Ref
from nalar.messages import FUTURE_KEY

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

log = logging.getLogger("nalar.futures")

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

#: Guards the step from pending to done of every future; held for nanoseconds.
_transition = threading.Lock()


class Future(Generic[T_co]):
    """The result of a call that may still be running.

    `await f` or `f.result(timeout)` gives the value or raises what the call ended in. Pass it
    on as an argument, also inside lists, dicts and models: that is a dependency, not a wait.
    """

    __slots__ = ("__weakref__", "_callbacks", "_cancel", "_done", "_error", "_signal", "_stream",
                 "_value", "ref", "revision")  # fmt: skip
    #: Whether a call that waits for it keeps its execution slot.
    keeps_slot: ClassVar[bool] = False

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
        self._stream: Callable[[Future[Any], int, bool], Stream[Any]] | None = None
        self._signal: Callable[[str, object], Future[None]] | None = None

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
        """Ask that the call and all that came of it end as cancelled; False when it has ended.

        Whichever is stored first, a result or the cancellation, is how it ends. Cancelling a
        task that awaits this future cancels the waiting alone: the call goes on.
        """
        return not self._done and self._cancel is not None and self._cancel()

    def stream(self: "Future[list[T]]", *, after: int = 0, resume: bool = False) -> Stream[T]:
        """Read what the call yields while it runs: `async for`, or `for` in a thread.

        Skips the first `after` values (`position` of an earlier reader). Should the
        call be begun again (its worker died, it is retried) once values have come, the stream
        raises StreamRestarted, or with `resume` goes on with what the new execution yields at
        the same place. Raises UsageError for a call that yields nothing, and what it ended in.
        """
        if self._stream is None:
            raise FutureMisuse(f"{self!r} is not the result of one call: it has no stream")
        return self._stream(self, after, resume)

    def signal(self, name: str, value: object = None) -> "Future[None]":
        """Send the call a signal, for its `nalar.wait_for(name)`; ends once it is stored.

        A call that sends one does not return before that. Ends in UsageError when the call has
        ended. Raises UsageError for a future that is no call, InvalidToken and ArgumentError for
        what can be no name or value.
        """
        if self._signal is None:
            raise UsageError(f"{self!r} is no call that signals can be sent to")
        return self._signal(name, value)

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

    def __copy__(self) -> Self:
        """A future is a handle: a copy of what holds it waits for the same call."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise FutureMisuse(
            f"{self!r} belongs to this process and cannot be pickled: pass it on as an argument "
            "of a call, or send its value, `await f`"
        )

    def __repr__(self) -> str:
        state = "pending" if not self._done else "failed" if self._error else "succeeded"
        what = f"of {self.ref.agent} {self.ref.future}" if self.ref else "combined"
        return f"<Future {what} {state}>"

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

    def on_stream(self, open_stream: "Callable[[Future[Any], int, bool], Stream[Any]]") -> None:
        """Say how `stream()` reads what the call behind a future yields.

        It is handed the future: one that it kept would live until it is looked for as garbage.
        """
        self._stream = open_stream

    def on_signal(self, send: "Callable[[str, object], Future[None]]") -> None:
        """Say what `signal()` does."""
        self._signal = send

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

        call = current_call()
        if call is None or self.keeps_slot:
            self.add_done_callback(notify)
            await waiter
            return
        call.check()
        self.add_done_callback(notify)
        call.slot.leave()
        call.activity.waits[waiter] = self
        try:
            with call.stop.waking(partial(notify, None)):
                await waiter
            call.check()
        except BaseException:
            call.slot.rejoin()
            raise
        finally:
            call.activity.waits.pop(waiter, None)
        await call.slot.enter()

    def _wait_blocking(self, timeout: float | None, what: str) -> None:
        if self._done:
            return
        if _on_event_loop():
            raise FutureMisuse(f"{what} would block the event loop: write `await f` here")
        ended = threading.Event()
        self.add_done_callback(lambda _: ended.set())
        call = current_call()
        if call is None:
            in_time = ended.wait(timeout)
        else:
            in_time = call.wait_blocking(ended, timeout, keeps_slot=self.keeps_slot)
        if not in_time:
            raise CallTimeout(f"{self!r} has not ended within {timeout:g} s; it goes on")

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
