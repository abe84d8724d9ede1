"""One process's runtime on one event loop: its open calls, and the worker it may have."""

import asyncio
import contextlib
import os
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Self

from nalar.agents.spec import AgentSpec
from nalar.backend import Backend
from nalar.calls.calls import Calls
from nalar.calls.results import Results
from nalar.clock import Clock
from nalar.controllers.worker import Worker
from nalar.errors import NalarError, UsageError
from nalar.ids import WorkerId, is_wire_token, new_name
from nalar.settings import Settings


class Host:
    """Owns a backend and the tasks that live on it; use as an async context manager."""

    def __init__(self, backend: Backend, settings: Settings, clock: Clock) -> None:
        self.backend = backend
        self.settings = settings
        self.clock = clock
        chance = random.Random()  # noqa: S311 -- jitter, not secrets
        self.results = Results(backend.ledger, reread_s=settings.reread_s, chance=chance)
        self.calls = Calls(backend, self.results, settings, clock)
        self.worker: Worker | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self.backend.on_reconnect(self.results.reconnected)
        loop = asyncio.get_running_loop()
        self._tasks.append(loop.create_task(self.results.run()))
        self._tasks.append(loop.create_task(self._watch_admission()))
        return self

    async def _watch_admission(self) -> None:
        """Hear which requests are let in, so that others need not be sent."""
        with contextlib.suppress(NalarError):  # Without the server: when it is there again.
            await self.calls.admission_watch.begin()
        await self.calls.admission_watch.run()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def serve(self, agents: Sequence[AgentSpec], name: str = "") -> Worker:
        """Serve `agents` from this process; may be called again with others.

        Raises UsageError for what can be no name of a worker.
        """
        if name and not is_wire_token(name):
            raise UsageError(f"a worker's name has letters, digits, - and _; not {name[:80]!r}")
        if self.worker is None:
            worker = self.worker = Worker(
                WorkerId(name or new_name("w", os.urandom(5))),
                self.backend,
                self.calls,
                self.results,
                self.settings,
                self.clock,
            )
            self._tasks.append(asyncio.get_running_loop().create_task(worker.run()))
        await self.worker.serve(agents)
        return self.worker

    async def until(self, stop: asyncio.Event) -> None:
        """Wait for `stop`; raises what ended one of this host's own tasks, should one end."""
        waiting = asyncio.get_running_loop().create_task(stop.wait())
        try:
            await asyncio.wait([waiting, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in self._tasks:
                if task.done():
                    task.result()
        finally:
            waiting.cancel()

    async def drain(self, grace_s: float | None = None) -> int:
        """Let the worker finish what runs; return how many calls had to be abandoned."""
        if self.worker is None:
            return 0
        return await self.worker.drain(self.settings.grace_s if grace_s is None else grace_s)

    async def close(self) -> None:
        """Close the connection; pending futures stay pending."""
        async with AsyncExitStack() as stack:
            # Last in, first out: no call may start on a backend that has closed.
            stack.push_async_callback(self.backend.close)
            stack.push_async_callback(self.calls.close)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._tasks.clear()
