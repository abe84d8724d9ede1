"""The one place that asks what time it is."""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time, as everyone who shares a deadline must see it."""

    def now_s(self) -> float:
        """Unix time in seconds."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_s(self) -> float:
        return time.time()
