"""What workers tell controllers: metric reports. Pure.

A report says what has changed since the worker's last one, so that its cost grows with what
happens and not with what is there; a *full* one, sent first and to whoever asks, stands by
itself. Counts are as they are now; `finished`, `failed`, `busy_s` and `tokens` have grown since
the worker started, so that a lost report loses nothing.

The unit of capacity is the execution slot. Calls are counted as calls, and beside it how many of
them take no slot of their own, since calls of a batch share one.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Final, TypeAlias

import orjson
from pydantic import Field, TypeAdapter, ValidationError

from nalar.errors import MalformedMessage
from nalar.ids import AgentName, RootId, SessionId, WorkerId, is_wire_token

#: Reports of one worker in a second, at the most.
PER_SECOND_MAX: Final = 10
#: A report comes at least this often, in seconds, be it of nothing: else a lost one would not show.
BEAT_S: Final = 5.0

#: A number that JSON can carry to any reader: pydantic would take in longer ones.
Whole: TypeAlias = Annotated[int, Field(ge=-(2**63), lt=2**63)]


@dataclass(slots=True)
class MethodLoad:
    """What an agent's calls of one method took in one worker."""

    finished: Whole = 0
    failed: Whole = 0
    #: Smoothed, as in `AgentLoad`.
    wait_s: float = 0.0
    service_s: float = 0.0
    #: Calls that one run of it takes at the most.
    batch: Annotated[Whole, Field(ge=1)] = 1


@dataclass(slots=True)
class AgentLoad:
    """An agent's calls in one worker."""

    queued: Whole = 0
    parked: Whole = 0
    running: Whole = 0
    #: Started, and waiting for a future.
    waiting: Whole = 0
    #: Of the queued ones, those whose session is busy.
    blocked: Whole = 0
    #: Of the running ones, those that run in the slot of another: all but one of each batch.
    sharing: Whole = 0
    #: Of the queued ones, those that will, if batches are as full as they can be.
    spared: Whole = 0
    #: When the oldest of the queued ones arrived, Unix time; 0 with none.
    oldest_at: float = 0.0
    finished: Whole = 0
    failed: Whole = 0
    #: Time that code has run in all, in seconds.
    busy_s: float = 0.0
    #: What a call waits from its arrival to its start, and how long its code runs (in a batch its
    #: share of that): smoothed by method, and then the mean over its methods by calls.
    wait_s: float = 0.0
    service_s: float = 0.0
    #: Tokens of models, as its code has reported them.
    tokens: Whole = 0
    methods: dict[str, MethodLoad] = field(default_factory=dict[str, MethodLoad])

    @property
    def runs(self) -> int:
        """Execution slots that running calls take, and queued ones will."""
        return self.running - self.sharing + self.queued - self.spared

    @property
    def share(self) -> float:
        """What part of a slot one more call will take among many: 1, or less in a full batch.

        By the methods that were called so far; before that, by what is queued.
        """
        calls = [
            (method.finished + method.failed, method.batch) for method in self.methods.values()
        ]
        if ended := sum(count for count, _ in calls):
            return sum(count / size for count, size in calls) / ended
        return (self.queued - self.spared) / self.queued if self.queued else 1.0


@dataclass(slots=True)
class SessionLoad:
    """A stateful session's calls in one worker."""

    queued: Whole = 0
    running: Whole = 0
    #: When the oldest of the queued ones arrived, Unix time; 0 with none.
    oldest_at: float = 0.0
    slot: Whole = 0
    tenant: str = ""
    priority: Whole = 0


@dataclass(slots=True)
class RequestLoad:
    """What one worker has done, and holds, of a request."""

    queued: Whole = 0
    running: Whole = 0
    finished: Whole = 0
    #: Time that code of the request has run here, in seconds.
    busy_s: float = 0.0
    deadline: float = 0.0
    tenant: str = ""
    #: Depth in the call tree of the deepest call seen; the request's own has depth 0.
    depth: Whole = 0


@dataclass(slots=True)
class Report:
    """One worker's report."""

    worker: WorkerId
    #: Counts this worker's reports: a gap says that one was lost, and a full one is to be awaited.
    number: Whole
    at_s: float
    full: bool
    #: Execution slots, and how many of them are taken.
    concurrency: Whole
    running: Whole
    #: Revision of the newest directive that the worker obeys.
    applied: Whole
    memory_bytes: Whole = 0
    #: Share of one core used since the last report.
    cpu: float = 0.0
    agents: dict[AgentName, AgentLoad] = field(default_factory=dict[AgentName, AgentLoad])
    slots: dict[AgentName, list[Whole]] = field(default_factory=dict[AgentName, list[Whole]])
    #: None: nothing of it is here any more.
    sessions: dict[AgentName, dict[SessionId, SessionLoad | None]] = field(
        default_factory=dict[AgentName, dict[SessionId, SessionLoad | None]]
    )
    requests: dict[RootId, RequestLoad | None] = field(
        default_factory=dict[RootId, RequestLoad | None]
    )
    #: By model: tokens that code here has reported, since the worker started.
    tokens: dict[str, Whole] = field(default_factory=dict[str, Whole])


def add_method(total: MethodLoad | AgentLoad, part: MethodLoad) -> None:
    """Add the calls of a method to others; times are means by calls finished or failed."""
    before, more = total.finished + total.failed, part.finished + part.failed
    if more:
        total.wait_s = (total.wait_s * before + part.wait_s * more) / (before + more)
        total.service_s = (total.service_s * before + part.service_s * more) / (before + more)
    total.finished += part.finished
    total.failed += part.failed


def encode_report(report: Report) -> bytes:
    """Return the body of a report."""
    return orjson.dumps(report, option=orjson.OPT_SERIALIZE_DATACLASS)


def decode_report(body: bytes) -> Report:
    """Return the report; raises MalformedMessage for what is none.

    Fields that it does not know are those of a later version, and are left out.
    """
    try:
        report = _reader().validate_json(body, strict=True)
    except ValidationError as error:
        raise MalformedMessage(f"not a metric report: {error}") from error
    if not is_wire_token(report.worker):
        raise MalformedMessage(f"a metric report of {report.worker[:100]!r}, which is no worker")
    return report


@cache
def _reader() -> TypeAdapter[Report]:
    return TypeAdapter(Report)
