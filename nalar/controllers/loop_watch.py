"""Whether a worker's event loop goes on, and what blocks it; asked from another thread."""

import asyncio
import contextlib
import logging
import sys
import sysconfig
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nalar.ids import WorkerId

log = logging.getLogger("nalar.worker")

#: A loop that has not answered for this long is said to be blocked, in seconds.
BLOCKED_S: Final = 2.0
#: Whose lines say nothing of what the user wrote: this library, Python's own, installed packages.
_NOT_USERS: Final = (
    str(Path(__file__).resolve().parent.parent),
    *(sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")),
    "<frozen ",
)


class LoopWatch:
    """Asks an event loop for answers; made on it, and used from another thread."""

    def __init__(self, describe: Callable[[], dict[str, object]]) -> None:
        self._describe = describe
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        #: When the question was asked that has not been answered, by the asker's clock.
        self._asked_at: float | None = None
        self._told = describe()
        self._said = False

    def ask(self, now_s: float) -> None:
        """Ask the loop to answer, unless it owes an answer already."""
        if self._asked_at is None:
            self._asked_at = now_s
            with contextlib.suppress(RuntimeError):  # It has closed: we are about to end.
                self._loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        self._asked_at = None
        self._said = False
        self._told = self._describe()

    def forgive(self, now_s: float) -> None:
        """No thread of this process has run for a while: the loop is not to blame."""
        if self._asked_at is not None:
            self._asked_at = now_s

    def blocked_s(self, now_s: float) -> float:
        """Return for how long the loop has not answered, in seconds."""
        asked_at = self._asked_at
        return 0.0 if asked_at is None else now_s - asked_at

    def blocked(self, now_s: float) -> bool:
        """Say whether the loop has been blocked for longer than it ever should be."""
        return self.blocked_s(now_s) >= BLOCKED_S

    def described(self, now_s: float) -> dict[str, object]:
        """Return what the worker said of itself last, and what blocks its loop."""
        if not self.blocked(now_s):
            return self._told
        blocked_s = round(self.blocked_s(now_s), 1)
        return self._told | {"blocked_s": blocked_s, "blocked_in": self.where()}

    def where(self) -> str:
        """Say what the loop is at: the innermost line that is the user's own."""
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] -- documented; there is no other way
        if frame is None:
            return ""
        stack = traceback.extract_stack(frame)
        users = [line for line in stack if not line.filename.startswith(_NOT_USERS)]
        line = (users or stack)[-1]
        return f"{line.name} ({line.filename}:{line.lineno})"

    def warn(self, worker: WorkerId, now_s: float) -> None:
        """Say once for each time it is blocked what by."""
        if self.blocked(now_s) and not self._said:
            self._said = True
            log.warning(
                "%s: the event loop is blocked by %s: nothing else goes on meanwhile. Code that "
                "blocks belongs in a `def`, which gets a thread",
                worker, self.where(),
            )  # fmt: skip
