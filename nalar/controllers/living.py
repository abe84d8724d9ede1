"""What a running call has in this process, and what of it may make the call go on."""

import math
from dataclasses import dataclass
from typing import Any

from nalar.calls.family import Family
from nalar.calls.waits import RunningWaits
from nalar.combined import leaves
from nalar.context import Call
from nalar.controllers.suspend import Rest
from nalar.futures import Future


@dataclass(frozen=True, slots=True, eq=False)
class Living:
    """What a running call has in this process."""

    call: Call
    waits: RunningWaits
    family: Family

    def awaited(self) -> frozenset[Future[Any]] | None:
        """Return all that may make the call go on; None while it may be at work."""
        awaited = self.call.activity.awaited()
        idle = self.waits.idle()
        if awaited is None or idle is None or self.family.unstored or self.family.withholds:
            return None
        found = leaves(awaited)
        if not found:
            return None
        for future in found:
            assert future.ref is not None, "a leaf has an address"
            if future not in idle and future.ref.parent != self.call.ref.future:
                return None
        return frozenset(found.union(idle))

    def rest(self) -> Rest | None:
        """Return what the call waits for, for the decider."""
        awaited, idle = self.awaited(), self.waits.idle()
        if awaited is None or idle is None:
            return None
        until_s = min((timer.until_s for timer in idle), default=math.inf)
        signals = sum(token != "" for token in idle.values())
        return Rest(awaited, until_s, len(awaited) - len(idle), signals)
