"""Whether a call that failed is tried again, and when. Pure: chance comes in as a number."""

from collections.abc import Collection
from typing import Final

from nalar.call_policy import Retry
from nalar.errors import (
    ArgumentError,
    FutureMisuse,
    InvalidResult,
    InvalidToken,
    NonDeterminismError,
    ReentrantCall,
    UnknownTarget,
    UsageError,
    ValueTooLarge,
)
from nalar.messages import ErrorInfo, Status

#: Errors that another attempt would end in as well: the code that calls must change. A result
#: that does not fit its annotation is one of them: it is a mistake in the method. A method that
#: hands on what a model wrote checks it itself, and raises what may be tried again.
FINAL_CODES: Final = frozenset(
    kind.code
    for kind in (
        ArgumentError,
        FutureMisuse,
        InvalidResult,
        InvalidToken,
        NonDeterminismError,
        ReentrantCall,
        UnknownTarget,
        UsageError,
        ValueTooLarge,
    )
)
#: No wait is longer than this, whatever a policy multiplies to, in seconds.
_WAIT_MAX_S: Final = 1e9


def is_retryable(
    retry: Retry, status: Status, error: ErrorInfo | None, kinds: Collection[str]
) -> bool:
    """Say whether an execution that ended like this may be followed by another.

    `kinds` are the names of the exception's class and of all it inherits from. Only failures
    are: a call that was cancelled, came too late or lacks a dependency would end so again.
    """
    if status != "failed" or error is None or error.code in FINAL_CODES:
        return False
    return not any(name in kinds for name in retry.final_names)


def next_delay_s(
    retry: Retry, attempt: int, chance_value: float, *, retry_after_s: float | None = None
) -> float | None:
    """Return how long to wait after `attempt` failed; None when it was the last.

    `chance_value` is a number from 0 to 1. The wait is never shorter than `retry_after_s`, which
    the error asked for.
    """
    if attempt >= retry.max_attempts:
        return None
    try:
        wait_s = min(retry.initial_s * retry.multiplier ** (attempt - 1), retry.cap_s)
    except OverflowError:
        wait_s = retry.cap_s
    wait_s *= 1 + retry.jitter * (2 * chance_value - 1)
    return min(max(wait_s, retry_after_s or 0.0), _WAIT_MAX_S)
