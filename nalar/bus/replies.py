"""What the server answers, taken apart: statuses, publish acks, stored messages, errors.

Pure. Headers stay raw bytes; only the few that matter are looked for.
"""

import base64
from dataclasses import dataclass
from typing import Any, Final

import orjson

from nalar.errors import NalarError, Unavailable, UnsupportedServer

#: JetStream's error codes that mean something to us.
WRONG_LAST_SEQUENCE: Final = 10071
WRONG_LAST_SEQUENCE_UNCLEAR: Final = 10164
#: For whatever reason: the description tells a full stream from a subject that is taken.
NOT_STORED: Final = 10077
NO_MESSAGE: Final = 10037
STREAM_NOT_FOUND: Final = 10059
STREAM_NAME_IN_USE: Final = 10058
JETSTREAM_DISABLED: Final = frozenset((10039, 10076))
JETSTREAM_UNAVAILABLE: Final = 10008
TOO_FEW_SERVERS: Final = 10005
#: What a cluster says while it elects leaders, or while servers of it are still to join.
ELECTING: Final = frozenset((TOO_FEW_SERVERS, JETSTREAM_UNAVAILABLE, 10009, 10118))
#: No cluster keeps this stream, so that it cannot have several copies.
REPLICAS_UNSUPPORTED: Final = 10074

#: Digits of the largest number that a header may hold.
_DIGITS_MAX: Final = 20

#: Older servers lose or refuse what these do not (security and write-path fixes).
SERVER_FLOORS: Final = ((2, 14, 5), (2, 15, 1))


class ApiError(NalarError):
    """JetStream refused a request; `err_code` is its own number for why."""

    code = "api"

    def __init__(self, message: str, *, err_code: int = 0) -> None:
        super().__init__(message)
        self.err_code = err_code


class Unanswered(Unavailable):
    """No answer came: whether the request took effect is unknown."""


class NoResponders(Unavailable):
    """Nobody listens: no such stream or consumer, or it has no leader at the moment."""


def status_of(headers: bytes | None) -> int:
    """Return the inline status of a header block (`NATS/1.0 404 …`), or 0."""
    if headers is None or not headers.startswith(b"NATS/1.0 ") or not headers[9:12].isdigit():
        return 0
    return int(headers[9:12])


def description_of(headers: bytes) -> str:
    """Return the text after the inline status."""
    return headers[12 : headers.find(b"\r\n")].strip().decode("utf-8", "replace")


def header_of(headers: bytes, name: bytes) -> bytes | None:
    """Return the last header of that exact name: the server appends its own after a message's."""
    at = headers.rfind(b"\r\n" + name + b": ")
    if at < 0:
        return None
    start = at + len(name) + 4
    return headers[start : headers.find(b"\r\n", start)]


def number_of(headers: bytes, name: bytes) -> int | None:
    """Return a header that is a whole number of at most 64 bits; None for anything else."""
    value = header_of(headers, name) or b""
    return int(value) if value.isdigit() and len(value) <= _DIGITS_MAX else None


def parse_api(data: bytes) -> dict[str, Any]:
    """Return an API reply; raises ApiError for a refusal."""
    try:
        reply: dict[str, Any] = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ApiError(f"a reply is not JSON: {data[:100]!r}") from error
    failure: dict[str, Any] | None = reply.get("error")
    if failure is not None:
        raise ApiError(
            str(failure.get("description", "refused")), err_code=int(failure.get("err_code", 0))
        )
    return reply


def hears_most_copies(told: dict[str, Any], within_s: float) -> bool:
    """Say whether who tells of a stream heard from most of its copies within so many seconds."""
    cluster: dict[str, Any] = told.get("cluster") or {}
    followers: list[dict[str, Any]] = cluster.get("replicas") or []
    # 0 for who answers just now, and for who never has: in a stream that has only just been made.
    heard = [it for it in followers if it.get("active", 0) <= within_s * 1e9]
    return 2 * (1 + len(heard)) > 1 + len(followers)


def parse_stored(data: bytes) -> int:
    """Return the sequence that a publish ack names; raises ApiError for a refusal."""
    return int(parse_api(data)["seq"])


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message as a stream keeps it."""

    subject: str
    sequence: int
    headers: bytes
    data: bytes


def parse_leader_read(data: bytes) -> StoredMessage | None:
    """Read the reply of STREAM.MSG.GET; None when there is no such message."""
    try:
        message: dict[str, Any] = parse_api(data)["message"]
    except ApiError as error:
        if error.err_code == NO_MESSAGE:
            return None
        raise
    return StoredMessage(
        subject=message["subject"],
        sequence=message["seq"],
        headers=base64.b64decode(message.get("hdrs", "")),
        data=base64.b64decode(message.get("data", "")),
    )


def parse_direct(headers: bytes, data: bytes) -> StoredMessage:
    """Read one message of a direct get; raises ApiError when a header is missing."""
    subject, sequence = header_of(headers, b"Nats-Subject"), number_of(headers, b"Nats-Sequence")
    if subject is None or sequence is None:
        raise ApiError(f"a direct read without subject or sequence: {headers[:200]!r}")
    return StoredMessage(subject.decode(), sequence, headers, data)


def is_deleted(headers: bytes) -> bool:
    """Say whether a key-value entry is a deletion, a purge or an expiry's marker."""
    return (
        header_of(headers, b"KV-Operation") is not None
        or header_of(headers, b"Nats-Marker-Reason") is not None
    )


def check_server(info: dict[str, Any], url: str) -> None:
    """Raise unless the server is new enough and keeps data."""
    found = str(info.get("version", "0.0.0"))
    numbers = tuple(int(part) for part in found.partition("-")[0].split(".") if part.isdigit())
    fits = any(numbers >= floor and numbers[:2] == floor[:2] for floor in SERVER_FLOORS)
    if not fits and numbers < SERVER_FLOORS[-1]:
        floors = " or ".join(".".join(map(str, floor)) for floor in SERVER_FLOORS)
        raise UnsupportedServer(
            f"the nats-server at {url} is version {found}; Nalar needs {floors}, or newer"
        )
    if not info.get("jetstream"):
        raise Unavailable(
            f"the nats-server at {url} keeps no data: JetStream is off. Start it with "
            "`nats-server -js -sd DIR`, or put `jetstream { store_dir: DIR }` in its configuration"
        )
