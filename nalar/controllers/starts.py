"""Counting the starts of calls that may have killed a worker: the shell of `crashes`."""

import contextlib
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from nalar.clock import Clock
from nalar.controllers.crashes import Condemn, Go, Starts, Wait, decide
from nalar.controllers.held import Held, Postponed
from nalar.errors import NalarError
from nalar.ids import new_name
from nalar.settings import Settings
from nalar.statestore.port import KeyValue

#: Where starts are kept, in the control bucket.
START = "start"


class Condemned(Exception):
    """The call is not started again: its worker died `deaths` times while it ran."""

    def __init__(self, deaths: int) -> None:
        super().__init__(deaths)
        self.deaths = deaths


class CountedStarts:
    """What a worker writes down about calls whose delivery is suspect."""

    def __init__(self, control: KeyValue, settings: Settings, clock: Clock) -> None:
        self._control = control
        self._settings = settings
        self._clock = clock
        #: Names this process among all that ever were: a worker's own name may come again.
        self._process = new_name("p", os.urandom(8))

    @asynccontextmanager
    async def counted(self, held: Held, upto: int) -> AsyncGenerator[int]:
        """Count a start that goes on for the length of this block.

        Gives where the records of children end that an earlier attempt had made. Raises Condemned
        or Postponed instead when the call is not to be started, Unavailable when nobody knows.
        """
        invocation = held.invocation
        key = f"{START}.{held.key}"
        entry = await self._control.get(key)
        verdict = decide(
            Starts.decode(entry.value if entry is not None else None),
            future=held.key,
            attempt=invocation.attempt,
            upto=upto,
            process=self._process,
            now_s=self._clock.now_s(),
            lease_s=self._settings.lease_s,
            crashes_max=self._settings.crashes_max,
        )
        match verdict:
            case Condemn(deaths):
                raise Condemned(deaths)
            case Wait(delay_s):
                raise Postponed(delay_s)
            case Go(starts, back):
                await self._write(key, starts)
        try:
            yield back.upto
        except BaseException:
            # It may come again, and this start has not killed anybody.
            with contextlib.suppress(NalarError):
                await self._write(key, back)
            raise
        with contextlib.suppress(NalarError):
            # Its record stands, or its next attempt: that one begins to count anew.
            await self._control.delete(key)

    async def _write(self, key: str, starts: Starts) -> None:
        # Without a comparison: two that write at once are rare, and forget one start at most.
        ttl_s = self._settings.retention_s
        await self._control.put(key, starts.encode(), ttl_s=ttl_s)
