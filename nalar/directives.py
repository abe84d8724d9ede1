"""What controllers ask of workers: directives, as they stand in the control bucket. Pure.

A directive is a standing order with a key of its own: another one under the same key takes its
place, and deleting the entry withdraws it. Workers that join later find it, and with no controller
alive it still holds. Those about one session or request expire; all others stay until withdrawn.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar, Final, Literal, cast, get_args

import orjson

from nalar.errors import MalformedMessage
from nalar.ids import AgentName, SessionId, WorkerId, is_wire_token

#: Whole numbers in directives are smaller than this.
_NUMBER_MAX: Final = 1 << 31
#: No weight is larger, and no directive names more workers.
WEIGHT_MAX: Final = 100.0
_WEIGHTS_MAX: Final = 10_000
#: Where directives are kept, in the control bucket.
DIRECTIVE: Final = "directive"

#: Who issues what a person, or a program of his, directs.
BY_HAND: Final = "hand"

#: How long directives about one worker, session or request stand, in seconds.
PASSING_S: Final = 3_600.0

#: What a priority is set for.
PriorityScope = Literal["session", "request", "tenant"]
#: What a limit counts: the calls of an agent, those made on behalf of a tenant, or those that use
#: a model, by what their code reports.
LimitScope = Literal["agent", "tenant", "model"]
#: In which order a worker starts calls of equal priority.
QueueOrder = Literal["arrival", "deadline", "request_age", "depth"]


@dataclass(frozen=True, slots=True)
class Route:
    """Serve a session in another slot: its calls that have not started go there, as do new ones."""

    kind: ClassVar = "route"
    agent: AgentName
    session: SessionId
    slot: int

    @property
    def about(self) -> tuple[str, ...]:
        return (self.agent, self.session)


@dataclass(frozen=True, slots=True)
class SetWeights:
    """Give workers more or less of an agent's calls, and of its slots, than others get.

    A worker that is not named has weight 1; one of weight 0 takes no new calls.
    """

    kind: ClassVar = "weights"
    agent: AgentName
    #: By the worker's name.
    weights: Mapping[str, float]

    @property
    def about(self) -> tuple[str, ...]:
        return (self.agent,)


@dataclass(frozen=True, slots=True)
class SetPriority:
    """Take the calls of a session, request or tenant ahead of others, or behind: higher first.

    Replaces the priority that the calls carry. With an `agent` it holds there alone, and goes
    before one without.
    """

    kind: ClassVar = "priority"
    scope: PriorityScope
    name: str
    value: int
    agent: AgentName | None = None

    @property
    def about(self) -> tuple[str, ...]:
        return (self.scope, self.name, *filter(None, (self.agent,)))


@dataclass(frozen=True, slots=True)
class Order:
    """Start calls of equal priority in another order than that of their arrival.

    By their deadline, those of the oldest request first, or the deepest in their call tree first.
    """

    kind: ClassVar = "order"
    agent: AgentName
    order: QueueOrder

    @property
    def about(self) -> tuple[str, ...]:
        return (self.agent,)


@dataclass(frozen=True, slots=True)
class Pause:
    """Start no calls of an agent, and take none in, until this is withdrawn."""

    kind: ClassVar = "pause"
    agent: AgentName

    @property
    def about(self) -> tuple[str, ...]:
        return (self.agent,)


@dataclass(frozen=True, slots=True)
class Limit:
    """Hold calls back that are too many: of an agent, of a tenant, or of those that use a model.

    What is None is not limited.
    """

    kind: ClassVar = "limit"
    scope: LimitScope
    name: str
    #: Calls that run at a time, in each worker; not for a model.
    concurrency: int | None = None
    #: Calls that start, and tokens that they use, in a minute; live workers share them equally.
    requests_per_min: float | None = None
    tokens_per_min: float | None = None

    @property
    def about(self) -> tuple[str, ...]:
        return (self.scope, self.name)


@dataclass(frozen=True, slots=True)
class Shed:
    """Refuse new requests for an agent whose priority is below `below`, with a hint when to retry.

    Calls that other calls make are let through: what was begun is finished.
    """

    kind: ClassVar = "shed"
    agent: AgentName
    below: int
    retry_after_s: float

    @property
    def about(self) -> tuple[str, ...]:
        return (self.agent,)


@dataclass(frozen=True, slots=True)
class Provision:
    """Keep so many workers of an agent alive: for supervisors."""

    kind: ClassVar = "provision"
    agent: AgentName
    workers: int

    @property
    def about(self) -> tuple[str, ...]:
        return (self.agent,)


@dataclass(frozen=True, slots=True)
class Drain:
    """A worker finishes what runs, gives back the rest, and ends."""

    kind: ClassVar = "drain"
    worker: WorkerId

    @property
    def about(self) -> tuple[str, ...]:
        return (self.worker,)


@dataclass(frozen=True, slots=True)
class Kill:
    """A worker ends at once; what runs there is run again elsewhere."""

    kind: ClassVar = "kill"
    worker: WorkerId

    @property
    def about(self) -> tuple[str, ...]:
        return (self.worker,)


Directive = (
    Route | SetWeights | SetPriority | Order | Pause | Limit | Shed | Provision | Drain | Kill
)
KINDS: Final[dict[str, type[Directive]]] = {kind.kind: kind for kind in get_args(Directive)}


@dataclass(frozen=True, slots=True)
class Issued:
    """A directive with who issued it, when, and why."""

    directive: Directive
    #: A policy's name, or `hand`.
    by: str
    reason: str
    at_s: float
    #: Of the leading controller: one that has lost its lease is outranked. 0 by hand.
    epoch: int = 0
    #: When it ends by itself; 0: when its kind does, or not before it is withdrawn.
    until_s: float = 0.0


def key_of(directive: Directive) -> str:
    """Return where a directive stands, in the control bucket."""
    return ".".join((DIRECTIVE, directive.kind, *directive.about))


def lifetime_s(directive: Directive) -> float | None:
    """Return for how long a directive stands, in seconds; None: until it is withdrawn.

    Those about one worker, session or request pass: nobody would withdraw them all.
    """
    passing = isinstance(directive, Drain | Kill | Route) or (
        isinstance(directive, SetPriority) and directive.scope == "request"
    )
    return PASSING_S if passing else None


def holds_up(directive: Directive) -> bool:
    """Say whether calls wait, or are refused, because of a directive."""
    return isinstance(directive, Pause | Limit | Shed | SetWeights)


def ends_at_s(issued: Issued) -> float | None:
    """Return when a directive ends by itself; None: not before it is withdrawn."""
    lasts_s = lifetime_s(issued.directive)
    return issued.until_s or (None if lasts_s is None else issued.at_s + lasts_s)


def prefix_of(kind: type[Directive]) -> str:
    """Return where the directives of one kind stand, in the control bucket."""
    return f"{DIRECTIVE}.{kind.kind}"


def encode_directive(issued: Issued) -> bytes:
    """Return the value of a directive's entry."""
    directive = issued.directive
    told: dict[str, object] = {"v": 1, "kind": directive.kind}
    values = ((name, getattr(directive, name)) for name in _field_names(type(directive)))
    told |= {name: value for name, value in values if value is not None}
    told |= {"by": issued.by, "reason": issued.reason, "at": issued.at_s, "epoch": issued.epoch}
    told |= {"until": issued.until_s} if issued.until_s else {}
    return orjson.dumps(told)


def decode_directive(key: str, body: bytes) -> Issued:
    """Return the directive that stands under `key`; raises MalformedMessage for what is none."""
    told: Any
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedMessage(f"the directive {key} is not JSON: {error}") from error
    if not isinstance(told, dict):
        raise MalformedMessage(f"the directive {key} is not a JSON object")
    given = cast("dict[str, Any]", told)
    if given.get("v") != 1:
        raise MalformedMessage(f"the directive {key} is of version {given.get('v')!r}, not 1")
    kind = KINDS.get(str(given.get("kind")))
    if kind is None:
        raise MalformedMessage(f"the directive {key} is of no known kind: {given.get('kind')!r}")
    values = {field.name: given[field.name] for field in fields(kind) if field.name in given}
    try:
        directive = kind(**values)
    except TypeError as error:
        raise MalformedMessage(f"the directive {key} is incomplete: {error}") from error
    if (wrong := flaw(directive)) or key_of(directive) != key:
        raise MalformedMessage(f"the directive {key} says {wrong or 'that it stands elsewhere'}")
    by, reason, at_s, epoch = (
        given.get("by", ""), given.get("reason", ""), given.get("at", 0), given.get("epoch", 0)
    )  # fmt: skip
    until_s = given.get("until", 0)
    return Issued(
        directive,
        str(by)[:1000],
        str(reason)[:1000],
        float(at_s) if isinstance(at_s, int | float) else 0.0,
        epoch if isinstance(epoch, int) else 0,
        float(until_s) if isinstance(until_s, int | float) else 0.0,
    )


#: What a directive may choose from.
_CHOICES: Final[dict[type[Directive], Any]] = {
    SetPriority: PriorityScope,
    Limit: LimitScope,
    Order: QueueOrder,
}


@cache
def _field_names(kind: type[Directive]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


@cache
def _optional_names(kind: type[Directive]) -> frozenset[str]:
    return frozenset(field.name for field in fields(kind) if field.default is None)


def flaw(directive: Directive) -> str:
    """Return what is wrong with a directive's values; empty when nothing is."""
    kind = type(directive)
    for name in _field_names(kind):
        value: object = getattr(directive, name)
        absent = value is None and name in _optional_names(kind)
        if not absent and not _fits(directive, name, value):
            return f"{name} = {value!r:.200}, which is not {_allowed(directive, name)}"
    return _limit_flaw(directive) if isinstance(directive, Limit) else ""


def _fits(directive: Directive, name: str, value: object) -> bool:
    match name:
        case "agent" | "session" | "name" | "worker":
            return isinstance(value, str) and is_wire_token(value)
        case "scope" | "order":
            return value in get_args(_CHOICES[type(directive)])
        case "retry_after_s" | "requests_per_min" | "tokens_per_min":
            return type(value) in (int, float) and 0 <= cast("float", value) < _NUMBER_MAX
        case "weights":
            return _are_weights(value)
        case "value" | "below":
            return type(value) is int and abs(value) < _NUMBER_MAX
        case _:
            return type(value) is int and 0 <= value < _NUMBER_MAX


def _allowed(directive: Directive, name: str) -> str:
    """Return what a value may be, for people."""
    match name:
        case "agent" | "session" | "name" | "worker":
            return "a name as it stands in subjects"
        case "scope" | "order":
            return f"one of {', '.join(get_args(_CHOICES[type(directive)]))}"
        case "retry_after_s" | "requests_per_min" | "tokens_per_min":
            return f"a number from 0 to {_NUMBER_MAX - 1:,}"
        case "weights":
            return f"a number from 0 to {WEIGHT_MAX:g} for each of 1 to {_WEIGHTS_MAX:,} workers"
        case "value" | "below":
            return f"a whole number from -{_NUMBER_MAX - 1:,} to {_NUMBER_MAX - 1:,}"
        case _:
            return f"a whole number from 0 to {_NUMBER_MAX - 1:,}"


def _are_weights(value: object) -> bool:
    if not isinstance(value, dict) or not 0 < len(value) <= _WEIGHTS_MAX:  # type: ignore[arg-type]
        return False
    given = cast("dict[object, object]", value)
    return all(
        isinstance(worker, str)
        and is_wire_token(worker)
        and type(weight) in (int, float)
        and 0 <= cast("float", weight) <= WEIGHT_MAX
        for worker, weight in given.items()
    )


def _limit_flaw(limit: Limit) -> str:
    if (limit.concurrency, limit.requests_per_min, limit.tokens_per_min) == (None, None, None):
        return "no number"
    if limit.scope == "model" and limit.concurrency is not None:
        return f"concurrency = {limit.concurrency!r} for a model"
    return ""
