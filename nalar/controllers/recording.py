"""The record of a call in a worker's hands. Pure."""

from nalar.agents.executor import Outcome, describe_error
from nalar.controllers.held import Held
from nalar.errors import ArgumentError, Unavailable
from nalar.messages import Payload, Record
from nalar.statestore.managed import ManagedFields


def record_of(
    held: Held,
    outcome: Outcome,
    delta: bytes | None,
    worker: str,
    started: float,
    finished: float,
) -> Record:
    """Return what is to be stored of a call that ended in `outcome` and changed `delta`."""
    invocation = held.invocation
    return Record(
        ref=invocation.ref,
        method=invocation.method,
        session=invocation.session,
        status=outcome.status,
        result=None if outcome.result is None else Payload(outcome.result),
        error=outcome.error,
        arguments=invocation.arguments,
        delta=None if delta is None else Payload(delta),
        worker=worker,
        attempt=invocation.attempt,
        created=invocation.created,
        started=started,
        finished=finished,
        path=invocation.path,
        tenant=invocation.tenant,
        code=held.method.code if held.method is not None else "",
        dependencies=invocation.dependencies,
        orphans=held.orphans,
        after=invocation.after if held.slot is None else None,
    )


def kept_s(held: Held, finished: float, retention_s: float) -> float:
    """Return how long the record of a call that ends now is to be kept, in seconds.

    Raises Unavailable for a call that began here in time and whose record, had another worker
    written it, would have expired by now: this process slept, and nothing would refuse a second
    one. If there was none, the message comes again and is looked at anew.
    """
    deadline = held.invocation.deadline
    if 0 < held.started_s <= deadline and finished > deadline + retention_s:
        raise Unavailable("this process slept for so long that its record would have expired")
    return max(1.0, deadline - finished) + retention_s


def changed(outcome: Outcome, fields: ManagedFields, path: str) -> tuple[Outcome, bytes | None]:
    """Return the outcome with what the call changed; an error changes nothing."""
    if outcome.error is not None:
        return outcome, None
    try:
        return outcome, fields.delta()
    except ArgumentError as error:
        return Outcome("failed", error=describe_error(error, path)), None
