"""The answer to a message that can never run: a record with the reason, where its ref is known."""

from nalar.backend import Backend
from nalar.cancel import commit_end
from nalar.errors import InvalidToken, MalformedMessage
from nalar.ids import MethodName, Ref
from nalar.messages import ErrorInfo, Payload, Record
from nalar.settings import Settings

#: Characters of the reason that are kept.
_REASON_MAX = 1_000


async def reject(
    backend: Backend, settings: Settings, error: MalformedMessage, now_s: float
) -> None:
    """Commit a rejected record for the message that `error` is about, unless a record stands.

    Does nothing where its ref cannot be read: then nobody knows who waits. Raises Unavailable or
    CommitUnknown when it may be tried again.
    """
    if not error.ref:
        return
    try:
        ref = Ref.parse(error.ref)
    except InvalidToken:
        return
    record = Record(
        ref=ref,
        method=MethodName(""),
        session=ref.session,
        status="rejected",
        result=None,
        error=ErrorInfo("rejected", "MalformedMessage", str(error)[:_REASON_MAX]),
        arguments=Payload(b"{}"),
        delta=None,
        worker="",
        attempt=1,
        created=now_s,
        started=now_s,
        finished=now_s,
    )
    await commit_end(backend, settings, record, now_s)
