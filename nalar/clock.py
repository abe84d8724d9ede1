"""The one place that asks what time it is."""

import time
from datetime import datetime
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


def local_time(at_s: float) -> str:
    """Return a moment as people on this machine read it; `?` for what is none."""
    try:
        return datetime.fromtimestamp(at_s).astimezone().isoformat(" ", "seconds")
    except (OverflowError, ValueError, OSError):
        return "?"
