"""Cancelling a call by committing its terminal record before the call does."""

from nalar.backend import Backend
from nalar.bus.codec import encode_record
from nalar.errors import CommitLost, CommitUnknown
from nalar.messages import ErrorInfo, Invocation, Record
from nalar.settings import Settings
from nalar.statestore.sessions import Sessions

#: Races with the session's own commits that a cancellation runs before it gives up.
_TRIES = 20


def cancelled(invocation: Invocation, now_s: float) -> Record:
    """Return the record of a call that was cancelled before it had a result."""
    return Record(
        ref=invocation.ref,
        method=invocation.method,
        session=invocation.session,
        status="cancelled",
        result=None,
        error=ErrorInfo("cancelled", "Cancelled", "the call was cancelled by its caller"),
        arguments=invocation.arguments,
        delta=None,
        worker="",
        attempt=invocation.attempt,
        created=invocation.created,
        started=now_s,
        finished=now_s,
        path=invocation.path,
        tenant=invocation.tenant,
        dependencies=invocation.dependencies,
        after=invocation.after,
    )


async def commit_cancelled(
    backend: Backend, settings: Settings, invocation: Invocation, *, now_s: float
) -> None:
    """Commit the cancellation unless a record stands; whoever commits first has decided."""
    ref = invocation.ref
    body = encode_record(cancelled(invocation, now_s))
    ttl_s = invocation.deadline - now_s + settings.retention_s
    for _ in range(_TRIES):
        expected = 0
        if ref.effect == "s":
            session = await Sessions(backend, settings).open(ref.agent, ref.session)
            if session.fold.has(ref.future):
                return
            expected = session.fold.revision
        elif await backend.ledger.read([ref]):
            return
        try:
            await backend.ledger.commit(ref, body, expected=expected, ttl_s=ttl_s)
        except (CommitLost, CommitUnknown):
            continue
        return
    raise CommitUnknown(f"{ref.agent} session {ref.session} is too busy to cancel {ref.future}")
