"""Running one call's code: arguments in, an outcome out.

Never raises what the agent raised: that is an outcome too. Knows no queue and no ledger.
"""

import asyncio
import concurrent.futures.thread
import math
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nalar.agents.spec import MethodSpec
from nalar.context import Call, enter, entered
from nalar.errors import AgentError, CallError, NalarError, Overloaded, UsageError
from nalar.ids import Ref
from nalar.messages import ErrorInfo, Status

#: Where frames are the runtime's own: Nalar's, and of the pool that runs plain functions.
_RUNTIME = (str(Path(__file__).resolve().parent.parent), concurrent.futures.thread.__file__)
#: Characters of an error's message and traceback that are kept in its record.
_MESSAGE_MAX = 4_000
_TRACEBACK_MAX = 16_000
#: Threads for synchronous code: each call gets one, and a waiting call keeps it, so the bound
#: only stands against runaway recursion.
_THREADS_MAX = 20_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of running a call: a result as JSON, or an error."""

    status: Status
    result: bytes | None = None
    error: ErrorInfo | None = None
    #: Of what the agent's code raised: the names of its class and of all it inherits from.
    kinds: tuple[str, ...] = ()
    #: How long it asked to be left alone, in seconds.
    retry_after_s: float | None = None


class Executor:
    """Runs methods: coroutines on the event loop, plain functions in a thread each."""

    def __init__(self) -> None:
        #: Where plain functions run: calls, and steps of calls.
        self.threads = ThreadPoolExecutor(_THREADS_MAX, thread_name_prefix="nalar-call")

    async def run(
        self,
        spec: MethodSpec,
        instance: Callable[[], object | None],
        arguments: bytes,
        resolved: Mapping[Ref, bytes],
        call: Call,
        *,
        timeout_s: float | None,
    ) -> Outcome:
        """Run the call in the current task and return its outcome.

        `instance` makes what the method is called on (None for a tool or workflow); its code may
        take `timeout_s`. Raises CancelledError only when the task itself is cancelled.
        """
        try:
            args, kwargs = spec.signature.load(arguments, resolved)
            self_ = instance()
            if self_ is not None:
                args = (self_, *args)
            value = await self._call(spec, args, kwargs, call, timeout_s)
            return Outcome("succeeded", spec.signature.dump_result(value))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # The agent's own code raised or passed on a cancellation that nobody asked us for.
            error = RuntimeError("the agent's code raised CancelledError")
            return Outcome("failed", error=describe_error(error, call.path))
        except BaseException as error:  # noqa: BLE001 -- whatever the agent raises, SystemExit too
            return failed(error, call.path)
        finally:
            if call.batch is not None:
                call.batch.leave(call.future)  # Others need not wait for one that never came.

    async def _call(
        self,
        spec: MethodSpec,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        call: Call,
        timeout_s: float | None,
    ) -> Any:
        call.stop.running = True
        try:
            if timeout_s is None:
                return await self._start(spec, args, kwargs, call)
            return await self._limited(spec, args, kwargs, call, timeout_s)
        finally:
            # A thread says so itself, and so does a batch: nobody may wait for them any more.
            if spec.is_async and call.batch is None:
                call.stop.running = False

    async def _limited(
        self,
        spec: MethodSpec,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        call: Call,
        timeout_s: float,
    ) -> Any:
        loop = asyncio.get_running_loop()
        limit = asyncio.timeout(None)

        def overrun() -> None:
            # In this order: code that the flag wakes must find itself cancelled as well.
            limit.reschedule(loop.time())
            call.stop.set("timeout")

        timer = loop.call_later(timeout_s, overrun)
        try:
            async with limit:
                return await self._start(spec, args, kwargs, call)
        except TimeoutError as error:
            if not limit.expired():
                raise
            told = f"{spec.label} ran longer than its timeout_s of {timeout_s:g}"
            raise TimeoutError(told) from error
        finally:
            timer.cancel()

    def _start(
        self, spec: MethodSpec, args: tuple[Any, ...], kwargs: dict[str, Any], call: Call
    ) -> Awaitable[Any]:
        if call.batch is not None:
            return call.batch.join(spec, args, kwargs, call, self.threads)
        if spec.is_async:
            enter(call)
            made = spec.fn(*args, **kwargs)
            return _collected(made, call) if spec.is_generator else made
        fn = _listing(spec.fn, call) if spec.is_generator else spec.fn
        run = entered(call).run

        def in_thread() -> Any:
            try:
                return run(fn, *args, **kwargs)
            except (StopIteration, GeneratorExit) as error:
                # They mean something else to whoever awaits this; no coroutine lets one out.
                raise RuntimeError(f"the agent's code raised {type(error).__name__}") from error
            finally:
                call.stop.running = False

        return asyncio.get_running_loop().run_in_executor(self.threads, in_thread)

    def close(self) -> None:
        """Let idle threads go; code that still runs in one is left alone."""
        self.threads.shutdown(wait=False, cancel_futures=True)


async def _collected(items: AsyncIterator[Any], call: Call) -> list[Any]:
    """Return all that a generator yields, and hand it on meanwhile."""
    collected: list[Any] = []
    async for item in items:
        collected.append(item)
        if call.emitter is not None:
            await call.emitter.emit(item)
    return collected


def _listing(fn: Callable[..., Iterator[Any]], call: Call) -> Callable[..., list[Any]]:
    """Do as `_collected` for a generator in a thread; each value is a chance to stop it."""

    def listed(*args: Any, **kwargs: Any) -> list[Any]:
        collected: list[Any] = []
        for item in fn(*args, **kwargs):
            call.check()
            collected.append(item)
            if call.emitter is not None:
                call.emitter.emit_blocking(item)
        return collected

    return listed


def failed(error: BaseException, path: str) -> Outcome:
    """Return the outcome of a call whose code raised `error`."""
    kinds = [kind.__name__ for kind in type(error).__mro__]
    if isinstance(error, AgentError):
        # What failed was a call that this one made: its type counts as well.
        kinds.append(error.type_name)
    return Outcome(
        "failed",
        error=describe_error(error, path),
        kinds=tuple(kinds),
        retry_after_s=_retry_after_s(error),
    )


def _retry_after_s(error: BaseException) -> float | None:
    """Return what the error's own `retry_after_s` says, if it is a time."""
    try:
        asked_s = float(getattr(error, "retry_after_s", None))  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 -- a hostile attribute must not end the worker
        return None
    return asked_s if 0 <= asked_s < math.inf else None


def describe_error(error: BaseException, path: str) -> ErrorInfo:
    """Return what `error` says, as data: type, message, and the frames of the user's code."""
    if isinstance(error, CallError) or (isinstance(error, UsageError) and error.path):
        # A call that this one waited for failed: its own path and traceback say more.
        return ErrorInfo(
            code=error.code,
            type_name=getattr(error, "type_name", type(error).__name__),
            message=_clip(str(error.args[0]) if error.args else "", _MESSAGE_MAX),
            traceback=_clip(error.remote_traceback, _TRACEBACK_MAX),
            path=error.path or path,
            retry_after_s=error.retry_after_s if isinstance(error, Overloaded) else None,
        )
    return ErrorInfo(
        code=error.code if isinstance(error, NalarError) else "agent",
        type_name=type(error).__name__,
        message=_clip(_message(error), _MESSAGE_MAX),
        traceback=_clip(_traceback(error), _TRACEBACK_MAX),
        path=path,
    )


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 -- a hostile __str__ must not end the worker
        return f"<its message could not be shown: {type(broken).__name__}>"


def _traceback(error: BaseException) -> str:
    """Format the traceback from the first frame that is not the runtime's own.

    What the runtime itself refuses says all in its message: of that only the user's frames count,
    and not what it came of in here.
    """
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_RUNTIME):
        frames = frames.tb_next
    ours = isinstance(error, NalarError)
    if ours and frames is None:
        return ""
    try:
        told = traceback.TracebackException.from_exception(error.with_traceback(frames))
        if ours:
            told.stack = traceback.StackSummary.from_list(
                [frame for frame in told.stack if not frame.filename.startswith(_RUNTIME)]
            )
        return "".join(told.format(chain=not ours))
    except Exception:  # noqa: BLE001 -- as above
        return ""


def _clip(text: str, limit: int) -> str:
    """Cut `text` in the middle and replace what is not valid Unicode."""
    text = text.encode("utf-8", "replace").decode()
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n... {len(text) - limit:,} characters left out ...\n{text[-half:]}"
