"""The record of a call in a worker's hands. Pure."""

from nalar.agents.executor import Outcome, describe_error
from nalar.controllers.held import Held
from nalar.errors import ArgumentError
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


def changed(outcome: Outcome, fields: ManagedFields, path: str) -> tuple[Outcome, bytes | None]:
    """Return the outcome with what the call changed; an error changes nothing."""
    if outcome.error is not None:
        return outcome, None
    try:
        return outcome, fields.delta()
    except ArgumentError as error:
        return Outcome("failed", error=describe_error(error, path)), None
