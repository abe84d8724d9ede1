"""Processes of one machine: a child that ends with its parent, a server of our own, signals."""

import asyncio
import contextlib
import ctypes
import faulthandler
import os
import signal
import sys
import tempfile
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from typing import Final, Self

from nalar.bus.embedded import EmbeddedServer, ServerOptions

#: How often a child looks for its parent where the kernel does not tell, in seconds.
_LOOK_S: Final = 0.5
_PR_SET_PDEATHSIG: Final = 1
#: Exit code of a worker that drained since code in it would not end: start another at once.
EXIT_RECYCLED: Final = 75
#: Exit code of a worker that a directive has killed: start another at once.
EXIT_KILLED: Final = 76
#: What asks to stop.
_STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PARENT: Final = "NALAR_PARENT"
READY: Final = "NALAR_READY_FD"


class Stopped(Exception):
    """The user asked to stop."""


# In the child.


def stay_with_parent() -> None:
    """End with the process that started this one, however that one ends; for a pool's children."""
    parent = int(os.environ.pop(PARENT, "0"))
    if parent == 0:
        return
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # It ended before the kernel knew of our wish.
        os.kill(os.getpid(), signal.SIGKILL)


def _watch_parent(parent: int) -> None:
    pause = threading.Event()
    while os.getppid() == parent:
        pause.wait(_LOOK_S)
    os.kill(os.getpid(), signal.SIGKILL)


async def end_when_frozen(limit_s: float) -> None:
    """End this process once its event loop has stood still for `limit_s` seconds; until cancelled.

    With a traceback of all threads on standard error. It ends, too, while code in C keeps the
    interpreter to itself, when nothing else in the process can do anything.
    """
    try:
        while True:
            faulthandler.dump_traceback_later(limit_s, exit=True)
            await asyncio.sleep(limit_s / 10)
    finally:
        faulthandler.cancel_dump_traceback_later()


def tell_ready(name: str) -> None:
    """Tell the pool, if one started this process, that it serves, and under which name."""
    pipe = os.environ.pop(READY, "")
    if pipe:
        with contextlib.suppress(OSError):
            os.write(int(pipe), name.encode())
            os.close(int(pipe))


# In the parent.


class StopSignals:
    """Ctrl-C and its kin, on the running loop: the first asks to stop, the second insists."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.insisted = asyncio.Event()
        #: The first signal; 0 while none came.
        self.number = 0
        self._instead: dict[int, Callable[[], None]] = {}
        self._has_terminal = _has_terminal()
        self._loop = asyncio.get_running_loop()

    def on(self, number: int, notify: Callable[[], None]) -> None:
        """Have `notify` called at a signal instead of stopping, as daemons do to read files again.

        A terminal that was closed stops us all the same.
        """
        self._instead[number] = notify
        if number not in _STOPPING:
            self._loop.add_signal_handler(number, notify)

    @property
    def exit_code(self) -> int:
        """What a program that was stopped so returns by convention."""
        return 128 + self.number

    def _came(self, number: int) -> None:
        closed = self._has_terminal and not _has_terminal()
        if number in self._instead and not closed:
            self._instead[number]()
            return
        if self.asked.is_set():
            self.insisted.set()
        self.number = self.number or number
        self.asked.set()

    @contextlib.contextmanager
    def caught(self) -> Generator[Self]:
        """Take the signals in this block; after it they do what they did."""
        for number in _STOPPING:
            self._loop.add_signal_handler(number, self._came, number)
        try:
            yield self
        finally:
            for number in {*_STOPPING, *self._instead}:
                self._loop.remove_signal_handler(number)


def _has_terminal() -> bool:
    """Say whether there is a terminal that controls this process."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


@contextlib.asynccontextmanager
async def embedded_server(
    store: Path | None = None, *, port: int = 0, sync_always: bool = True
) -> AsyncGenerator[EmbeddedServer]:
    """Run a nats-server of our own in this block; without a `store`, what it keeps goes with it."""
    with contextlib.ExitStack() as stack:
        temporary = store is None
        if store is None:
            made = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="nalar-", ignore_cleanup_errors=True)
            )
            store = Path(made)
        options = ServerOptions(store=store.resolve(), port=port, sync_always=sync_always)
        async with EmbeddedServer(options) as server:
            try:
                yield server
            finally:
                if temporary:  # There is nothing to bring in order: a third of a second saved.
                    await server.kill()
