"""Dead letters: what is kept of calls that failed for good, and of what was no call. Pure.

They stand in the control bucket under `dead.<id>`, by the future of the call or the digest of the
malformed message.
"""

import base64
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, cast

import orjson

from nalar.bus.codec import decode_invocation, encode_invocation
from nalar.bus.fields import as_object, dump_again, dumps, load_object, text_of
from nalar.bus.subjects import LANE_NORMAL, invocation_subject
from nalar.errors import MalformedMessage, Overloaded, UsageError, WorkerCrashed
from nalar.ids import FutureId, Ref, RootId, decode_token
from nalar.messages import Invocation, Record

#: Where they are kept, in the control bucket.
DEAD: Final = "dead"
#: No letter of ours says a later Unix time.
_LATEST = 1e11


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One of them, as operators see it."""

    id: str
    kind: Literal["call", "malformed"]
    #: Unix time in seconds.
    at: float
    reason: str
    #: Everything the entry says, JSON: see docs/protocol.md.
    told: dict[str, Any]
    #: Place of the entry in its bucket.
    revision: int = 0

    @property
    def agent(self) -> str:
        """Whose call it was; empty when nobody knows."""
        return str(self.told.get("agent", ""))

    @property
    def target(self) -> str:
        """`Agent.method`; empty for a message that was none."""
        return str(self.told.get("target", ""))

    @property
    def attempts(self) -> int:
        """How often the call was tried; 0 for a message that was none."""
        attempts = self.told.get("attempts")
        return attempts if isinstance(attempts, int) else 0

    @property
    def redriven_as(self) -> tuple[str, ...]:
        """The runs that were made of it."""
        runs = self.told.get("redriven_as")
        return tuple(map(str, cast("list[object]", runs))) if isinstance(runs, list) else ()


def is_due(record: Record, max_attempts: int) -> bool:
    """Say whether operators want to hear of a call that ended like this.

    Of every request that failed, expired or was refused, of every call that was to be tried
    again, and of every one that killed its workers. A plain call that failed has its record, and
    its caller dealt with it.
    """
    request = record.ref.future == record.ref.root
    if record.status in ("expired", "rejected"):
        return request and (record.error is None or record.error.code != Overloaded.code)
    if record.status != "failed" or record.error is None:
        return False
    return request or max_attempts > 1 or record.error.code == WorkerCrashed.code


def encode_letter(invocation: Invocation, record: Record) -> bytes:
    """Return the entry for a call that ended in `record`, with all that a redrive needs."""
    error = record.error
    assert error is not None, "a call that failed has an error"
    head, body = encode_invocation(replace(invocation, not_before=0.0))
    return dumps(
        {
            "kind": "call",
            "reason": f"{error.type_name}: {error.message}"[:1000],
            "at": record.finished,
            "agent": decode_token(invocation.ref.agent),
            "target": invocation.target,
            "path": invocation.path,
            "session": decode_token(invocation.session),
            "tenant": decode_token(invocation.tenant),
            "attempts": record.attempt,
            "worker": record.worker,
            "status": record.status,
            "error": {
                "code": error.code,
                "type_name": error.type_name,
                "message": error.message,
                "traceback": error.traceback,
                "path": error.path,
            },
            "ref": str(invocation.ref),
            "headers": head.decode(),
            "body": body.decode(),
        }
    )


def decode_letter(key: str, value: bytes | None, revision: int) -> DeadLetter:
    """Return the letter kept under `key`; raises MalformedMessage when it is none."""
    told = load_object(value or b"")
    dump_again(told)  # It will be: shown, and written with the run that is made of it.
    at = told.get("at")
    return DeadLetter(
        id=key.removeprefix(f"{DEAD}."),
        kind="call" if told.get("kind") == "call" else "malformed",
        at=at if isinstance(at, int | float) and 0 <= at < _LATEST else 0.0,
        reason=text_of(told, "reason", ""),
        told=told,
        revision=revision,
    )


def invocation_of(letter: DeadLetter) -> Invocation:
    """Return the call that `letter` is of; raises UsageError when it was none."""
    if letter.kind != "call":
        raise UsageError(
            f"{letter.id} cannot be redriven: it is a message that was no call ({letter.reason}). "
            "Its publisher must mend it and send it again"
        )
    try:
        ref = Ref.parse(text_of(letter.told, "ref"))
        subject = invocation_subject(ref.agent, LANE_NORMAL, ref.future)
        head, body = (text_of(letter.told, name).encode() for name in ("headers", "body"))
        return decode_invocation(subject, head, body)
    except (MalformedMessage, ValueError) as error:
        raise UsageError(f"{letter.id} cannot be redriven: {error}") from error


def redriven(
    invocation: Invocation, root: RootId, parent: str, *, now_s: float, deadline_s: float
) -> Invocation:
    """Return a new request for what `invocation` asked for: a record is final, so has a new id.

    It has the same target, arguments, session, tenant, priority and policy.
    """
    return replace(
        invocation,
        ref=replace(invocation.ref, root=root, parent=parent, future=FutureId(root)),
        deadline=now_s + deadline_s,
        created=now_s,
        after=None,
        attempt=1,
        holds=(),
        path=invocation.path.rpartition(" > ")[2],
        resent=False,
        not_before=0.0,
    )


def noted(letter: DeadLetter, run: str) -> bytes:
    """Return the entry's value with the run that was made of it."""
    return orjson.dumps(letter.told | {"redriven_as": [*letter.redriven_as, run]})


def details(letter: DeadLetter) -> dict[str, Any]:
    """Return everything a letter says, for people and programs: the arguments opened."""
    told = {name: value for name, value in letter.told.items() if name not in ("headers", "body")}
    shown: dict[str, Any] = {"id": letter.id, "kind": letter.kind, **told}
    if letter.kind == "malformed":
        raw = letter.told.get("raw")
        shown["raw"] = _text(raw) if isinstance(raw, str) else ""
        return shown
    try:
        body = as_object(orjson.loads(text_of(letter.told, "body")), "the body")
    except (MalformedMessage, orjson.JSONDecodeError):
        return shown
    shown |= {name: body[name] for name in ("arguments", "blob", "policy") if name in body}
    return shown


def _text(raw: str) -> str:
    try:
        return base64.b64decode(raw).decode("utf-8", "backslashreplace")
    except ValueError:
        return raw
