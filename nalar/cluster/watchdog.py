"""Running code that may not come back: in a thread of its own, for so long and no longer."""

import asyncio
import ctypes
import queue
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

T = TypeVar("T")

#: How long code that was interrupted may take to end before its thread is given up, in seconds.
_END_S: Final = 0.2


class Overdue(Exception):
    """The code has not come back within its time."""


class Interrupted(BaseException):
    """Raised in code whose time is over; not an Exception, so that it is not caught by accident."""


_Job = tuple[Callable[[], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


class WatchedThread:
    """Runs one piece of code after the other; what loops is interrupted, or left alone for good.

    Python code is interrupted wherever it is. Code in C that keeps on cannot be: its thread is
    abandoned, and ends with the process.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        #: Threads that would not end.
        self.abandoned = 0

    async def run(self, code: Callable[[], T], limit_s: Callable[[], float]) -> T:
        """Return what `code` does; raises what it raises, or Overdue.

        `limit_s` says how much time it has left, and is asked again when that is over.
        """
        loop = asyncio.get_running_loop()
        thread, jobs = self._started()
        done: asyncio.Future[T] = loop.create_future()
        jobs.put((code, done, loop))
        while (left_s := limit_s()) > 0:
            finished, _ = await asyncio.wait([done], timeout=left_s)
            if finished:
                return done.result()
        self._interrupt(thread)
        finished, _ = await asyncio.wait([done], timeout=_END_S)
        if not finished:
            self.abandoned += 1
            self._thread = None
        elif not done.cancelled() and done.exception() is None:
            return done.result()  # It came back at the last moment.
        raise Overdue

    def close(self) -> None:
        """Let the thread end once it has done what it does."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread = None

    def _started(self) -> "tuple[threading.Thread, queue.SimpleQueue[_Job | None]]":
        if self._thread is None:
            self._jobs = queue.SimpleQueue()
            self._thread = threading.Thread(
                target=_work, args=(self._jobs,), name=self._name, daemon=True
            )
            self._thread.start()
        return self._thread, self._jobs

    def _interrupt(self, thread: threading.Thread) -> None:
        assert thread.ident is not None
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(Interrupted)
        )


def _work(jobs: "queue.SimpleQueue[_Job | None]") -> None:
    while True:
        try:
            job = jobs.get()
            if job is None:
                return
            code, done, loop = job
            try:
                answer = code()
            except BaseException as error:  # noqa: BLE001 -- it belongs to who waits for it
                _tell(loop, done, None, error)
            else:
                _tell(loop, done, answer, None)
        except Interrupted:
            continue  # It came a moment too late for the code, and is for nobody.


def _tell(
    loop: asyncio.AbstractEventLoop,
    done: "asyncio.Future[Any]",
    answer: object,
    error: BaseException | None,
) -> None:
    def tell() -> None:
        if done.done():
            return
        if error is None:
            done.set_result(answer)
        elif isinstance(error, Exception):
            done.set_exception(error)
        else:
            done.cancel()

    try:
        loop.call_soon_threadsafe(tell)
    except RuntimeError:
        return  # The loop is closed: nobody waits any more.
