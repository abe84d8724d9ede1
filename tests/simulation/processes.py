"""Simulated operating-system processes on one event loop in virtual time.

Everything that runs in a process's context belongs to it: its tasks, timers and callbacks. So it
can be frozen as SIGSTOP does (nothing of it runs until it is thawed) and killed as SIGKILL does
(nothing of it ever runs again: no `finally`, no goodbye).
"""

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

from nalar.sim.virtual_time import VirtualTimeLoop

#: More loop turns than any simulation takes: beyond it something runs in circles.
_TURNS_MAX = 3_000_000
#: Turns without time passing: as above, and found much sooner.
_TURNS_IN_PLACE_MAX = 50_000
#: Ended tasks that a process may remember.
_TASKS_KEPT = 1_000

_process: contextvars.ContextVar["Process | None"] = contextvars.ContextVar("process", default=None)


def current_process() -> "Process | None":
    """Return the process that the running code belongs to; None for the world around them."""
    return _process.get()


class Process:
    """One simulated process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.frozen = False
        self.dead = False
        self.context = contextvars.Context()
        self.context.run(_process.set, self)
        self._backlog: list[_Step] = []
        #: Held, or the garbage collector would run the `finally` blocks of a killed process.
        self._tasks: list[asyncio.Task[Any]] = []

    def freeze(self) -> None:
        """Stop in the middle of whatever it does."""
        self.frozen = True

    def thaw(self) -> None:
        """Go on as if nothing had happened; what came meanwhile comes now, in order."""
        self.frozen = False
        if not self.dead:
            self._resume()

    def _resume(self) -> None:
        backlog, self._backlog = self._backlog, []
        loop = asyncio.get_running_loop()
        for step in backlog:
            loop.call_soon(step.resume, context=step.context)

    def kill(self) -> None:
        """End without a word."""
        self.dead = True

    def own(self, task: asyncio.Task[Any]) -> None:
        """Remember a task of this process."""
        if len(self._tasks) > _TASKS_KEPT:
            self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(task)

    def postpone(self, step: "_Step") -> bool:
        """Take a step that may not run now; False when it may."""
        stopped = self.frozen or self.dead
        if stopped:
            self._backlog.append(step)
        return stopped

    def unfinished(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that have not ended."""
        return [task for task in self._tasks if not task.done()]

    def exhume(self) -> None:
        """Let what is left run, so that its tasks can be cancelled once the simulation is over.

        A task whose next step never came could not be cancelled either.
        """
        self.frozen = self.dead = False
        self._resume()


class _Step:
    """One callback of a process, held up while the process is frozen."""

    __slots__ = ("_args", "_callback", "_process", "context", "handle")

    def __init__(
        self,
        process: Process,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context,
    ) -> None:
        self._process = process
        self._callback = callback
        self._args = args
        self.context = context
        self.handle: asyncio.Handle | None = None

    def __call__(self) -> None:
        if not self._process.postpone(self):
            self._callback(*self._args)

    def resume(self) -> None:
        """Run after a thaw, unless it was cancelled by a step before it."""
        if self.handle is None or not self.handle.cancelled():
            self()


class SimulationLoop(VirtualTimeLoop):
    """Virtual time, with every callback run on behalf of the process it belongs to."""

    def __init__(self) -> None:
        super().__init__()
        self._turns = 0
        self._in_place = 0
        self._turned_at_s = -1.0

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        process, context = _owner(context)
        if process is None:
            return super().call_soon(callback, *args, context=context)
        step = _Step(process, callback, args, context)
        step.handle = super().call_soon(step, context=context)
        return step.handle

    def call_at(
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        process, context = _owner(context)
        if process is None:
            return super().call_at(when, callback, *args, context=context)
        step = _Step(process, callback, args, context)
        handle = super().call_at(when, step, context=context)
        step.handle = handle
        return handle

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = super().create_task(coro, **options)
        process, _ = _owner(options.get("context"))
        if process is not None:
            process.own(task)
        return task

    def _run_once(self) -> None:
        self._turns += 1
        self._in_place = self._in_place + 1 if self.time() == self._turned_at_s else 0
        self._turned_at_s = self.time()
        if self._turns > _TURNS_MAX or self._in_place > _TURNS_IN_PLACE_MAX:
            raise AssertionError(f"the simulation runs in circles at {self.time():.3f} s")
        super()._run_once()  # type: ignore[misc]  -- asyncio's own, and stable since 3.4


def _owner(context: contextvars.Context | None) -> tuple[Process | None, contextvars.Context]:
    if context is None:
        context = contextvars.copy_context()
    return context.get(_process), context
