"""The record of a call in a worker's hands. Pure."""

from nalar.agents.executor import Outcome
from nalar.controllers.held import Held
from nalar.messages import Payload, Record


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
