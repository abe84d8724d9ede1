"""Every exception of Nalar, by who must act; and how an error travels as data.

Errors cross the wire as plain data (`ErrorInfo`): a code from the table below, never a class
that is looked up by name.
"""

from collections.abc import Sequence
from typing import ClassVar


class NalarError(Exception):
    """Anything Nalar raises on purpose. `code` is stable and goes over the wire."""

    code: ClassVar[str] = "nalar"


# The user's code or configuration must change.


class NotData(ValueError):
    """A value that has no JSON form we accept; the message says what was found and expected."""


class UsageError(NalarError):
    """The call, class, module or setting cannot be what was meant; nothing was published.

    Raised where the mistake is, or by a call whose code has made it: then `path` names the calls
    from the request down to it, and `remote_traceback` shows the place.
    """

    code = "usage"
    path: str = ""
    remote_traceback: str = ""

    def __str__(self) -> str:
        return f"{super().__str__()} (in {self.path})" if self.path else super().__str__()


class InvalidToken(UsageError, ValueError):
    """A session, tenant, key or reference that cannot stand in a subject."""

    code = "invalid_token"


class ArgumentError(UsageError, TypeError):
    """Arguments that do not fit the method's signature or annotations."""

    code = "argument"


class UnknownTarget(UsageError, LookupError):
    """No agent or method of that name is served or registered."""

    code = "unknown_target"


class ValueTooLarge(UsageError):
    """A value over the configured limit; names the argument or result."""

    code = "value_too_large"


class ReentrantCall(UsageError):
    """A call into a session that its own chain of calls already holds: it would wait for itself."""

    code = "reentrant_call"


class FutureMisuse(UsageError, TypeError):
    """A future used where its value is needed, in a place that cannot wait."""

    code = "future_misuse"


# The call ended without a result; the caller decides.


class CallError(NalarError):
    """A call ended in an error record. `path` names the calls from the request down to it."""

    code = "call"
    #: Where the code was that raised, if any did.
    remote_traceback: str = ""

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path

    def _traced(self, head: str) -> str:
        return f"{head}\n\n{self.remote_traceback}".rstrip() if self.remote_traceback else head


class AgentError(CallError):
    """The agent's own code raised. Carries its type's name, message and remote traceback."""

    code = "agent"

    def __init__(
        self, message: str, *, type_name: str = "Exception", traceback: str = "", path: str = ""
    ) -> None:
        super().__init__(message, path=path)
        self.type_name = type_name
        self.remote_traceback = traceback

    def __str__(self) -> str:
        where = f" in {self.path}" if self.path else ""
        return self._traced(f"{self.type_name}: {self.args[0]}{where}")


class InvalidResult(CallError):
    """A method returned what its annotation does not allow, or what is not data."""

    code = "invalid_result"


class DependencyFailed(CallError):
    """A future among the arguments ended in an error; the call did not run.

    The message names the call that failed and what it raised; `remote_traceback` is that call's.
    """

    code = "dependency_failed"

    def __str__(self) -> str:
        return self._traced(super().__str__())


class Expired(CallError):
    """The deadline passed before the call had a result."""

    code = "expired"


class Cancelled(CallError):
    """The call was cancelled."""

    code = "cancelled"


class NonDeterminismError(CallError):
    """A resumed call did not repeat calls that have changed state; names them.

    To make the new ones as well could change it twice. See `on_orphan`.
    """

    code = "non_determinism"


class WorkerCrashed(CallError):
    """The call's worker died each time it ran: the call ends as dead instead of killing more."""

    code = "crashed"


class Rejected(CallError):
    """The invocation could not be understood; it was recorded as dead with its reason."""

    code = "rejected"


class Overloaded(CallError):
    """The agent takes no such requests for now (`nalar shed`): nothing of it has run.

    Ask again in `retry_after_s` seconds.
    """

    code = "overloaded"

    def __init__(self, message: str, *, path: str = "", retry_after_s: float = 0.0) -> None:
        super().__init__(message, path=path)
        self.retry_after_s = retry_after_s


# Raised by the user's code, for the runtime to act on.


class RetryLater(NalarError):
    """Raise it to be tried again, and not before `retry_after_s` seconds have passed.

    For what asks for patience: a model's rate limit, a lock held elsewhere. The call's `Retry`
    says how often; one without is not tried again. Any other exception with an attribute
    `retry_after_s` is heeded as well.
    """

    code = "retry_later"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


# Nobody acts: the runtime tries again, or the operator mends the environment.


class Unavailable(NalarError):
    """The server cannot be reached, or lacks what is needed; says what was tried."""

    code = "unavailable"


class UnsupportedServer(Unavailable):
    """The nats-server is too old; names both versions."""

    code = "unsupported_server"


class CommitLost(NalarError):
    """The compare-and-set was refused: the log moved on, or a record stands already (10071)."""

    code = "commit_lost"


class CommitUnknown(NalarError):
    """No clear answer to a commit (timeout, disconnect, 10164): read again, then decide."""

    code = "commit_unknown"


class Conflict(NalarError):
    """A key-value entry changed between read and write."""

    code = "conflict"


class MalformedMessage(NalarError):
    """Bytes that are no invocation or record of a protocol version we know."""

    code = "malformed"
    #: The ref of a malformed invocation, as text, where it can be read and fits the subject.
    ref: str = ""


class LaterProtocol(MalformedMessage):
    """An invocation or record of a protocol version that this program does not know."""


class SessionUnreadable(NalarError):
    """What stands in a session's log or snapshot is none of ours: its calls cannot be run."""

    code = "session_unreadable"


class CallTimeout(NalarError, TimeoutError):
    """Waiting for a future took longer than the caller allowed; the call goes on."""

    code = "timeout"


class StreamRestarted(NalarError):
    """The call was begun again after some of its values had been read; see `Future.stream`."""

    code = "stream_restarted"


#: What a record's error code becomes at the caller; any other is an AgentError.
_RAISED: dict[str, type[CallError]] = {
    kind.code: kind
    for kind in (
        CallError,
        InvalidResult,
        DependencyFailed,
        Expired,
        Cancelled,
        Rejected,
        NonDeterminismError,
        WorkerCrashed,
    )
}
_MISUSED: dict[str, type[UsageError]] = {
    kind.code: kind for kind in (ArgumentError, UnknownTarget, ValueTooLarge, ReentrantCall)
}


def call_error(
    code: str,
    *,
    type_name: str,
    message: str,
    traceback: str,
    path: str,
    retry_after_s: float | None = None,
) -> NalarError:
    """Return the exception for an error record."""
    if code == Overloaded.code:
        return Overloaded(message, path=path, retry_after_s=retry_after_s or 0.0)
    if (misused := _MISUSED.get(code)) is not None:
        error = misused(message)
        error.path, error.remote_traceback = path, traceback
        return error
    if (raised := _RAISED.get(code)) is not None:
        failed = raised(message, path=path)
        failed.remote_traceback = traceback
        return failed
    return AgentError(message, type_name=type_name, traceback=traceback, path=path)


def suggest(word: str, known: Sequence[str]) -> str:
    """Return ` Did you mean 'x'?` for the known word nearest to `word`, or nothing."""
    from difflib import get_close_matches  # noqa: PLC0415 -- 3 ms, paid only on the way out

    near = get_close_matches(word, known, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
