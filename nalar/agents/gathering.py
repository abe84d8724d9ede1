"""Calls that were started as one batch: they meet, and their method's body runs once for all.

Each stays a call of its own: it joins when its state and arguments are loaded, and takes its own
result away. Who does not come is left out. Who is stopped leaves, and its result is dropped; the
body is stopped when nobody is left.
"""

import asyncio
import concurrent.futures
import contextvars
import copy
from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, cast

from nalar.agents.spec import MethodSpec
from nalar.batches import in_batch
from nalar.context import Call
from nalar.errors import InvalidResult, UsageError
from nalar.statestore.managed import ManagedField


@dataclass(frozen=True, slots=True)
class _Item:
    """One call that has come."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    call: Call
    #: The error of its own, or None and its result.
    answer: "asyncio.Future[tuple[BaseException | None, Any]]"

    @property
    def self_(self) -> object | None:
        """What its method would run on by itself."""
        return self.args[0] if self.args else None


class Gathering:
    """Where the calls of one batch meet; all of it on the worker's loop."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._order = tuple(keys)
        self._expected = set(self._order)
        self._items: dict[str, _Item] = {}
        self._body: tuple[MethodSpec, Executor] | None = None
        self._task: asyncio.Task[None] | None = None
        #: Of a body that runs in a thread.
        self._thread: concurrent.futures.Future[Any] | None = None

    @property
    def size(self) -> int:
        """How many calls were started as this batch."""
        return len(self._order)

    async def join(
        self,
        spec: MethodSpec,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        call: Call,
        threads: Executor,
    ) -> Any:
        """Return the call's own result; raises what the body raised or gave it as a result."""
        key = call.future
        item = _Item(args, kwargs, call, asyncio.get_running_loop().create_future())
        self._items[key], self._body = item, (spec, threads)
        self.leave(key)
        try:
            error, value = await item.answer
        except asyncio.CancelledError:
            del self._items[key]
            if self._task is not None and not self._items:
                await self._stop(call)
            else:
                call.stop.running = False
            raise
        call.stop.running = False
        if error is not None:
            raise error
        return value

    def leave(self, key: str) -> None:
        """Wait for this call no longer: it has come, or will not."""
        self._expected.discard(key)
        if self._expected or self._task is not None or self._body is None:
            return
        items = [self._items[key] for key in self._order if key in self._items]
        if items:
            context = in_batch(tuple((item.call, item.self_) for item in items))
            work = self._run(items, *self._body)
            self._task = asyncio.get_running_loop().create_task(work, context=context)

    async def _stop(self, last: Call) -> None:
        """Stop the body, for nobody wants what it still does; it is the last call's to the end."""
        assert self._task is not None, "a body that is stopped runs"
        flag = last.stop
        self._task.cancel()
        try:
            await asyncio.wait([self._task])
            # A thread goes on. It is waited for as one of a single call is: not by a drain, nor
            # by one that has taken too long.
            if self._thread is not None and flag.reason not in (None, "timeout"):
                await _ended(self._thread)
        finally:
            ending = self._task if self._thread is None else self._thread
            if ending.done():
                flag.running = False
            else:
                ending.add_done_callback(lambda _: setattr(flag, "running", False))

    async def _run(self, items: list[_Item], spec: MethodSpec, threads: Executor) -> None:
        try:
            results = await self._results(items, spec, threads)
        except BaseException as error:  # noqa: BLE001 -- whatever a body raises, each call fails by
            if isinstance(error, asyncio.CancelledError | StopIteration | GeneratorExit):
                # They mean something else to whoever awaits an answer.
                error = RuntimeError(f"the agent's code raised {type(error).__name__}")
            answers = [(error, None)] * len(items)
        else:
            answers = [
                (value, None) if isinstance(value, BaseException) else (None, value)
                for value in results
            ]
        for item, answer in zip(items, answers, strict=True):
            if not item.answer.done():
                item.answer.set_result(answer)

    async def _results(self, items: list[_Item], spec: MethodSpec, threads: Executor) -> list[Any]:
        first = items[0]
        lists = {name: [item.kwargs[name] for item in items] for name in first.kwargs}
        body = partial(spec.fn, *(_shared(it) for it in first.args), **lists)
        if spec.is_async:
            made = await body()
        else:
            run = partial(contextvars.copy_context().run, body)
            self._thread = threads.submit(run)
            made = await asyncio.wrap_future(self._thread)
        given = f"{spec.label} was given {len(items)} call{'s' * (len(items) > 1)}, and returned"
        if not isinstance(made, list):
            raise InvalidResult(f"{given} {type(made).__name__}, no list")
        results = cast("list[Any]", made)
        if len(results) != len(items):
            raise InvalidResult(
                f"{given} {len(results)} results: return one for each, in the same order"
            )
        return results


async def _ended(thread: "concurrent.futures.Future[Any]") -> None:
    """Wait for what runs in a thread, whatever comes of it."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    thread.add_done_callback(lambda _: loop.call_soon_threadsafe(ended.set))
    await ended.wait()


class _PerCall:
    """Stands where a session's state would, on the instance that is all calls' at once."""

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "_name", name)

    def _refuse(self, *_: object) -> NoReturn:
        name: str = object.__getattribute__(self, "_name")
        raise UsageError(
            f"self.{name} is session state, and a batch has a session for each call: write "
            f"for own in nalar.batch_selves(self): own.{name}"
        )

    __getattr__ = __bool__ = __len__ = __iter__ = __contains__ = _refuse
    __getitem__ = __setitem__ = __delitem__ = _refuse


def _shared(instance: Any) -> Any:
    """Return what a batch's body runs on: what its constructor made, and nobody's state."""
    own = cast("dict[str, object]", vars(instance))
    kind = cast("object", type(instance))
    names = [name for name in own if isinstance(getattr(kind, name, None), ManagedField)]
    if not names:
        return instance
    shared = copy.copy(instance)
    for name in names:
        vars(shared)[name] = _PerCall(name)
    return shared
