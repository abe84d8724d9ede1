"""Ending a call from outside: a notice to all workers, and its record before the call has one."""

from dataclasses import replace

from nalar.backend import Backend
from nalar.bus.codec import encode_record
from nalar.calls.notices import encode_notice, notice_key
from nalar.calls.waking import wake_cancelled
from nalar.errors import CommitLost, CommitUnknown, SessionUnreadable
from nalar.ids import Ref
from nalar.messages import ErrorInfo, Invocation, Payload, Record, Status
from nalar.settings import Settings
from nalar.statestore.sessions import Sessions

#: Races with the session's own commits that a cancellation runs before it gives up.
_TRIES = 20
#: Characters of an error that are kept.
_MESSAGE_MAX = 4_000


def ended(invocation: Invocation, now_s: float, cause: BaseException | None) -> Record:
    """Return the record of a call that ended before it had a result.

    It was cancelled, came too late, or could not be sent because of `cause`.
    """
    if cause is not None:
        status: Status = "rejected"
        error = ErrorInfo("rejected", type(cause).__name__, str(cause)[:_MESSAGE_MAX])
    elif now_s < invocation.deadline:
        status = "cancelled"
        error = ErrorInfo("cancelled", "Cancelled", "the call was cancelled by its caller")
    else:
        status = "expired"
        error = ErrorInfo("expired", "Expired", "the deadline passed before the call was stored")
    return Record(
        ref=invocation.ref,
        method=invocation.method,
        session=invocation.session,
        status=status,
        result=None,
        error=error,
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


async def put_notice(backend: Backend, root: str, token: str, now_s: float, until_s: float) -> None:
    """Tell all workers that the call or run `token` is cancelled, with all that came of it.

    `root` is the run that it belongs to. Calls that are suspended are woken, to end now.

    The notice stands until `until_s`, Unix time: the deadline that no call of it outlives. Raises
    Unavailable when nobody knows whether it stands.
    """
    value = encode_notice(now_s, until_s)
    await backend.control.put(notice_key(token), value, ttl_s=max(1.0, until_s - now_s))
    await wake_cancelled(backend, root, token)


async def commit_end(backend: Backend, settings: Settings, record: Record, deadline: float) -> None:
    """Commit the end of the call unless a record stands; whoever commits first has decided.

    Raises Unavailable or CommitUnknown when it may be tried again.
    """
    ref = record.ref
    body = encode_record(record)
    text = record.arguments.text
    if len(body) > backend.inline_max_bytes and text is not None:
        blob = await backend.blobs.put(text)
        body = encode_record(replace(record, arguments=Payload(None, blob), dependencies=()))
    ttl_s = max(0.0, deadline - record.finished) + settings.retention_s
    for _ in range(_TRIES):
        expected = 0
        if ref.effect == "s":
            end = await _end_of_session(backend, settings, ref)
            if end is None:
                return
            expected = end
        elif await backend.ledger.read([ref]):
            return
        try:
            await backend.ledger.commit(ref, body, expected=expected, ttl_s=ttl_s)
        except (CommitLost, CommitUnknown):
            continue
        return
    raise CommitUnknown(f"{ref.agent} session {ref.session} is too busy to cancel {ref.future}")


async def _end_of_session(backend: Backend, settings: Settings, ref: Ref) -> int | None:
    """Return where the log of a call's session ends; None when the call is part of it.

    Of a session that cannot be read only the call's own key tells.
    """
    try:
        session = await Sessions(backend, settings).open(ref.agent, ref.session)
    except SessionUnreadable:
        if await backend.ledger.read([ref]):
            return None
        _, end = await backend.ledger.session_log(ref.agent, ref.session, after=0)
        return end
    return None if session.fold.has(ref.future) else session.fold.revision
