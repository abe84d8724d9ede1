"""Telling code to stop: a flag that goes with each execution, set once, seen from any thread.

Coroutines are cancelled beside it; code in a thread can only be told. Every call it makes and every
wait for a future looks at the flag.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Literal

from nalar.errors import CallError, Cancelled, Expired

#: Why code is to stop: somebody cancelled its call, its deadline passed, it ran for too long, it
#: waits for so long that its call is suspended, or its call is to run elsewhere.
Reason = Literal["cancelled", "expired", "timeout", "suspended", "preempted"]

_RAISED: dict[Reason, tuple[type[CallError], str]] = {
    "cancelled": (Cancelled, "this call was cancelled: its code is to end now"),
    "expired": (Expired, "the deadline of this call has passed: its code is to end now"),
    "timeout": (Cancelled, "this call ran longer than its timeout_s: its code is to end now"),
    "preempted": (Cancelled, "this call is to run elsewhere: it will run again"),
    "suspended": (Cancelled, "this call waits for long and is suspended: it will run again"),
}


class StopFlag:
    """Whether the code of one execution was told to stop, and whether it has ended."""

    __slots__ = ("_told", "_waits", "reason", "running", "stuck")

    def __init__(self, told: "Callable[[StopFlag], None] | None" = None) -> None:
        #: Empty while it may go on.
        self.reason: Reason | None = None
        #: From the start of the code to its real end, in whatever thread.
        self.running = False
        #: It was told long ago and has not ended: only the end of its process will end it.
        self.stuck = False
        self._told = told
        self._waits: dict[object, Callable[[], None]] = {}

    def set(self, reason: Reason) -> None:
        """Tell the code to stop, and wake what it waits for; the first reason stays."""
        if self.reason is not None:
            return
        self.reason = reason
        for wake in list(self._waits.values()):
            wake()
        if self._told is not None:
            self._told(self)

    def check(self, path: str = "") -> None:
        """Raise Cancelled or Expired once the code was told to stop."""
        if self.reason is not None:
            kind, message = _RAISED[self.reason]
            raise kind(message, path=path)

    @contextmanager
    def waking(self, wake: Callable[[], None]) -> Generator[None]:
        """Call `wake` if the flag is set during this block, or was before; from any thread."""
        mark = object()
        self._waits[mark] = wake
        # After it was put there: whoever sets the flag meanwhile sees it, or is seen here.
        if self.reason is not None:
            wake()
        try:
            yield
        finally:
            del self._waits[mark]
