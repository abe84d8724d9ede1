"""Records that a call keeps of itself: timers, signals that it took, steps; and signals sent. Pure.

They stand in the ledger as its children do, under content-addressed ids, so that a call that runs
again finds them. Their agents' names begin with an underscore:

    _until   when a timer goes off: its result is a Unix time
    _timer   a timer has gone off
    _signal  a signal that the call took: its dependency is the signal as it was sent
    _step    what a step has returned
    _sent    a signal to the call, in the place of the session its name
"""

from typing import Any, Final

import orjson

from nalar.ids import NO_SESSION, AgentName, FutureId, MethodName, Ref, RootId, SessionId, child_id
from nalar.messages import ErrorInfo, Invocation, Payload, Record
from nalar.values.wire import canonical

UNTIL: Final = AgentName("_until")
TIMER: Final = AgentName("_timer")
SIGNAL: Final = AgentName("_signal")
STEP: Final = AgentName("_step")
SENT: Final = AgentName("_sent")

#: What the call does not ask for by these names: they belong to others of its records.
_BESIDE: Final = frozenset((UNTIL, SENT))
#: Code of the error of a wait that took too long.
TIMED_OUT: Final = "timeout"


def is_beside(ref: Ref) -> bool:
    """Say whether a child's record is one that its caller never claims."""
    return ref.agent in _BESIDE


def own_ref(caller: Ref, agent: AgentName, name: FutureId) -> Ref:
    """Return where the record `name` of the call `caller` stands."""
    return Ref("r", agent, NO_SESSION, caller.root, caller.future, name)


def until_ref(of: Ref) -> Ref:
    """Return where it stands when the timer, or the wait for a signal, `of` ends."""
    name = child_id(of.parent, UNTIL, canonical({"of": of.future}), 0)
    return Ref("r", UNTIL, NO_SESSION, of.root, of.parent, name)


def sent_ref(root: RootId, call: str, name: SessionId, signal: str) -> Ref:
    """Return where a signal to `call` stands; `name` is encoded."""
    return Ref("r", SENT, name, root, call, FutureId(signal))


def sent_pattern(root: str, call: str, name: str) -> str:
    """Return the pattern of the signals `name` (encoded) that were sent to `call`."""
    return f"call.r.{SENT}.{name}.{root}.{call}.*"


def own_record(
    of: Invocation,
    ref: Ref,
    arguments: dict[str, Any],
    result: Payload | ErrorInfo,
    *,
    created: float,
    finished: float,
) -> Record:
    """Return the record at `ref` of the running call `of`; `result` may be an error."""
    error = result if isinstance(result, ErrorInfo) else None
    label = ref.agent.removeprefix("_")
    return Record(
        ref=ref,
        method=MethodName(label),
        session=of.session,
        status="succeeded" if error is None else "failed",
        result=result if isinstance(result, Payload) else None,
        error=error,
        arguments=Payload(orjson.dumps(arguments)),
        delta=None,
        worker="",
        attempt=of.attempt,
        created=created,
        started=created,
        finished=finished,
        path=f"{of.path} > {label}",
        tenant=of.tenant,
    )


def sent_record(ref: Ref, name: str, value: Payload, now_s: float) -> Record:
    """Return the record of a signal that is sent to the call that `ref` has for a parent."""
    return Record(
        ref=ref,
        method=MethodName("signal"),
        session=ref.session,
        status="succeeded",
        result=value,
        error=None,
        arguments=Payload(orjson.dumps({"name": name})),
        delta=None,
        worker="",
        attempt=1,
        created=now_s,
        started=now_s,
        finished=now_s,
    )


def timed_out(name: str, timeout_s: float) -> ErrorInfo:
    """Return the error of a wait for the signal `name` that took too long."""
    message = f"no signal {name!r} came within {timeout_s:g} s"
    return ErrorInfo(TIMED_OUT, "CallTimeout", message)
