"""What one running call has going on its event loop: tasks, timers, and what they wait for.

A call may be suspended only while nothing of it can go on but by records of the ledger. Its code is
plain Python, so whether that is so is read off its tasks: each waits for a future of ours, or for
other tasks of the call that do. Whatever else one waits for, a socket, a lock, `asyncio.sleep`, and
any timer, such as `asyncio.timeout` sets, means that it may be at work.
"""

import asyncio
import asyncio.tasks
import inspect
import weakref
from types import CodeType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from nalar.futures import Future

#: Tasks and timers that may be remembered before those that are over are looked for.
_PRUNE_FIRST: Final = 32


class Activity:
    """The tasks and timers of one call. On its event loop only."""

    __slots__ = ("_prune_tasks_at", "_prune_timers_at", "_tasks", "_timers", "waits")

    def __init__(self) -> None:
        self._tasks: list[weakref.ref[asyncio.Task[Any]]] = []
        self._timers: list[asyncio.TimerHandle] = []
        self._prune_tasks_at = self._prune_timers_at = _PRUNE_FIRST
        #: What its tasks are blocked on -> the future of ours that ends it.
        self.waits: dict[object, Future[Any]] = {}

    def began(self, task: "asyncio.Task[Any]") -> None:
        """The call's code runs in `task` as well."""
        self._tasks.append(weakref.ref(task))
        if len(self._tasks) >= self._prune_tasks_at:
            self._tasks = [weakref.ref(task) for task in self._alive()]
            self._prune_tasks_at = max(_PRUNE_FIRST, 2 * len(self._tasks))

    def timed(self, timer: asyncio.TimerHandle) -> None:
        """The call's code has set `timer`."""
        self._timers.append(timer)
        if len(self._timers) >= self._prune_timers_at:
            self._timers = self._running_timers()
            self._prune_timers_at = max(_PRUNE_FIRST, 2 * len(self._timers))

    def ended(self) -> None:
        """The call has ended. A timer knows its context, and so the call, and so itself."""
        self._tasks.clear()
        self._timers.clear()

    def awaited(self) -> "tuple[Future[Any], ...] | None":
        """Return the futures of ours that all of the call waits for; None while it may work."""
        tasks = self._alive()
        if not tasks or self._running_timers():
            return None
        found: list[Future[Any]] = []
        for task in tasks:
            blocked_on = getattr(task, "_fut_waiter", None)
            if blocked_on is None or blocked_on.done():
                return None
            future = self.waits.get(blocked_on)
            if future is not None:
                found.append(future)
            elif not _waits_for_tasks(task, blocked_on, tasks):
                return None
        return tuple(found) or None

    def _alive(self) -> "set[asyncio.Task[Any]]":
        tasks = (reference() for reference in self._tasks)
        return {task for task in tasks if task is not None and not task.done()}

    def _running_timers(self) -> list[asyncio.TimerHandle]:
        if not self._timers:
            return self._timers
        now_s = asyncio.get_running_loop().time()
        return [it for it in self._timers if not it.cancelled() and it.when() > now_s]


def _waits_for_tasks(
    task: "asyncio.Task[Any]", blocked_on: Any, tasks: "set[asyncio.Task[Any]]"
) -> bool:
    """Say whether `task` goes on only when others of `tasks` have."""
    if isinstance(blocked_on, asyncio.Task):
        return blocked_on in tasks
    parts: Any = getattr(blocked_on, "_children", None)  # Of `asyncio.gather`.
    if parts is None:
        frame = _innermost_frame(task)
        if frame is None or frame.f_code not in _WAITING:
            return False
        parts = frame.f_locals.get("fs", ())  # Of `asyncio.wait`; a TaskGroup's are of this call.
    return all(part.done() or part in tasks for part in parts)


def _innermost_frame(task: "asyncio.Task[Any]") -> Any:
    coroutine: Any = task.get_coro()
    while inspect.iscoroutine(inner := getattr(coroutine, "cr_await", None)):
        coroutine = inner
    return getattr(coroutine, "cr_frame", None)


def _waiting_code() -> frozenset[CodeType]:
    """Return the code that waits for nothing but tasks: `asyncio.wait` and TaskGroups."""
    found = (
        getattr(asyncio.tasks, "_wait", None),
        getattr(asyncio.TaskGroup, "__aexit__", None),
        getattr(asyncio.TaskGroup, "_aexit", None),
    )
    return frozenset(it.__code__ for it in found if it is not None)


_WAITING: Final = _waiting_code()
