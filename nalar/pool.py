"""A pool of worker processes: kept alive while we live, drained when we go.

Knows nothing of agents: it runs a command so many times. The other end of it, for the command
that was run, stands in `nalar.processes`.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from io import FileIO
from typing import Any, Final, Self, TypeVar

from nalar.errors import UsageError
from nalar.processes import EXIT_RECYCLED, PARENT, READY, Stopped, StopSignals

log = logging.getLogger("nalar.processes")

T = TypeVar("T")

#: Exit code of a command that cannot do what was asked: starting it again would not help.
EXIT_USAGE: Final = 2
#: First and longest pause before a child that died is started again, in seconds.
RESTART_S: Final = 0.5
RESTART_MAX_S: Final = 30.0
#: A child that lived this long begins with the first pause again.
STEADY_S: Final = 20.0
#: Time to leave after the grace that calls get: to hand back leases and close, in seconds.
LEAVE_S: Final = 5.0
#: How long what a process that has ended wrote may still be read, in seconds.
LAST_WORDS_S: Final = 1.0
READ_BYTES: Final = 65_536


class WorkerRefused(UsageError):
    """A worker process said that it cannot do what was asked; its own message tells why."""

    code = "worker_refused"


@dataclass(eq=False, slots=True)
class _Child:
    """One process of a pool."""

    process: asyncio.subprocess.Process
    #: It was told to go: its end is no accident.
    leaving: bool = False
    #: The name under which it serves; empty until it does.
    ready: str = ""

    @property
    def pid(self) -> int:
        return self.process.pid

    def leave(self) -> None:
        """Ask it to drain and end."""
        self.leaving = True
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()

    def kill(self) -> None:
        """End it and what it started."""
        self.leaving = True
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Command:
    """What a pool runs."""

    argv: Sequence[str]
    #: Added to our own environment.
    environ: Mapping[str, str] = field(default_factory=dict[str, str])
    #: How long one may drain after it was told to go.
    grace_s: float = 20.0
    #: Gets each line that a process writes; without it they write to our stderr themselves.
    say: Callable[[str], None] | None = None


class Pool:
    """`count` processes of one command: started again when they die, drained when told to stop.

    Use as an async context manager; leaving it stops them. Children write to our stderr only.
    """

    def __init__(self, command: Command, count: int, stop: StopSignals) -> None:
        self._command = command
        self._count = count
        self._stop = stop
        self._stopping = asyncio.Event()
        self._children: set[_Child] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        #: Ends with WorkerRefused when a child cannot work at all.
        self._refused: asyncio.Future[None] = loop.create_future()
        self._ready = asyncio.Event()
        #: Counts the sets of children: those of an older one have no successors.
        self._generation = 0

    async def __aenter__(self) -> Self:
        self._fill()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _fill(self) -> None:
        self._generation += 1
        for _ in range(self._count):
            self._own(RESTART_S)

    def _own(self, pause_s: float) -> None:
        task = asyncio.get_running_loop().create_task(self._live(self._generation, pause_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _live(self, generation: int, pause_s: float) -> None:
        """Run one child to its end, and see to its successor."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        child, pipe = await self._start()
        self._children.add(child)
        if self._stopping.is_set() or generation != self._generation:
            child.leave()
        hearing = loop.create_task(self._hear(child, pipe))
        relaying = loop.create_task(_relay(child.process, self._command.say))
        try:
            code = await child.process.wait()
        finally:
            await asyncio.wait({relaying}, timeout=LAST_WORDS_S)
            relaying.cancel()
            self._children.discard(child)
            hearing.cancel()
            pipe.close()
        if child.leaving:
            log.debug("worker process stopped pid=%d %s", child.pid, _ending(code))
        elif code == EXIT_USAGE:
            self._refuse()
        elif code == EXIT_RECYCLED:
            log.info("worker recycled pid=%d", child.pid)
            await self._replace(generation, 0.0)
        else:
            if loop.time() - began > STEADY_S:
                pause_s = RESTART_S
            ending = _ending(code)
            log.warning("worker died pid=%d %s again_in=%.1fs", child.pid, ending, pause_s)
            await self._replace(generation, pause_s)

    async def _replace(self, generation: int, pause_s: float) -> None:
        """Start another child after a pause, unless none is wanted by then."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._stopping.wait()
        if not self._stopping.is_set() and generation == self._generation:
            self._own(min(RESTART_MAX_S, pause_s * 2) or RESTART_S)

    async def _start(self) -> tuple[_Child, FileIO]:
        reading, writing = os.pipe()
        # Our stdout is for results; what agents print is not.
        to_us = asyncio.subprocess.PIPE if self._command.say else sys.stderr.fileno()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=to_us,
                stderr=asyncio.subprocess.STDOUT,
                env=os.environ
                | {"PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}
                | dict(self._command.environ)
                | {PARENT: str(os.getpid()), READY: str(writing)},
                pass_fds=(writing,),
                start_new_session=True,  # Ctrl-C is for us: we tell them when to go.
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        return _Child(process), FileIO(reading, "rb")

    async def _hear(self, child: _Child, pipe: FileIO) -> None:
        """Wait until the child says that it serves, or ends."""
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            child.ready = (await reader.read()).decode()
        finally:
            transport.close()
        if child.ready:
            log.debug("worker process ready pid=%d name=%s", child.pid, child.ready)
            if sum(bool(other.ready) for other in self._children) >= self._count:
                self._ready.set()

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
        self._ready.clear()
        for child in self._children:
            child.leave()
            child.ready = ""
        self._fill()

    async def stop(self, *, within_s: float | None = None) -> None:
        """Let the children drain, for as long as the command says unless `within_s` does.

        What is left then, or when the user insists, is killed.
        """
        self._stopping.set()
        for child in self._children:
            child.leave()
        limit_s = self._command.grace_s + LEAVE_S if within_s is None else within_s
        insisted = asyncio.get_running_loop().create_task(self._stop.insisted.wait())
        try:
            async with asyncio.timeout(limit_s):
                while self._tasks and not insisted.done():
                    await asyncio.wait(
                        {insisted, *self._tasks}, return_when=asyncio.FIRST_COMPLETED
                    )
        except TimeoutError:
            log.info("worker processes killed count=%d", len(self._children))
        finally:
            insisted.cancel()
            for child in self._children:
                child.kill()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._refused.done():
            self._refused.exception()  # Seen: nobody has to be warned of it.


async def _relay(process: asyncio.subprocess.Process, say: Callable[[str], None] | None) -> None:
    """Hand over what the process writes, line by line."""
    if process.stdout is None or say is None:
        return
    rest = b""
    while chunk := await process.stdout.read(READ_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            say(line.decode("utf-8", "replace"))
    if rest:
        say(rest.decode("utf-8", "replace"))


def _ending(code: int) -> str:
    """Return how a process ended, for people."""
    if code >= 0:
        return f"code={code}"
    with contextlib.suppress(ValueError):
        return f"signal={signal.Signals(-code).name}"
    return f"signal={-code}"
