"""What a workflow waits for beside its calls: time, word from outside, and work of its own.

`sleep`, `wait_for` and `step` return futures: `await` them, or write `.result()` in synchronous
code. What came of each is kept in the ledger under the running call, so that a workflow whose
worker dies, or that is suspended meanwhile, goes on as if nothing had happened: a timer goes off
when it was set to, a signal is not taken twice, a step that has returned is not run again.
"""

import asyncio
import inspect
import math
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, overload

from nalar.calls.steps import Step
from nalar.combined import after
from nalar.context import Call, Waits, current_call
from nalar.errors import UsageError
from nalar.futures import Future

P = ParamSpec("P")
T = TypeVar("T")

#: Steps that run outside of any call, on an event loop: it only holds them weakly.
_outside: set[asyncio.Task[None]] = set()


def sleep(seconds: float, *, key: str | None = None) -> Future[None]:
    """Return a future that ends in `seconds` seconds: `await nalar.sleep(60)`.

    Inside a workflow the time at which it ends is kept: a workflow that is resumed sleeps for the
    rest. Several sleeps of one length are told apart by their order, or by `key`. Outside of a
    call it is a plain sleep. In synchronous code write `nalar.sleep(60).result()`.
    Raises UsageError for what is no length of time.
    """
    if not 0 <= seconds < math.inf:
        raise UsageError(f"nalar.sleep takes a number of seconds from 0, not {seconds!r}")
    call = current_call()
    if call is not None:
        return _waits(call, "sleep").sleep(seconds, key)
    slept: Future[None] = Future()
    after(seconds, lambda: slept.resolve(None))
    return slept


@overload
def wait_for(
    name: str, kind: type[T], *, timeout_s: float | None = None, key: str | None = None
) -> Future[T]: ...
@overload
def wait_for(
    name: str, kind: Any = Any, *, timeout_s: float | None = None, key: str | None = None
) -> Future[Any]: ...
def wait_for(
    name: str, kind: Any = Any, *, timeout_s: float | None = None, key: str | None = None
) -> Future[Any]:
    """Return a future of the next signal `name` that is sent to this call.

    Signals come from `nalar signal RUN NAME`, `client.signal(run, name, value)` and
    `future.signal(name, value)`. They are addressed to one call, a run's own unless another is
    named. They wait for whoever asks for them, however early they were sent, and are taken in
    the order in which they were stored: each by one `wait_for`, which takes the oldest.

    `kind` is the type of the value; without it the value is plain JSON. A value that does not fit
    raises ArgumentError: the signal is taken all the same, and one may wait for the next. After
    `timeout_s` seconds without a signal raises CallTimeout, a TimeoutError; like a sleep, the limit
    outlives the worker (`asyncio.timeout` does not). A wait that is given up, because the task
    that awaits it is cancelled, takes nothing. Raises UsageError outside of a call.
    """
    call = current_call()
    if call is None:
        raise UsageError(f"nalar.wait_for({name!r}) waits for a signal to a call, and none runs")
    if timeout_s is not None and not 0 <= timeout_s < math.inf:
        raise UsageError(f"timeout_s is a number of seconds from 0, not {timeout_s!r}")
    return _waits(call, "wait_for").wait_for(name, kind, timeout_s, key)


@overload
def step(
    fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
) -> Future[T]: ...
@overload
def step(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]: ...
def step(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
    """Run `fn(*args, **kwargs)` once and keep what it returns: `await nalar.step(time.time)`.

    For what a workflow does that is not a call: asking for the time, chance, an HTTP request. A
    resumed workflow gets the value that is kept, and `fn` is not run again. It is kept when `fn`
    has returned: a crash before that runs it again, with the same
    `nalar.context().idempotency_key`. What it raises is raised here and not kept: a workflow that
    is tried again, or resumed, runs it again. Plain functions run in a thread.

    Steps are told apart by the name of `fn`, those of its arguments that are data, and the order
    of equal ones. The value must be data (it comes back as the annotation of `fn` says, else as
    plain JSON), and `fn` may make no calls: make them in the workflow. Outside of a call `fn` is
    simply run. Raises UsageError for a future among the arguments.
    """
    described = Step.of(fn, args, kwargs)
    call = current_call()
    if call is not None:
        return _waits(call, "step").step(described)
    return _run_outside(described)


def _waits(call: Call, what: str) -> Waits:
    if call.waits is None:
        raise UsageError(
            f"nalar.{what} cannot be used inside of a step: it may run again from its beginning. "
            "Use it in the workflow itself"
        )
    return call.waits


def _run_outside(described: Step) -> Future[Any]:
    done: Future[Any] = Future()
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    try:
        value = described.fn(*described.args, **described.kwargs)
        if not inspect.isawaitable(value):
            done.resolve(described.load(described.dump(value)))
        elif loop is None:
            asyncio.run(_awaited(described, value, done))
        else:
            task = loop.create_task(_awaited(described, value, done))
            _outside.add(task)
            task.add_done_callback(_outside.discard)
    except Exception as error:  # noqa: BLE001 -- whatever the step raises is its future's
        done.fail(error)
    return done


async def _awaited(described: Step, value: Any, done: Future[Any]) -> None:
    try:
        done.resolve(described.load(described.dump(await value)))
    except Exception as error:  # noqa: BLE001 -- as above
        done.fail(error)


class Durable(Future[T]):
    """A timer, signal or step of the running call, as its code holds it."""

    __slots__ = ("_listeners", "_waiters", "until_s")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        #: When it ends by itself at the latest, Unix time; infinite while that is not known.
        self.until_s = math.inf
        #: Who waits for it now, and who else is to be told.
        self._waiters = 0
        self._listeners = 0

    def add_done_callback(self, notify: Callable[[Any], object]) -> None:
        self._listeners += 1
        super().add_done_callback(notify)

    async def _wait(self) -> None:
        self._waiters += 1
        self._listeners -= 1  # Itself: `Future._wait` is told in the same way.
        try:
            await super()._wait()
        except asyncio.CancelledError:
            if self._waiters == 1 and not self._listeners:
                self.cancel()  # Nobody else: a signal would be lost on it.
            raise
        finally:
            self._waiters -= 1


class Own(Durable[T]):
    """A step: it is work of the call itself, which keeps its execution slot for it."""

    __slots__ = ()
    keeps_slot = True
