"""Signs of life: a worker's entry in the registry, and the leases of the calls it holds.

Given from a thread with an event loop and a connection of its own: code that blocks the worker's
loop costs it neither its slots nor its calls. The same thread watches that loop, says what blocks
it, and ends the process when it never comes back. (In memory, where nothing can be lost, the
worker's own loop does the one thing that is left: to renew.)

What no thread of this process can help, a process that is stopped or code in C that keeps the
interpreter to itself, is a frozen worker: its entry expires and others take over.
"""

import asyncio
import concurrent.futures
import contextlib
import logging
import os
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

import orjson

from nalar.backend import Backend, Lifeline
from nalar.bus.port import Delivery
from nalar.controllers.loop_watch import LoopWatch
from nalar.controllers.roster import WORKERS
from nalar.errors import Conflict, NalarError
from nalar.ids import WorkerId
from nalar.loops import LoopThread
from nalar.settings import Settings
from nalar.statestore.port import KeyValue

log = logging.getLogger("nalar.worker")

#: Signs of life in one lease: two may be lost.
BEATS: Final = 3
#: How often the worker's loop is asked whether it goes on, in seconds, at the most.
_LOOK_S: Final = 0.5
#: Exit code of a process whose loop never came back.
EXIT_BLOCKED: Final = 70
#: How long the goodbye may take, in seconds; without it the entry goes by itself, a lease later.
_GOODBYE_S: Final = 2.0

Describe = Callable[[], dict[str, object]]
#: What a worker holds, and whether its code has started.
Holds = Callable[[], Iterable[tuple[Delivery, bool]]]


class Entry:
    """An entry of a process in the registry, with a time to live."""

    def __init__(
        self,
        control: KeyValue,
        key: str,
        ttl_s: float,
        is_ours: Callable[[bytes], bool] = lambda _: True,
    ) -> None:
        self._control = control
        self._key = key
        #: Says of an entry that stands whether it is our own, whose answer was lost.
        self._is_ours = is_ours
        self._ttl_s = ttl_s
        self._revision = 0

    async def renew(self, value: bytes) -> bool:
        """Write the entry; return False when it had lapsed: others may have what was ours.

        Raises Conflict when another process has our name.
        """
        try:
            self._revision = await self._put(value, self._revision)
        except Conflict:
            stands = await self._control.get(self._key)
            if stands is not None and not self._is_ours(stands.value or b""):
                raise
            self._revision = await self._put(value, stands.revision if stands else 0)
            return stands is not None
        return True

    async def _put(self, value: bytes, expected: int) -> int:
        return await self._control.put(self._key, value, expected=expected, ttl_s=self._ttl_s)

    async def remove(self) -> None:
        """Leave the registry; without the server it goes by itself."""
        with contextlib.suppress(NalarError, TimeoutError):
            async with asyncio.timeout(_GOODBYE_S):
                await self._control.delete(self._key)


class Pulse:
    """One worker's signs of life."""

    def __init__(
        self,
        backend: Backend,
        settings: Settings,
        worker: WorkerId,
        describe: Describe,
        holds: Holds,
        lapsed: Callable[[], None],
    ) -> None:
        self._backend = backend
        self._settings = settings
        self._worker = worker
        self._describe = describe
        self._holds = holds
        #: Told, on the worker's loop, that its entry had lapsed.
        self._lapsed = lapsed
        self._loop = asyncio.get_running_loop()
        self._begun = asyncio.Event()
        self._entry: Entry | None = None
        self._lifeline: Lifeline | None = None
        self._thread: LoopThread | None = None
        self._giving: concurrent.futures.Future[None] | None = None
        self._watch: LoopWatch | None = None

    async def begin(self) -> None:
        """Give a first sign, or one more at once.

        Raises Unavailable when there is no server to give it to.
        """
        value = self._said(self._describe())
        if self._entry is None and self._backend.lifeline is not None:
            self._thread = LoopThread(asyncio.new_event_loop)
            self._watch = LoopWatch(self._describe)
        await self._there(self._renew(value))
        self._begun.set()

    async def run(self) -> None:
        """Give signs of life after the first, until cancelled."""
        await self._begun.wait()
        if self._thread is None:
            await self._keep_on()
        else:
            giving = self._giving = asyncio.run_coroutine_threadsafe(
                self._keep_on(), self._thread.loop
            )
            await asyncio.wrap_future(giving)

    async def end(self) -> None:
        """Say goodbye: others take over at once what was ours."""
        if self._entry is not None:
            await self._there(self._entry.remove())
        await self.stop()

    async def stop(self) -> None:
        """Give no more signs; what was ours is left to expire."""
        if self._giving is not None:
            self._giving.cancel()
        thread, self._thread = self._thread, None
        if self._lifeline is not None and thread is not None:
            closing = asyncio.run_coroutine_threadsafe(self._lifeline.close(), thread.loop)
            with contextlib.suppress(NalarError, TimeoutError):
                async with asyncio.timeout(_GOODBYE_S):
                    await asyncio.wrap_future(closing)
        if thread is not None:
            await self._loop.run_in_executor(None, thread.stop)

    async def _there(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` where signs of life are given; cancelling this cancels it."""
        if self._thread is None:
            await work
        else:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._thread.loop))

    # On the thread, if there is one.

    async def _renew(self, value: bytes) -> None:
        if self._entry is None:
            control = self._backend.control
            if self._backend.lifeline is not None:
                self._lifeline = await self._backend.lifeline()
                control = self._lifeline.control
            self._entry = Entry(control, f"{WORKERS}.{self._worker}", self._settings.lease_s)
        if not await self._entry.renew(value):
            self._loop.call_soon_threadsafe(self._lapsed)

    async def _keep_on(self) -> None:
        pause_s = self._settings.lease_s / BEATS
        look_s = min(_LOOK_S, pause_s) if self._watch is not None else pause_s
        clock = asyncio.get_running_loop().time
        looked_at = beaten_at = clock()
        while True:
            await asyncio.sleep(look_s)
            now_s = clock()
            if self._watch is not None:
                self._look(self._watch, now_s, now_s - looked_at - look_s)
            if self._watch is None or now_s - beaten_at >= pause_s:
                beaten_at = now_s
                await self._beat(now_s, pause_s)
            # Waiting for the server is no standstill of this process.
            looked_at = min(clock(), now_s + pause_s)

    def _look(self, watch: LoopWatch, now_s: float, late_s: float) -> None:
        if late_s > self._settings.lease_s / BEATS:
            watch.forgive(now_s)
            log.warning("%s: this process did not run for %.1f s", self._worker, late_s)
        watch.warn(self._worker, now_s)
        if watch.blocked_s(now_s) > self._settings.block_max_s:
            log.critical(
                "%s: the event loop has been blocked for %.0f s by %s: this process ends, so that "
                "others take over its calls (setting block_max_s)",
                self._worker, watch.blocked_s(now_s), watch.where(),
            )  # fmt: skip
            os._exit(EXIT_BLOCKED)
        watch.ask(now_s)

    async def _beat(self, now_s: float, limit_s: float) -> None:
        # What a blocked loop has not started is better off elsewhere.
        blocked = self._watch is not None and self._watch.blocked(now_s)
        for delivery, started in self._held():
            if self._lifeline is None:
                delivery.extend()
            elif started or not blocked:
                self._lifeline.extend(delivery.lease)
        told = self._describe() if self._watch is None else self._watch.described(now_s)
        # Without an answer: at the next turn, which has the leases of calls to extend as well.
        with contextlib.suppress(NalarError, TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._renew(self._said(told))

    def _said(self, told: dict[str, object]) -> bytes:
        """Return the entry, with how long it is good for: a server may forget that.

        And with how often the worker's connection was lost, and for how long the last time.
        """
        connection = self._backend.describe()
        told = told | {name: connection.get(name, 0) for name in ("reconnects", "away_s")}
        return orjson.dumps({**told, "lease_s": self._settings.lease_s})

    def _held(self) -> list[tuple[Delivery, bool]]:
        while True:
            with contextlib.suppress(RuntimeError):  # The worker took one in meanwhile.
                return list(self._holds())
