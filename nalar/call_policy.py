"""How long a call may take and how often it is tried: what is declared, and what travels. Pure.

What it means for a call that failed is decided in `nalar.agents.retry`.
"""

import math
from dataclasses import dataclass
from typing import Any, cast

from nalar.errors import UsageError


def check_number(what: str, value: object, *, low: float, high: float = math.inf) -> None:
    """Raise UsageError unless `value` is a finite number from `low` to `high`."""
    fits = (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and low <= value <= high
    )
    if not fits:
        limits = f"from {low:g} up" if high == math.inf else f"from {low:g} to {high:g}"
        raise UsageError(f"{what} is a number {limits}, not {value!r}")


#: Shortest time limit that means anything, in seconds.
SHORTEST_S = 1e-9
#: Longest one: thirty years. What is beyond is a mistake, and soon no point in time any more.
LONGEST_S = 1e9


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, and when, a call that failed is tried again.

    The wait before attempt n + 1 is `initial_s * multiplier ** (n - 1)`, at most `cap_s`, give
    or take a share of `jitter`. An error that carries `retry_after_s` (`nalar.RetryLater`, or
    any other exception with that attribute) makes it longer.
    """

    #: Executions in all; 1 means that a failure is final.
    max_attempts: int = 1
    initial_s: float = 0.5
    multiplier: float = 2.0
    cap_s: float = 60.0
    #: Share of the wait that is left to chance, 0 to 1.
    jitter: float = 0.2
    #: Errors that end the call at once, with all that inherit from them: exception classes, or
    #: their names. Classes travel and are compared by name alone.
    non_retryable: tuple[type[BaseException] | str, ...] = ()

    def __post_init__(self) -> None:
        attempts = cast("object", self.max_attempts)  # A user's: it may be anything.
        if not isinstance(attempts, int) or isinstance(attempts, bool) or attempts < 1:
            raise UsageError(f"Retry(max_attempts=...) is a count from 1 up, not {attempts!r}")
        check_number("Retry(initial_s=...)", self.initial_s, low=0, high=LONGEST_S)
        check_number("Retry(multiplier=...)", self.multiplier, low=1)
        check_number("Retry(cap_s=...)", self.cap_s, low=0, high=LONGEST_S)
        check_number("Retry(jitter=...)", self.jitter, low=0, high=1)
        kinds: Any = self.non_retryable
        kinds = (kinds,) if isinstance(kinds, type | str) else tuple(kinds)
        if not all(map(_is_kind, kinds)):
            raise UsageError(f"Retry(non_retryable=...) holds exception classes, not {kinds!r}")
        object.__setattr__(self, "non_retryable", kinds)

    @property
    def final_names(self) -> tuple[str, ...]:
        """The names of `non_retryable`, as they go over the wire."""
        return tuple(
            kind if isinstance(kind, str) else kind.__name__ for kind in self.non_retryable
        )


def _is_kind(kind: object) -> bool:
    if isinstance(kind, str):
        return kind.isidentifier()
    return isinstance(kind, type) and issubclass(kind, BaseException)


ONCE = Retry()

#: More items than any body is meant for: what is beyond is a mistake.
_BATCH_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Batch:
    """How calls of one method are gathered, so that its body runs once for several."""

    #: Calls that one run of the body takes at the most.
    size: int = 16
    #: How long a call that could start waits for others, in seconds.
    linger_s: float = 0.01

    def __post_init__(self) -> None:
        size = cast("object", self.size)
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= _BATCH_MAX:
            raise UsageError(f"Batch(size=...) is a count from 1 to {_BATCH_MAX}, not {size!r}")
        check_number("Batch(linger_s=...)", self.linger_s, low=0, high=3600)

    def spares(self, calls: int) -> int:
        """Return how many runs so many calls save when batches are as full as they can be."""
        return calls - -(-calls // self.size)


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """What one call says beside its method's own declaration; None leaves that as it is."""

    retry: Retry | None = None
    #: Seconds one execution may take.
    timeout_s: float | None = None
    #: Seconds it may wait before it is started for the first time.
    queue_timeout_s: float | None = None

    def __post_init__(self) -> None:
        retry = cast("object", self.retry)
        if retry is not None and not isinstance(retry, Retry):
            raise UsageError(f"retry=nalar.Retry(max_attempts=...) is expected, not {retry!r}")
        for name in ("timeout_s", "queue_timeout_s"):
            value = getattr(self, name)
            if value is not None:
                check_number(name, value, low=SHORTEST_S, high=LONGEST_S)
