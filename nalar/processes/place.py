"""A place in a pool of processes: one child at a time, started again when it dies."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import FileIO
from typing import Final

from nalar.loops import set_within
from nalar.processes.child import EXIT_KILLED, EXIT_RECYCLED, PARENT, READY

log = logging.getLogger("nalar.processes")

#: Exit code of a command that cannot do what was asked: starting it again would not help.
EXIT_USAGE: Final = 2
#: Stands for the exit code of what could not be started.
EXIT_UNBORN: Final = -1
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
    #: What one is called in the log.
    what: str = "worker"
    #: Start also what says that it cannot work: whoever changes its code meanwhile mends it.
    insistent: bool = False


@dataclass(eq=False, slots=True)
class _Child:
    """One process of a pool."""

    process: asyncio.subprocess.Process
    #: When it was started, by the loop's clock.
    began: float
    #: The name under which it serves; empty until it does.
    name: str = ""

    @property
    def pid(self) -> int:
        return self.process.pid

    def leave(self) -> None:
        """Ask it to drain and end."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()

    def kill(self) -> None:
        """End it and what it started."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class _Ended:
    """How one child ended."""

    pid: int
    #: The name under which it served; empty when it never did.
    name: str
    code: int
    how: str

    def __str__(self) -> str:
        return f"pid={self.pid} {self.how}"


class Place:
    """Keeps one child alive, by one command, until it is given up."""

    def __init__(self, command: Command, look: Callable[[], None]) -> None:
        self._command = command
        #: Called when a child begins to serve, or has ended.
        self._look = look
        self._given_up = asyncio.Event()
        self._child: _Child | None = None
        #: Ends in a row that nobody asked for, and the last of them.
        self.failures = 0
        self.ending = ""

    @property
    def given_up(self) -> bool:
        """Whether its child drains, and is to have no successor."""
        return self._given_up.is_set()

    @property
    def serving(self) -> str:
        """The name under which its child serves; empty while none does."""
        return self._child.name if self._child is not None else ""

    @property
    def steady(self) -> bool:
        """Whether its child has lived long enough for earlier failures to be forgotten."""
        now = asyncio.get_running_loop().time()
        return self._child is not None and now - self._child.began > STEADY_S

    def give_up(self) -> None:
        """Let the child drain; one that takes too long is killed."""
        self._given_up.set()

    def kill(self) -> None:
        """End the child at once."""
        if self._child is not None:
            self._child.kill()

    async def keep(self) -> bool:
        """Keep a child here until this is given up; False when none can work here at all."""
        loop = asyncio.get_running_loop()
        pause_s = RESTART_S
        while not self.given_up:
            began = loop.time()
            ended = await self._live()
            if self.given_up:
                log.debug("worker process stopped %s", ended)
                break
            if ended.code == EXIT_USAGE and not self._command.insistent:
                return False
            if loop.time() - began > STEADY_S:
                pause_s, self.failures = RESTART_S, 0
            if ended.code in (EXIT_RECYCLED, EXIT_KILLED) and ended.name:
                how = "recycled" if ended.code == EXIT_RECYCLED else "killed as directed"
                log.info("%s %s %s", self._command.what, how, ended)
                continue
            if ended.code == 0 and ended.name:
                # Drained by hand. Its successor has another name, so it is none of its business.
                log.info("%s left %s another_in=%.1fs", self._command.what, ended, pause_s)
            else:
                self.ending, self.failures = ended.how, self.failures + 1
                log.warning("%s died %s again_in=%.1fs", self._command.what, ended, pause_s)
            self._look()
            await set_within(self._given_up, pause_s)
            pause_s = min(RESTART_MAX_S, pause_s * 2)
        return True

    async def _live(self) -> _Ended:
        """Run one child to its end."""
        loop = asyncio.get_running_loop()
        try:
            child, pipe = await self._start()
        except OSError as error:  # No memory, no more processes, no interpreter.
            return _Ended(0, "", EXIT_UNBORN, str(error))
        self._child = child
        hearing = loop.create_task(self._hear(child, pipe))
        relaying = loop.create_task(_relay(child.process, self._command.say))
        try:
            code = await self._end(child)
        finally:
            child.kill()
            await asyncio.wait({relaying}, timeout=LAST_WORDS_S)
            relaying.cancel()
            self._child = None
            hearing.cancel()
            pipe.close()
        return _Ended(child.pid, child.name, code, _ending(code))

    async def _end(self, child: _Child) -> int:
        """Wait for the end of a child, which it is told to come to when this place is given up."""
        loop = asyncio.get_running_loop()
        ending = loop.create_task(child.process.wait())
        told = loop.create_task(self._given_up.wait())
        try:
            await asyncio.wait({ending, told}, return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                child.leave()
                await asyncio.wait({ending}, timeout=self._command.grace_s + LEAVE_S)
            if not ending.done():
                log.info("worker process killed pid=%d: it did not drain in time", child.pid)
                child.kill()
            return await ending
        finally:
            told.cancel()
            ending.cancel()

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
        began = asyncio.get_running_loop().time()
        return _Child(process, began), FileIO(reading, "rb")

    async def _hear(self, child: _Child, pipe: FileIO) -> None:
        """Wait until the child says that it serves, or ends."""
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            child.name = (await reader.read()).decode()
        finally:
            transport.close()
        if child.name:
            log.debug("worker process ready pid=%d name=%s", child.pid, child.name)
            self._look()


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
