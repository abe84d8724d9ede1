"""An event loop whose time jumps to the next timer instead of waiting for it."""

import asyncio
import selectors
from typing import Any


class _JumpingSelector(selectors.DefaultSelector):
    """Never sleeps while a timer is due later: it moves the loop's clock there."""

    def __init__(self) -> None:
        super().__init__()
        self.time_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # Events that are there already come first; time passes only when nothing happens.
        ready = super().select(0)
        if ready or timeout is None:
            return ready or super().select(timeout)
        self.time_s += max(0.0, timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, starting at 0. For code that does no real I/O."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        # Timers within this are due together; any other value would make time creep.
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._jumping.time_s


class LoopClock:
    """Wall time that follows the running loop's, so that deadlines pass in virtual time."""

    #: An arbitrary date on which virtual time begins, for records that show one.
    START_S = 1_700_000_000.0

    def __init__(self) -> None:
        self._loop: Any = asyncio.get_running_loop()

    def now_s(self) -> float:
        return self.START_S + self._loop.time()
