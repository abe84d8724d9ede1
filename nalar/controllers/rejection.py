"""The answer to what can never run: a record with the reason, where it is known who waits."""

from nalar.agents.executor import Outcome
from nalar.backend import Backend
from nalar.calls.cancel import commit_end
from nalar.controllers.dead import bury
from nalar.controllers.held import Held
from nalar.controllers.recording import record_of
from nalar.errors import InvalidToken, MalformedMessage
from nalar.ids import Ref
from nalar.messages import ErrorInfo, bare_record
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
    told = ErrorInfo("rejected", "MalformedMessage", str(error)[:_REASON_MAX])
    record = bare_record(ref, "rejected", told, now_s)
    await commit_end(backend, settings, record, now_s)


async def end_unread(
    backend: Backend, settings: Settings, held: Held, outcome: Outcome, worker: str, now_s: float
) -> None:
    """Commit `outcome` for a call whose session cannot be read, unless a record stands.

    It changes nothing. Raises NalarError when it may be tried again.
    """
    record = record_of(held, outcome, None, worker, now_s, now_s)
    await commit_end(backend, settings, record, held.invocation.deadline)
    await bury(backend, settings, held, record)
