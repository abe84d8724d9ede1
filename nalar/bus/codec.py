"""Messages as bytes: an invocation is headers and a JSON body, a record is one JSON object.

Pure. Whatever bytes come in, what comes out is a message or a MalformedMessage that says what is
wrong. Headers carry what the control plane reads without opening the body. `Nalar-Ref` holds
agent, session, root, parent and future in one: five headers would be five chances to disagree.
"""

from typing import Any, Final

import orjson

from nalar.bus.call_policies import policy_fields, policy_of
from nalar.bus.fields import (
    blob_fields,
    blob_of,
    dump_again,
    dumps,
    load_object,
    refs_of_runs,
    runs_of_refs,
    text_of,
)
from nalar.bus.records import decode_record, encode_record
from nalar.bus.subjects import carries
from nalar.errors import InvalidToken, MalformedMessage
from nalar.ids import MethodName, Ref, SessionId, is_wire_token
from nalar.messages import PROTOCOL_VERSION, Invocation, Payload

__all__ = ["decode_invocation", "decode_record", "encode_invocation", "encode_record"]

#: More dependencies than this go into the body: a header block must stay small.
HEADER_DEPENDENCIES_MAX: Final = 100
#: Length of the dependency header above which it, too, goes into the body.
HEADER_DEPENDENCIES_MAX_BYTES: Final = 16 * 1024
#: A header block never grows beyond this, so a body of the payload limit less this fits.
HEADERS_MAX_BYTES: Final = 32 * 1024

_ARGUMENTS = b',"arguments":'
_VERSION = str(PROTOCOL_VERSION)
_REF = b"nalar-ref"
_INT_MAX_DIGITS = 18
#: Times are seconds of the Unix clock; no number of another kind is let through.
_EARLIEST, _LATEST = -1e15, 1e15
_REQUIRED_LINES = 7

#: Our headers as our own encoder spells them.
_SPELLED: Final = frozenset(
    (
        "Nalar-Protocol", "Nalar-Ref", "Nalar-Method", "Nalar-Session", "Nalar-Deadline",
        "Nalar-Created", "Nalar-Tenant", "Nalar-Priority", "Nalar-Deps", "Nalar-After",
        "Nalar-Seen", "Nalar-Attempt", "Nalar-Hops", "Nalar-Holds", "Nalar-Resent",
        "Nalar-Not-Before", "traceparent",
    )
)  # fmt: skip
_BY_LOWER: Final = {name.lower(): name for name in _SPELLED}
_REQUIRED: Final = (
    "Nalar-Ref", "Nalar-Method", "Nalar-Session", "Nalar-Deadline", "Nalar-Created",
)  # fmt: skip


# Out.


def encode_invocation(invocation: Invocation) -> tuple[bytes, bytes]:
    """Return the raw header block and the body of `invocation`.

    Raises InvalidToken when a value cannot stand in a header (a line break would be another
    header, or another command).
    """
    dependencies = ",".join(map(str, invocation.dependencies))
    in_body = (
        len(invocation.dependencies) > HEADER_DEPENDENCIES_MAX
        or len(dependencies) > HEADER_DEPENDENCIES_MAX_BYTES
    )
    extra = _optional_headers(invocation, "" if in_body else dependencies)
    head = (
        f"NATS/1.0\r\nNalar-Protocol: {PROTOCOL_VERSION}\r\nNalar-Ref: {invocation.ref}\r\n"
        f"Nalar-Method: {invocation.method}\r\nNalar-Session: {invocation.session}\r\n"
        f"Nalar-Deadline: {invocation.deadline!r}\r\nNalar-Created: {invocation.created!r}\r\n"
        f"{''.join(extra)}"
    )
    lines = _REQUIRED_LINES + len(extra)
    if head.count("\n") != lines or head.count("\r") != lines:
        raise InvalidToken(f"the call of {invocation.target!r} has a line break in a header")
    try:
        return f"{head}\r\n".encode(), _invocation_body(invocation, in_body=in_body)
    except UnicodeEncodeError as error:
        raise InvalidToken(f"{invocation.target!r} has a header that is not Unicode") from error


def _optional_headers(invocation: Invocation, dependencies: str) -> list[str]:
    """Return the lines of the headers whose values are not the default."""
    after = invocation.after
    optional = (
        ("Nalar-Tenant", invocation.tenant),
        ("Nalar-Priority", invocation.priority),
        ("Nalar-Deps", dependencies),
        ("Nalar-After", "" if after is None else str(after)),
        ("Nalar-Seen", invocation.seen),
        ("Nalar-Attempt", 0 if invocation.attempt == 1 else invocation.attempt),
        ("Nalar-Hops", invocation.hops),
        ("Nalar-Holds", ",".join(invocation.holds)),
        ("Nalar-Resent", int(invocation.resent)),
        ("Nalar-Not-Before", repr(invocation.not_before) if invocation.not_before else ""),
        ("traceparent", invocation.traceparent),
    )
    return [f"{name}: {value}\r\n" for name, value in optional if value]


def _invocation_body(invocation: Invocation, *, in_body: bool) -> bytes:
    """Return the JSON body, the arguments spliced in last so that a reader finds them."""
    fields: dict[str, object] = {"path": invocation.path}
    if in_body:
        fields["deps"] = runs_of_refs(invocation.dependencies)
    if invocation.policy is not None:
        fields["policy"] = policy_fields(invocation.policy)
    text = invocation.arguments.text
    if text is not None:
        return b"".join((dumps(fields)[:-1], _ARGUMENTS, text, b"}"))
    assert invocation.arguments.blob is not None, "a payload has a text or a blob"
    fields["blob"] = blob_fields(invocation.arguments.blob)
    return dumps(fields)


# In.


def decode_invocation(subject: str, headers: bytes | None, body: bytes) -> Invocation:
    """Return the invocation that came on `subject`; raises MalformedMessage, never another.

    The error names the ref where it can be read all the same: its caller waits for an answer.
    """
    try:
        return _decode_invocation(subject, _parse_headers(headers), body)
    except (InvalidToken, MalformedMessage) as error:
        malformed = MalformedMessage(str(error))
    except UnicodeDecodeError as error:
        malformed = MalformedMessage(f"a header is not UTF-8: {error.reason}")
    malformed.ref = _claimed_ref(subject, headers or b"")
    raise malformed


def _claimed_ref(subject: str, headers: bytes) -> str:
    """Return the one ref that broken headers name, if the message may be that call's."""
    pairs = (line.partition(b":") for line in headers.split(b"\r\n"))
    values = [value.strip() for name, _, value in pairs if name.strip().lower() == _REF]
    try:
        text = values[0].decode() if len(values) == 1 else ""
        return text if carries(subject, Ref.parse(text)) else ""
    except (InvalidToken, UnicodeDecodeError):
        return ""


def _decode_invocation(subject: str, headers: dict[str, str], body: bytes) -> Invocation:
    ref = Ref.parse(headers["Nalar-Ref"])
    if not carries(subject, ref):
        raise MalformedMessage(f"Nalar-Ref says {str(ref)[:300]!r} but came on {subject[:300]!r}")
    envelope, arguments = _open_body(body)
    in_body = envelope.get("deps")
    required = (
        ref,
        MethodName(headers["Nalar-Method"]),
        _session(headers, ref),
        arguments,
        _number(headers, "Nalar-Deadline"),
        _number(headers, "Nalar-Created"),
        _refs(headers) if in_body is None else refs_of_runs(in_body),
    )
    path = text_of(envelope, "path", "")
    told = envelope.get("policy")
    policy = None if told is None else policy_of(told)
    if len(headers) <= len(_REQUIRED) + 1:  # The version, and nothing that is not required.
        return Invocation(*required, path=path, policy=policy)
    after = headers.get("Nalar-After")
    attempt = _integer(headers, "Nalar-Attempt", 1)
    if attempt < 1:
        raise MalformedMessage(f"header Nalar-Attempt is below 1: {attempt}")
    return Invocation(
        *required,
        after=None if after is None else Ref.parse(after),
        seen=max(0, _integer(headers, "Nalar-Seen", 0)),
        tenant=_token(headers, "Nalar-Tenant"),
        priority=_integer(headers, "Nalar-Priority", 0),
        attempt=attempt,
        hops=max(0, _integer(headers, "Nalar-Hops", 0)),
        holds=_holds(headers),
        path=path,
        traceparent=headers.get("traceparent", ""),
        resent="Nalar-Resent" in headers,
        not_before=_number(headers, "Nalar-Not-Before") if "Nalar-Not-Before" in headers else 0.0,
        policy=policy,
    )


def _parse_headers(raw: bytes | None) -> dict[str, str]:
    """Return our headers by name, in any spelling; the version and what is required are there."""
    if raw is None:
        raise MalformedMessage("there are no headers: Nalar-Protocol is missing")
    found: dict[str, str] = {}
    for line in raw.decode().split("\r\n"):
        name, _, value = line.partition(":")
        if name not in _SPELLED:
            known = _BY_LOWER.get(name.strip().lower())
            if known is None:
                continue
            name = known
        if name in found:
            raise MalformedMessage(f"header {name} stands twice")
        found[name] = value.strip()
    _check_required(found)
    return found


def _check_required(found: dict[str, str]) -> None:
    version = found.get("Nalar-Protocol")
    if version is None:
        raise MalformedMessage("header Nalar-Protocol is missing")
    if version != _VERSION:
        raise MalformedMessage(
            f"protocol version {version[:20]!r} is unknown; this is version {PROTOCOL_VERSION}"
        )
    for name in _REQUIRED:
        if not found.get(name):
            raise MalformedMessage(f"header {name} is missing")


def _session(headers: dict[str, str], ref: Ref) -> SessionId:
    session = headers["Nalar-Session"]
    if session != ref.session:
        if ref.effect == "s":
            raise MalformedMessage("Nalar-Session and Nalar-Ref name different sessions")
        if not is_wire_token(session):
            raise MalformedMessage(f"header Nalar-Session {session[:200]!r} is not one token")
    return SessionId(session)


def _token(headers: dict[str, str], name: str) -> str:
    value = headers.get(name, "")
    if value and not is_wire_token(value):
        raise MalformedMessage(f"header {name} {value[:200]!r} is not one token")
    return value


def _number(headers: dict[str, str], name: str) -> float:
    text = headers[name]
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not (_EARLIEST < value < _LATEST) or "_" in text or not text.isascii():
        raise MalformedMessage(f"header {name} is no finite number: {text[:40]!r}")
    return value


def _integer(headers: dict[str, str], name: str, default: int) -> int:
    text = headers.get(name)
    if text is None:
        return default
    digits = text.removeprefix("-")
    if len(text) > _INT_MAX_DIGITS or not digits.isdigit() or not digits.isascii():
        raise MalformedMessage(f"header {name} is no whole number: {text[:40]!r}")
    return int(text)


def _holds(headers: dict[str, str]) -> tuple[str, ...]:
    text = headers.get("Nalar-Holds")
    return tuple(text.split(",")) if text else ()


def _refs(headers: dict[str, str]) -> tuple[Ref, ...]:
    text = headers.get("Nalar-Deps")
    return tuple(map(Ref.parse, text.split(","))) if text else ()


def _open_body(body: bytes) -> tuple[dict[str, Any], Payload]:
    """Return the body's envelope and the text, or blob, of its arguments.

    Our own encoder puts the arguments last, so their text is usually a slice of the body and
    need not be written again. Both pieces are parsed: a slice that is not exactly one JSON
    object means that the keys stand in another order, or that the body is malformed.
    """
    left, mark, text = body.partition(_ARGUMENTS)
    if mark and text.endswith(b"}"):
        text = text[:-1]
        try:
            envelope, arguments = orjson.loads(left + b"}"), orjson.loads(text)
        except orjson.JSONDecodeError:
            pass
        else:
            # `left` opens with an object's brace and closes with one that we put there.
            if isinstance(arguments, dict) and "arguments" not in envelope:
                return envelope, Payload(text)
    envelope = load_object(body)
    blob = envelope.get("blob")
    if blob is not None:
        return envelope, Payload(None, blob_of(blob))
    if not isinstance(envelope.get("arguments"), dict):
        raise MalformedMessage("the body has no object under 'arguments' and no 'blob'")
    return envelope, Payload(dump_again(envelope["arguments"]))
