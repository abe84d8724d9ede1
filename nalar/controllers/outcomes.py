"""How calls end that are not run, or not once more. Pure."""

from nalar.agents.executor import Outcome, describe_error
from nalar.errors import (
    AgentError,
    DependencyFailed,
    Overloaded,
    SessionUnreadable,
    ValueTooLarge,
    WorkerCrashed,
)
from nalar.messages import ErrorInfo, Invocation, Record

#: Longest message that a line of the log quotes.
_QUOTED_MAX = 200


def in_a_line(error: ErrorInfo | None) -> str:
    """Return what was raised as a line of a log has it: whatever users' code put into it."""
    if error is None:
        return "without an error"
    message = "".join(char if char.isprintable() else " " for char in error.message)
    return f"{error.type_name}: {' '.join(message[:_QUOTED_MAX].split())}"


def not_started(invocation: Invocation, now_s: float) -> Outcome:
    """Return the outcome of a call that was not started in time."""
    if now_s >= invocation.deadline:
        message = "the deadline passed before the call had a result"
    else:
        waited_s = now_s - invocation.created
        message = (
            f"it waited {waited_s:.3g} s in the queue, longer than its queue_timeout_s: no worker "
            "had room for it, or what it needs was not there"
        )
    return Outcome("expired", error=ErrorInfo("expired", "Expired", message, path=invocation.path))


def unreadable(invocation: Invocation, error: SessionUnreadable) -> Outcome:
    """Return the outcome of a call whose session cannot be read."""
    name = type(error).__name__
    return Outcome("rejected", error=ErrorInfo("rejected", name, str(error), path=invocation.path))


def cancelled(invocation: Invocation) -> Outcome:
    """Return the outcome of a call that was cancelled, alone or with what it belongs to."""
    info = ErrorInfo("cancelled", "Cancelled", "the call was cancelled", path=invocation.path)
    return Outcome("cancelled", error=info)


def crashed(invocation: Invocation, deaths: int) -> Outcome:
    """Return the outcome of a call that is not started again: its workers died of it."""
    times = "once or more" if deaths == 1 else f"{deaths} times or more"
    message = (
        f"its worker died {times} while it ran: it may have used up the memory, blocked "
        "for too long or ended the process (setting crashes_max)"
    )
    info = ErrorInfo(WorkerCrashed.code, WorkerCrashed.__name__, message, path=invocation.path)
    return Outcome("failed", error=info)


def within_limits(
    invocation: Invocation, outcome: Outcome, now_s: float, value_max_bytes: int
) -> Outcome:
    """Return `outcome` unless its result is too large, or comes after the deadline."""
    if outcome.result is not None and len(outcome.result) > value_max_bytes:
        error = ValueTooLarge(
            f"the result of {invocation.target} is {len(outcome.result):,} bytes as JSON, "
            f"over the limit of {value_max_bytes:,} (setting value_max_bytes)"
        )
        return Outcome("failed", error=describe_error(error, invocation.path))
    return expired(invocation) if now_s > invocation.deadline else outcome


def overloaded(invocation: Invocation, refusal: Overloaded) -> Outcome:
    """Return the outcome of a request that is not let in."""
    info = ErrorInfo(
        refusal.code, type(refusal).__name__, str(refusal), path=invocation.path,
        retry_after_s=refusal.retry_after_s,
    )  # fmt: skip
    return Outcome("rejected", error=info)


def expired(invocation: Invocation) -> Outcome:
    """Return the outcome of a call whose deadline passed before it could take effect."""
    message = "the deadline passed before the call had a result"
    return Outcome("expired", error=ErrorInfo("expired", "Expired", message, path=invocation.path))


def dependency_failed(invocation: Invocation, cause: Record) -> Outcome:
    """Return the outcome of a call that needs the result of `cause`, which has none."""
    error = cause.error or ErrorInfo("call", "", cause.status)
    told = f"{error.type_name}: {error.message}" if error.code == AgentError.code else error.message
    message = f"{error.path or cause.path or cause.ref.agent} ended in {cause.status}: {told}"
    info = ErrorInfo(
        DependencyFailed.code, DependencyFailed.__name__, message,
        traceback=error.traceback, path=invocation.path,
    )  # fmt: skip
    return Outcome("dependency_failed", error=info)
