"""Which waiting calls are suspended, and whether one that was delivered again goes on. Pure.

A call is at rest while all of its code waits for records: of timers, signals, or calls it has made.
To suspend it costs an entry, a delivery and the time to run its code again up to where it was, so
it is done only once nothing has moved for a while.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from nalar.calls.suspended import Suspended

#: Calls whose records one suspended call may wait for: its entry names them all.
CALLS_MAX: Final = 500
#: How soon a suspended call is looked at again in case it was not woken, in seconds: after half of
#: the time that it has waited, but within these bounds.
_AGAIN_MIN_S: Final = 5.0
_AGAIN_MAX_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Rest:
    """What a call at rest waits for."""

    #: Changes when anything of it has come.
    what: Hashable
    #: When the first of its timers ends, Unix time; infinite without one.
    until_s: float
    #: How many calls it waits for.
    calls: int
    #: How many signals.
    signals: int


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call must have rested, in seconds."""

    #: On a timer or a signal.
    waits_s: float
    #: On nothing but calls that it has made.
    calls_s: float


class Resting:
    """Since when the calls of one worker rest on the same."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._since: dict[str, tuple[float, Hashable]] = {}

    def due(self, key: str, rest: Rest | None, now_s: float) -> bool:
        """Say whether the call is to be suspended; `rest` is None for one that may be at work."""
        if rest is None or rest.calls > CALLS_MAX:
            self._since.pop(key, None)
            return False
        since_s, what = self._since.get(key, (now_s, rest.what))
        if what != rest.what:
            since_s = now_s
        self._since[key] = since_s, rest.what
        if rest.until_s - now_s <= self._patience.waits_s:
            return False  # It goes on so soon that it may as well stay.
        if not rest.calls and not rest.signals:
            return True  # How long it takes is known.
        only_calls = rest.until_s == float("inf") and not rest.signals
        patience_s = self._patience.calls_s if only_calls else self._patience.waits_s
        return now_s - since_s >= patience_s

    def forget(self, keys: frozenset[str]) -> None:
        """Forget all calls but `keys`: the others are no longer here, or run."""
        for key in self._since.keys() - keys:
            del self._since[key]


def asleep_s(sleeping: Suspended, now_s: float, *, come: bool) -> float:
    """Return for how long the call sleeps on, in seconds; 0 when it is to go on.

    `come`: something that it waits for is there, or it was cancelled.
    """
    left_s = sleeping.until - now_s
    if come or left_s <= 0:
        return 0.0
    if not sleeping.calls and not sleeping.signals:
        return left_s
    waited_s = max(0.0, now_s - sleeping.since)
    return min(left_s, _AGAIN_MAX_S, max(_AGAIN_MIN_S, waited_s / 2))
