"""Hearing of cancellations: every worker watches the notices, and reads what it may have missed."""

import asyncio
from collections.abc import Callable
from typing import Final

from nalar.backend import Backend
from nalar.bus.port import Watch
from nalar.calls.notices import CANCEL, Notices, notice_key, notice_token, notice_until
from nalar.clock import Clock
from nalar.loops import at_turns
from nalar.statestore.port import KeyValueEntry

#: How often all notices are listed again, in case one was lost on its way, in seconds.
_LIST_S: Final = 30.0
#: Notices read at a time.
_READ_MAX: Final = 256


class CancelWatch:
    """Keeps `notices` true, and tells of each new one."""

    def __init__(
        self, backend: Backend, notices: Notices, clock: Clock, came: Callable[[str], None]
    ) -> None:
        self._control = backend.control
        self._notices = notices
        self._clock = clock
        self._came = came
        self._again = asyncio.Event()
        self._watch: Watch | None = None
        backend.on_reconnect(self._again.set)

    async def begin(self) -> None:
        """Watch, and read what stands: no call may be started before. May be called again."""
        if self._watch is None:
            self._watch = self._control.watch(CANCEL, self._heard)
            await self._list()

    async def run(self) -> None:
        """List the notices again after each reconnect and now and then, until cancelled."""
        await at_turns(self._again, _LIST_S, self._list)

    async def _list(self) -> None:
        self._notices.forget_before(self._clock.now_s())
        tokens = [notice_token(key) for key in await self._control.keys(CANCEL)]
        unknown = [notice_key(token) for token in tokens if token not in self._notices]
        for start in range(0, len(unknown), _READ_MAX):
            for entry in await self._control.get_all(unknown[start : start + _READ_MAX]):
                self._heard(entry)

    def _heard(self, entry: KeyValueEntry) -> None:
        if entry.value is None:
            return  # It has expired, and so have its calls.
        token = notice_token(entry.key)
        if self._notices.add(token, notice_until(entry.value)):
            self._came(token)
