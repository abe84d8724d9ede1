"""Records as bytes: one JSON object each, which `nats kv get` shows.

Pure. A record's ref is the key it is kept under and does not stand in it again.
"""

from typing import Any, Final, TypeGuard

from nalar.bus.fields import (
    as_object,
    dumps,
    load_object,
    number_of,
    put_payload,
    refs_of_runs,
    runs_of_refs,
    take_payload,
    text_of,
)
from nalar.errors import InvalidToken, LaterProtocol, MalformedMessage
from nalar.ids import MethodName, Ref, SessionId
from nalar.messages import PROTOCOL_VERSION, ErrorInfo, Record, Status

_STATUSES: Final = frozenset(
    ("succeeded", "failed", "dependency_failed", "expired", "cancelled", "rejected")
)


def encode_record(record: Record) -> bytes:
    """Return the body of `record`."""
    fields: dict[str, object] = {
        "protocol": PROTOCOL_VERSION,
        "status": record.status,
        "method": record.method,
        "session": record.session,
        "worker": record.worker,
        "attempt": record.attempt,
        "created": record.created,
        "started": record.started,
        "finished": record.finished,
    }
    for name in ("path", "tenant", "code"):
        if value := getattr(record, name):
            fields[name] = value
    if record.dependencies:
        fields["deps"] = runs_of_refs(record.dependencies)
    if record.orphans:
        fields["orphans"] = record.orphans
    if record.after is not None:
        fields["after"] = str(record.after)
    if record.error is not None:
        error = record.error
        fields["error"] = {
            "code": error.code,
            "type_name": error.type_name,
            "message": error.message,
            "traceback": error.traceback,
            "path": error.path,
        } | ({} if error.retry_after_s is None else {"retry_after_s": error.retry_after_s})
    put_payload(fields, "arguments", record.arguments)
    put_payload(fields, "delta", record.delta)
    put_payload(fields, "result", record.result)
    return dumps(fields)


def decode_record(ref: Ref, body: bytes) -> Record:
    """Return the record kept under `ref`; raises MalformedMessage, never another."""
    fields = load_object(body)
    version = fields.get("protocol")
    if version != PROTOCOL_VERSION:
        later = isinstance(version, int) and version > PROTOCOL_VERSION
        told = f"record of unknown protocol {str(version)[:20]}"
        raise LaterProtocol(told) if later else MalformedMessage(told)
    status = fields.get("status")
    if not _is_status(status):
        raise MalformedMessage(f"record of unknown status {str(status)[:40]!r}")
    arguments, result = take_payload(fields, "arguments"), take_payload(fields, "result")
    if arguments is None or (result is None) == (status == "succeeded"):
        raise MalformedMessage(f"a record that {status} lacks its arguments, result or error")
    attempt = fields.get("attempt")
    if type(attempt) is not int:
        raise MalformedMessage("'attempt' is not a whole number")
    return Record(
        ref,
        MethodName(text_of(fields, "method")),
        SessionId(text_of(fields, "session")),
        status,
        result,
        None if result is not None else _error(fields.get("error")),
        arguments,
        take_payload(fields, "delta"),
        text_of(fields, "worker"),
        attempt,
        number_of(fields, "created"),
        number_of(fields, "started"),
        number_of(fields, "finished"),
        text_of(fields, "path", ""),
        text_of(fields, "tenant", ""),
        text_of(fields, "code", ""),
        _dependencies(fields),
        _orphans(fields),
        _after(fields),
    )


def _is_status(value: object) -> TypeGuard[Status]:
    return isinstance(value, str) and value in _STATUSES


def _error(value: object) -> ErrorInfo:
    fields = as_object(value, "error")
    return ErrorInfo(
        code=text_of(fields, "code"),
        type_name=text_of(fields, "type_name"),
        message=text_of(fields, "message"),
        traceback=text_of(fields, "traceback", ""),
        path=text_of(fields, "path", ""),
        retry_after_s=number_of(fields, "retry_after_s") if "retry_after_s" in fields else None,
    )


def _orphans(fields: dict[str, Any]) -> int:
    orphans = fields.get("orphans", 0)
    if type(orphans) is not int:
        raise MalformedMessage("'orphans' is not a whole number")
    return orphans


def _after(fields: dict[str, Any]) -> Ref | None:
    if "after" not in fields:
        return None
    try:
        return Ref.parse(text_of(fields, "after"))
    except InvalidToken as error:
        raise MalformedMessage(str(error)) from error


def _dependencies(fields: dict[str, Any]) -> tuple[Ref, ...]:
    runs = fields.get("deps")
    if runs is None:
        return ()
    try:
        return refs_of_runs(runs)
    except InvalidToken as error:
        raise MalformedMessage(str(error)) from error
