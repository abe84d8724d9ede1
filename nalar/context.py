"""Where the running code is: the call it belongs to and the runtime that carries its calls.

Context flows by itself: into tasks and threads that the runtime starts, and from a call to the
calls it makes. Nothing here performs I/O.
"""

import contextvars
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from nalar.activity import Activity
from nalar.call_policy import CallPolicy, Retry
from nalar.errors import UsageError
from nalar.ids import Ref
from nalar.stopping import StopFlag


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What one call carries beside its arguments; made by `.options(...)`."""

    #: Session the call belongs to; None inherits the caller's.
    session: str | None = None
    #: Higher runs sooner, 0 is normal; None inherits.
    priority: int | None = None
    #: Seconds from now until the call must have taken effect; never beyond the caller's.
    deadline_s: float | None = None
    #: On whose behalf; None inherits.
    tenant: str | None = None
    #: Makes two submissions of the same request one.
    idempotency_key: str | None = None
    #: Names a call among identical ones under one parent.
    key: str | None = None
    #: What takes the place of what the method declares; None leaves it.
    retry: Retry | None = None
    timeout_s: float | None = None
    queue_timeout_s: float | None = None

    @property
    def policy(self) -> CallPolicy | None:
        """What the call says of retries and time limits; None when it says nothing."""
        if self.retry is None and self.timeout_s is None and self.queue_timeout_s is None:
            return None
        return CallPolicy(self.retry, self.timeout_s, self.queue_timeout_s)


DEFAULT_OPTIONS = CallOptions()


class Slot(Protocol):
    """The execution slot of a running call: given up while it waits, taken again after."""

    @property
    def waiting(self) -> bool:
        """Whether any branch of the call waits for a future."""
        ...

    def leave(self) -> None:
        """Give the slot up; from the loop or any thread. Calls may nest."""
        ...

    async def enter(self) -> None:
        """Take a slot again, ahead of calls that have not started."""
        ...

    def enter_blocking(self) -> None:
        """As `enter`, from a thread that runs synchronous code."""
        ...

    def rejoin(self) -> None:
        """Count as running again at once, even beyond the limit (on the way out)."""
        ...


class Ordering(Protocol):
    """Knows in which order the records of a call's children stand in the ledger."""

    def reached(self, revision: int) -> Any:
        """Return a future that ends once every record up to `revision` has ended its future."""
        ...


class Emits(Protocol):
    """Takes what a generator method yields, while it runs."""

    async def emit(self, value: object) -> None:
        """Hand one value on to whoever reads the call's stream."""
        ...

    def emit_blocking(self, value: object) -> None:
        """As `emit`, from a thread that runs synchronous code."""
        ...

    async def drain(self) -> None:
        """Send what has gathered, and wait until it is stored or cannot be."""
        ...


class Gathers(Protocol):
    """Runs the body of a method once for several calls."""

    def join(
        self,
        spec: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        call: Any,
        threads: Any,
    ) -> Any:
        """Return an awaitable of the call's own result."""
        ...

    def leave(self, key: str) -> None:
        """Wait for this call no longer: it has come, or will not."""
        ...


class Runtime(Protocol):
    """Carries calls: publishes them and resolves their futures."""

    def call(
        self,
        spec: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: CallOptions,
    ) -> Any:
        """Publish one call and return its future at once; from any thread."""
        ...


class Waits(Protocol):
    """The durable waits of a running call; what each does is said in `nalar.calls.durable`."""

    def sleep(self, seconds: float, key: str | None) -> Any:
        """Return a future that ends in `seconds` seconds."""
        ...

    def wait_for(self, name: str, kind: Any, timeout_s: float | None, key: str | None) -> Any:
        """Return a future of the next signal `name`."""
        ...

    def step(self, step: Any) -> Any:
        """Return a future of what a step returns."""
        ...


@dataclass(slots=True, eq=False)
class Call:
    """The running call, as its own code may see it through `nalar.context()`."""

    ref: Ref
    agent: str
    method: str
    session: str
    tenant: str
    priority: int
    #: Unix time, seconds.
    deadline: float
    attempt: int
    worker: str
    #: The calls from the request down to this one.
    path: str
    #: Sessions held by this call and its callers, as `agent/session`.
    holds: tuple[str, ...]
    traceparent: str
    runtime: Runtime = field(repr=False)
    slot: Slot = field(repr=False)
    #: In which it hears of its children, where it may be resumed.
    order: Ordering | None = field(default=None, repr=False)
    #: Of a generator method.
    emitter: Emits | None = field(default=None, repr=False)
    #: Of a method that gathers calls.
    batch: Gathers | None = field(default=None, repr=False)
    stop: StopFlag = field(default_factory=StopFlag, repr=False)
    #: None inside of a step.
    waits: Waits | None = field(default=None, repr=False)
    #: What of its code is under way.
    activity: Activity = field(default_factory=Activity, repr=False)
    #: What `report_tokens` was told, by model.
    tokens: dict[str, int] = field(default_factory=dict[str, int], repr=False)

    def report_tokens(self, model: str, prompt: int = 0, completion: int = 0) -> None:
        """Say how many tokens of a model the call has used: reports and limits count them.

        May be called as often as there is something to say. Raises UsageError for what is no
        number of tokens.
        """
        if not model or not (_is_count(prompt) and _is_count(completion)):
            raise UsageError(
                f"report_tokens({model!r}, {prompt!r}, {completion!r}): name the model, and "
                "give whole numbers from 0"
            )
        self.tokens[model] = self.tokens.get(model, 0) + prompt + completion

    @property
    def cancelled(self) -> bool:
        """True once this code is to end: its call was cancelled, or may take no longer.

        Whatever the code still answers is not the call's result. For code that runs long in a
        thread; coroutines are interrupted by a CancelledError as well.
        """
        return self.stop.reason is not None

    def check(self) -> None:
        """Raise Cancelled (Expired when the deadline has passed) once this code is to end."""
        self.stop.check(self.path)

    def wait_blocking(
        self, ended: threading.Event, timeout: float | None, *, keeps_slot: bool = False
    ) -> bool:
        """Wait for `ended` in a thread, without the execution slot; say whether it came.

        Raises as `check` does, at once when told to stop meanwhile.
        """
        self.check()
        if keeps_slot:
            with self.stop.waking(ended.set):
                in_time = ended.wait(timeout)
            self.check()
            return in_time
        self.slot.leave()
        try:
            with self.stop.waking(ended.set):
                in_time = ended.wait(timeout)
        finally:
            if self.cancelled:
                self.slot.rejoin()
            else:
                self.slot.enter_blocking()
        self.check()
        return in_time

    @property
    def root(self) -> str:
        """Id of the request that this call belongs to."""
        return self.ref.root

    @property
    def future(self) -> str:
        """Id of this call."""
        return self.ref.future

    @property
    def idempotency_key(self) -> str:
        """The same over all attempts of this call: hand it to external services."""
        return self.ref.future


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 53


_call: contextvars.ContextVar[Call | None] = contextvars.ContextVar("nalar_call", default=None)
_runtime: contextvars.ContextVar[Runtime | None] = contextvars.ContextVar(
    "nalar_runtime", default=None
)
#: Runtimes connected outside any call, newest last; threads see them where the variable above
#: was not inherited.
_connected: list[Runtime] = []
_implicit: list[Callable[[], Runtime]] = []


def context() -> Call:
    """Return the running call; raises UsageError outside of one."""
    call = _call.get()
    if call is None:
        raise UsageError(
            "nalar.context() says which call is running, and none is: this code was not "
            "started by a worker, or as a batch (nalar.batch_calls() says which calls that holds)"
        )
    return call


def current_call() -> Call | None:
    """Return the running call, or None outside of one."""
    return _call.get()


def enter(call: Call) -> None:
    """Make `call` the running one for the rest of the current task."""
    _call.set(call)
    _runtime.set(call.runtime)


def entered(call: Call) -> contextvars.Context:
    """Return a copy of the current context in which `call` is the running one."""
    inner = contextvars.copy_context()
    inner.run(_call.set, call)
    inner.run(_runtime.set, call.runtime)
    return inner


def call_in(context: contextvars.Context | None) -> Call | None:
    """Return the call whose code runs in `context`, the current one unless it is given."""
    return _call.get() if context is None else context.get(_call)


def aside(runtime: Runtime | None = None) -> contextvars.Context:
    """Return a copy of the current context for what is no call's code: the runtime's own work.

    `runtime` is where calls made there go; left out, it stays.
    """
    outer = contextvars.copy_context()
    outer.run(_call.set, None)
    if runtime is not None:
        outer.run(_runtime.set, runtime)
    return outer


def current_runtime() -> Runtime:
    """Return the runtime that calls made here go to.

    The running call's; else the one connected last; else an implicit in-process one.
    """
    runtime = _runtime.get()
    if runtime is not None:
        return runtime
    if _connected:
        return _connected[-1]
    if _implicit:
        return _implicit[0]()
    raise UsageError("no runtime is connected; use nalar.connect() or nalar.local()")


def connect_runtime(runtime: Runtime) -> None:
    """Make `runtime` the one that calls outside of workers go to."""
    _connected.append(runtime)


def disconnect_runtime(runtime: Runtime) -> None:
    """Forget `runtime`."""
    if runtime in _connected:
        _connected.remove(runtime)


def provide_implicit(make: Callable[[], Runtime]) -> None:
    """Say how to make the in-process runtime that is used when none is connected."""
    _implicit[:] = [make]
