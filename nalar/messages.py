"""What travels and what is remembered: invocations, records, errors as data.

Pure and frozen. How they become bytes and headers is `nalar.bus.codec`'s business alone.
Arguments and results stay JSON bytes here: only the two ends know their types.
"""

from dataclasses import dataclass, field
from typing import Literal

from nalar.call_policy import CallPolicy
from nalar.ids import MethodName, Ref, SessionId

#: Version of the wire protocol; a message of another one is refused. docs/protocol.md.
PROTOCOL_VERSION = 1
#: Stands for a future inside arguments: `{"$future": "<ref>"}`.
FUTURE_KEY = "$future"

#: `succeeded` and the ways not to; each is terminal.
Status = Literal["succeeded", "failed", "dependency_failed", "expired", "cancelled", "rejected"]


@dataclass(frozen=True, slots=True)
class BlobRef:
    """A value too large for a message, kept in the object store under its content's name."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Payload:
    """A JSON value: its text, or where the text is kept. Exactly one of the two is set."""

    text: bytes | None
    blob: BlobRef | None = None


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call on its way to a worker."""

    ref: Ref
    method: MethodName
    #: The session the call belongs to; equals `ref.session` where that is fenced ("s").
    session: SessionId
    #: A JSON object: bound arguments by name; a future stands as `{"$future": "<ref>"}`.
    arguments: Payload
    #: Unix time in seconds after which the call must not take effect.
    deadline: float
    #: Unix time in seconds at which the caller made the call.
    created: float
    #: Futures whose results the arguments need.
    dependencies: tuple[Ref, ...] = ()
    #: The caller's call before this one to the same session; any terminal record satisfies it.
    after: Ref | None = None
    #: Revision of the newest commit to the session that the caller has seen: what the call reads
    #: must have it. Of read-only calls; the commit of any other tells by itself.
    seen: int = 0
    tenant: str = ""
    #: Higher runs sooner; 0 is normal.
    priority: int = 0
    #: Counts executions that started and failed; 1 is the first.
    attempt: int = 1
    #: How often it was passed on from one lane to another.
    hops: int = 0
    #: `agent/session` pairs that the chain of callers holds, outermost first.
    holds: tuple[str, ...] = ()
    #: The calls from the request down to this one, for people: `report > Analyst.study`.
    path: str = ""
    traceparent: str = ""
    #: True when the publisher cannot know whether an earlier copy was stored.
    resent: bool = False
    #: Of a retry: Unix time in seconds before which it must not start.
    not_before: float = 0.0
    #: What the call says beside its method's own declaration.
    policy: CallPolicy | None = None

    @property
    def target(self) -> str:
        """`Agent.method`, as people write it."""
        return f"{self.ref.agent}.{self.method}"

    @property
    def lock(self) -> str:
        """The agent and session that this call has to itself while it runs."""
        return f"{self.ref.agent}/{self.session}"


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """Why a call has no result. `code` is one of `nalar.errors`; `type_name` is for people."""

    code: str
    type_name: str
    message: str
    traceback: str = ""
    #: Path of the call that failed first, when it was another one.
    path: str = ""
    #: When it is worth while to ask again, in seconds; None where that is not known.
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """The one terminal record of a call, committed together with its session's change."""

    ref: Ref
    method: MethodName
    session: SessionId
    status: Status
    #: Set when `status` is succeeded.
    result: Payload | None
    #: Set otherwise.
    error: ErrorInfo | None
    arguments: Payload
    #: What the call changed in its session: field -> list of operations (statestore.session).
    delta: Payload | None
    worker: str
    attempt: int
    created: float
    started: float
    finished: float
    path: str = ""
    tenant: str = ""
    #: Version of the method's code that ran.
    code: str = ""
    dependencies: tuple[Ref, ...] = field(default=())
    #: Calls of an earlier attempt that this one did not make again.
    orphans: int = 0
    #: Of a call that never ran: the one it would have followed (`Invocation.after`).
    after: Ref | None = None


def bare_record(ref: Ref, status: Status, error: ErrorInfo, now_s: float) -> Record:
    """Return the record of a call that never ran, by who knows no more of it than its ref."""
    return Record(
        ref=ref,
        method=MethodName(""),
        session=ref.session,
        status=status,
        result=None,
        error=error,
        arguments=Payload(b"{}"),
        delta=None,
        worker="",
        attempt=1,
        created=now_s,
        started=now_s,
        finished=now_s,
    )
