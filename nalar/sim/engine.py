"""Discrete events on a virtual clock: a heap of what happens when. Pure."""

import heapq
from collections.abc import Callable
from typing import Any

#: What happens at a time, and to what.
Act = Callable[..., None]


class Timeline:
    """Virtual time. What is due at the same instant happens in the order in which it was asked for.

    Not an event loop: a million calls take minutes here on one core, and each run is the same.
    """

    def __init__(self) -> None:
        self.now_s = 0.0
        self._due: list[tuple[float, int, Act, tuple[Any, ...]]] = []
        self._asked = 0
        self._stopped = False

    def at(self, when_s: float, act: Act, *given: Any) -> None:
        """Call `act(*given)` at a time; one that has passed means now."""
        self._asked += 1
        heapq.heappush(self._due, (max(when_s, self.now_s), self._asked, act, given))

    def after(self, delay_s: float, act: Act, *given: Any) -> None:
        """Call `act(*given)` after a while."""
        self._asked += 1
        heapq.heappush(self._due, (self.now_s + max(0.0, delay_s), self._asked, act, given))

    def stop(self) -> None:
        """Let nothing more happen."""
        self._stopped = True

    def run(self, until_s: float, events_max: int) -> bool:
        """Let at most so many events happen, none after `until_s`; False when nothing is left."""
        due, pop = self._due, heapq.heappop
        for _ in range(events_max):
            if self._stopped or not due or due[0][0] > until_s:
                return False
            self.now_s, _, act, given = pop(due)
            act(*given)
        return True
