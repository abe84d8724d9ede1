"""A pool of worker processes: kept alive while we live, drained when we go.

Knows nothing of agents: it runs a command so many times. What keeps one of them alive is in
`nalar.processes.place`; the other end, for the command that was run, in `nalar.processes.child`.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from nalar.errors import UsageError
from nalar.processes.child import Stopped, StopSignals
from nalar.processes.place import LEAVE_S, Command, Place

log = logging.getLogger("nalar.processes")

T = TypeVar("T")


class WorkerRefused(UsageError):
    """A worker process said that it cannot do what was asked; its own message tells why."""

    code = "worker_refused"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a process that does not stay alive."""

    #: How it ended last: `code=1`, `signal=SIGKILL`.
    ending: str
    #: How often in a row.
    failures: int


class Pool:
    """`count` processes of one command: started again when they die, drained when told to stop.

    Use as an async context manager; leaving it stops them. Children write to our stderr only.
    """

    def __init__(
        self,
        command: Command,
        count: int,
        stop: StopSignals,
        *,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._command = command
        self._count = count
        self._stop = stop
        #: Called when a child begins to serve, or ends.
        self._changed = changed
        #: Places that are kept filled, oldest first; one that was given up is only in `_tasks`.
        self._places: list[Place] = []
        self._tasks: dict[asyncio.Task[bool], Place] = {}
        loop = asyncio.get_running_loop()
        #: Ends with WorkerRefused when a child cannot work at all.
        self._refused: asyncio.Future[None] = loop.create_future()
        self._ready = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._fill()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def count(self) -> int:
        """How many processes are kept alive."""
        return self._count

    def serving(self) -> list[str]:
        """Return the names under which children serve; those that drain are left out."""
        return [place.serving for place in self._places if place.serving]

    def leaving(self) -> int:
        """Return how many children drain."""
        return sum(place.given_up for place in self._tasks.values())

    def trouble(self) -> Trouble | None:
        """Return what is wrong with the child that has failed most often in a row, if any has."""
        failing = [place for place in self._places if place.failures and not place.steady]
        if not failing:
            return None
        worst = max(failing, key=lambda place: place.failures)
        return Trouble(worst.ending, worst.failures)

    def resize(self, count: int) -> None:
        """Keep `count` processes alive from now on; those that are too many drain.

        First go those that do not serve, then the youngest.
        """
        self._count = count
        while len(self._places) > count:
            idle = [place for place in self._places if not place.serving]
            self._give_up((idle or self._places)[-1])
        self._fill()
        self._look()

    def _fill(self) -> None:
        while len(self._places) < self._count:
            place = Place(self._command, self._look)
            self._places.append(place)
            task = asyncio.get_running_loop().create_task(place.keep())
            self._tasks[task] = place
            task.add_done_callback(self._emptied)

    def _give_up(self, place: Place) -> None:
        self._places.remove(place)
        place.give_up()

    def _emptied(self, task: "asyncio.Task[bool]") -> None:
        place = self._tasks.pop(task)
        if not task.cancelled() and not task.result() and not place.given_up:
            self._refuse()
        self._look()

    def _look(self) -> None:
        """See whether all serve."""
        ready = len(self.serving()) >= self._count
        (self._ready.set if ready else self._ready.clear)()
        self._changed()

    def _refuse(self) -> None:
        if not self._refused.done():
            self._refused.set_exception(
                WorkerRefused("a worker process could not start; what it said is above")
            )

    def check(self) -> None:
        """Raise WorkerRefused when a child has said that it cannot work at all."""
        if self._refused.done():
            self._refused.result()

    async def ready(self) -> None:
        """Wait until all serve; raises WorkerRefused when one cannot, Stopped when asked to."""
        await self.during(self._ready.wait())

    async def until_stopped(self) -> None:
        """Wait until the user asks to stop; raises WorkerRefused."""
        with contextlib.suppress(Stopped):
            await self.during(asyncio.Event().wait())

    async def during(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` while children serve; raises WorkerRefused, or Stopped when asked to stop."""
        loop = asyncio.get_running_loop()
        doing = loop.create_task(work)
        asked = loop.create_task(self._stop.asked.wait())
        ends = (doing, asked, self._refused)
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                return doing.result()
            self.check()
            raise Stopped
        finally:
            asked.cancel()
            doing.cancel()
            await asyncio.wait((doing, asked))

    def renew(self) -> None:
        """Start fresh processes in the place of those that run, which drain meanwhile."""
        self._refused = asyncio.get_running_loop().create_future()
        for place in list(self._places):
            self._give_up(place)
        self._fill()
        self._look()

    async def stop(self, *, within_s: float | None = None) -> None:
        """Let the children drain, for as long as the command says unless `within_s` does.

        What is left then, or when the user insists, is killed.
        """
        self._count = 0
        for place in list(self._places):
            self._give_up(place)
        limit_s = self._command.grace_s + LEAVE_S if within_s is None else within_s
        insisted = asyncio.get_running_loop().create_task(self._stop.insisted.wait())
        try:
            async with asyncio.timeout(limit_s):
                while self._tasks and not insisted.done():
                    await asyncio.wait(
                        {insisted, *self._tasks}, return_when=asyncio.FIRST_COMPLETED
                    )
        except TimeoutError:
            log.info("worker processes killed count=%d", len(self._tasks))
        finally:
            insisted.cancel()
            for place in self._tasks.values():
                place.kill()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._refused.done():
            self._refused.exception()  # Seen: nobody has to be warned of it.
