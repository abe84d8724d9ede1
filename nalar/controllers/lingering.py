"""Batches in a worker: calls that were started together meet, and time comes when one is due."""

import asyncio
from collections.abc import Callable, Mapping

from nalar.agents.gathering import Gathering
from nalar.clock import Clock
from nalar.controllers.held import Held
from nalar.controllers.local_events import Event, Start, Ticked


class Lingering:
    """The timer of the next batch that starts without being full."""

    def __init__(self, clock: Clock, feed: Callable[[Event], None]) -> None:
        self._clock = clock
        self._feed = feed
        self._due_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def until(self, due_s: float | None) -> None:
        """Have time pass at `due_s`; None is never."""
        if due_s == self._due_s:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due_s, self._timer = due_s, None
        if due_s is not None:
            delay_s = max(0.0, due_s - self._clock.now_s())
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._ring)

    def _ring(self) -> None:
        due_s, self._due_s = self._due_s, None
        # Timers may be early by the clock's grain: what is due must be.
        self._feed(Ticked(max(self._clock.now_s(), due_s or 0.0)))


def gather(start: Start, held: Mapping[str, Held]) -> None:
    """Have the calls that start together meet; one that starts alone is a batch of its own."""
    first = held[start.key]
    if first.spec.options.batch is None or first.gathering is not None:
        return
    keys = start.batch or (start.key,)
    gathering = Gathering(keys)
    for key in keys:
        held[key].gathering = gathering
