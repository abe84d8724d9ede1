"""Event loops: waiting and working in turns on one, and one in a thread of its own."""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from nalar.errors import NalarError, UsageError

T = TypeVar("T")


def new_loop() -> asyncio.AbstractEventLoop:
    """Return a fresh event loop, uvloop's where it is installed."""
    try:
        import uvloop  # noqa: PLC0415 -- not there on Windows
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def set_within(event: asyncio.Event, limit_s: float) -> bool:
    """Wait until `event` is set, for `limit_s` at the most; say whether it is."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            await event.wait()
    return event.is_set()


async def at_turns(
    event: asyncio.Event, period_s: float, work: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Do `work` whenever `event` is set, and now and then all the same, until cancelled.

    What fails for want of the server is done at the next turn.
    """
    while True:
        await set_within(event, period_s)
        event.clear()
        with contextlib.suppress(NalarError):
            await work()


class LoopThread:
    """Runs an event loop until `stop`; the thread ends with the program."""

    def __init__(self, make_loop: Callable[[], asyncio.AbstractEventLoop] = new_loop) -> None:
        self.loop = make_loop()
        self._thread = threading.Thread(target=self._run, name="nalar-loop", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` on the loop and return its result; interrupting cancels it."""
        if threading.get_ident() == self._thread.ident:
            work.close()
            raise UsageError("this would wait for its own event loop; use the async client here")
        if self.loop.is_closed():
            work.close()
            raise UsageError("this connection was closed: its `with` block has ended")
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except (KeyboardInterrupt, concurrent.futures.CancelledError):
            future.cancel()
            raise

    def stop(self) -> None:
        """End the loop and its thread; what is still scheduled is dropped."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()
