"""Code that does not end although it was told to: a thread in a loop, a swallowed cancellation.

Nothing in a process can end it but the end of the process, so that is what is asked for.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from nalar.messages import Invocation
from nalar.settings import Settings
from nalar.stopping import StopFlag

log = logging.getLogger("nalar.worker")


class StuckCode:
    """Looks whether code that was told to stop has ended in time, for one worker."""

    def __init__(self, settings: Settings) -> None:
        self._grace_s = settings.stop_grace_s
        self._loop = asyncio.get_running_loop()
        self._looks: dict[StopFlag, asyncio.TimerHandle] = {}
        self._listeners: list[Callable[[], None]] = []

    def flag(self, invocation: Invocation) -> StopFlag:
        """Return the flag of an execution of `invocation` that is about to start."""
        return StopFlag(partial(self._told, invocation))

    def on_stuck(self, notify: Callable[[], None]) -> None:
        """Have `notify` called each time code turns out to be stuck."""
        self._listeners.append(notify)

    def _told(self, invocation: Invocation, flag: StopFlag) -> None:
        if flag.running:
            look = self._loop.call_later(self._grace_s, self._look, invocation, flag)
            self._looks[flag] = look

    def ended(self, flag: StopFlag) -> None:
        """Nobody waits for the execution any more; do not look at one whose code has ended."""
        if not flag.running and (look := self._looks.pop(flag, None)) is not None:
            look.cancel()

    def _look(self, invocation: Invocation, flag: StopFlag) -> None:
        self._looks.pop(flag, None)
        if not flag.running:
            return
        flag.stuck = True
        log.warning(
            "%s (call %s) still runs %g s after it was told to stop (%s): only the end of its "
            "process will end it",
            invocation.target, invocation.ref.future, self._grace_s, flag.reason,
        )  # fmt: skip
        for notify in self._listeners:
            notify()

    def close(self) -> None:
        """Look no more."""
        for look in self._looks.values():
            look.cancel()
        self._looks.clear()
