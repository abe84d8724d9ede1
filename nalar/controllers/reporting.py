"""Telling controllers what a worker does: its metric reports, a few a second at the most."""

import asyncio
import logging
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nalar.agents.spec import AgentSpec
from nalar.backend import Backend
from nalar.clock import Clock
from nalar.controllers.held import Held
from nalar.controllers.local_state import LocalState
from nalar.controllers.meter import Meter
from nalar.errors import ValueTooLarge
from nalar.ids import AgentName, WorkerId
from nalar.reports import BEAT_S, PER_SECOND_MAX
from nalar.settings import Settings

log = logging.getLogger("nalar.worker")

#: Between two full reports, however often somebody asks for them, in seconds.
_FULL_REST_S: Final = 0.5
#: Memory and processor are looked at so often, in seconds.
_USAGE_EVERY_S: Final = 1.0
#: Bytes of a message for a session and a request that a report names; some take more.
_ENTRY_BYTES: Final = 500


class Reporting:
    """Makes and tells one worker's reports."""

    def __init__(
        self,
        worker: WorkerId,
        backend: Backend,
        settings: Settings,
        clock: Clock,
        slots: Callable[[], dict[AgentName, list[int]]],
        applied: Callable[[], int],
    ) -> None:
        self._reports = backend.reports
        self._clock = clock
        self._slots = slots
        self._applied = applied
        self.state = LocalState(settings.concurrency, metered=True)
        entries_max = backend.inline_max_bytes // _ENTRY_BYTES
        self._meter = Meter(worker, settings.concurrency, entries_max=entries_max)
        self._usage = _Usage()
        self._woken = asyncio.Event()
        #: False while it waits for something to happen.
        self.awake = True
        #: When the last full report was told, and the next one is due; and any, even of nothing.
        self._last_full_s = self._full_at_s = self._beat_at_s = 0.0
        self._told: tuple[object, int] = ({}, 0)
        backend.on_reconnect(self._asked)

    def serve(self, agent: AgentSpec) -> None:
        """The worker serves an agent from now on."""
        gather = {name: spec.options.batch for name, spec in agent.methods.items()}
        sizes = {name: batch.size for name, batch in gather.items() if batch is not None}
        self._meter.serve(agent.name, sizes)

    def wake(self) -> None:
        """Something has happened, or time has passed."""
        self.awake = True
        self._woken.set()

    def left(self, held: Held) -> None:
        """A running call waits for a future."""
        held.left_s = self._clock.now_s()

    def resumed(self, held: Held) -> None:
        """It runs again."""
        held.busy_s -= self._clock.now_s() - held.left_s

    def ended(self, held: Held) -> None:
        """A call is settled here; only what its code has run for counts."""
        if not held.ended_s:
            return
        ref = held.invocation.ref
        self._meter.ended(held, whole=ref.future == ref.root)

    def _asked(self) -> None:
        """Somebody knows too little: somebody new, or one who has lost a report."""
        self._full_at_s = min(self._full_at_s, self._last_full_s + _FULL_REST_S)
        self.wake()

    async def run(self) -> None:
        """Report what changes, until cancelled."""
        watch = self._reports.on_ask(self._asked)
        try:
            while True:
                if not self._tell() and not self._meter.has_young:
                    self.awake = False
                    self._woken.clear()
                    await self._woken.wait()
                await asyncio.sleep(1 / PER_SECOND_MAX)
        finally:
            watch.close()

    def _tell(self) -> bool:
        """Tell what has changed, or all there is when that is due; False when there is nothing."""
        now_s, meter = self._clock.now_s(), self._meter
        standing = (self._slots(), self._applied())
        full = now_s >= self._full_at_s
        due = full or now_s >= self._beat_at_s
        moved = self.state.has_moved or meter.changed or meter.is_due(now_s)
        if not (due or moved or standing != self._told):
            return False
        meter.count(self.state.moved(), now_s)
        if full:
            self._last_full_s, self._full_at_s = now_s, math.inf
        self._told, self._beat_at_s = standing, now_s + BEAT_S
        memory_bytes, cpu = self._usage.now()
        report = meter.report(
            now_s, full=full, slots=standing[0], applied=standing[1],
            memory_bytes=memory_bytes, cpu=cpu,
        )  # fmt: skip
        try:
            self._reports.publish(report)
        except ValueTooLarge as error:
            log.debug("%s: %s", report.worker, error)
            meter.say_less()
            self._full_at_s = now_s
        return True


class _Usage:
    """What this process takes of its machine."""

    def __init__(self) -> None:
        self._at_s = -_USAGE_EVERY_S
        self._used_s = time.process_time()
        self._last = (0, 0.0)

    def now(self) -> tuple[int, float]:
        """Return its resident memory in bytes, and the share of one core that it uses."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._at_s >= _USAGE_EVERY_S:
            used_s = time.process_time()
            share = (used_s - self._used_s) / (now_s - self._at_s) if self._last[0] else 0.0
            self._at_s, self._used_s = now_s, used_s
            self._last = (resident_bytes(), round(share, 3))
        return self._last


def resident_bytes() -> int:
    """Return the memory that this process holds; its peak where the system tells no more."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        pass
    if sys.platform == "win32":
        return 0
    import resource  # noqa: PLC0415 -- not there on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
