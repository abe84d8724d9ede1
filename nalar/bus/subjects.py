"""Every name on the wire: subjects, streams, buckets, durables, API calls.

Pure, and the only file that spells them. Tokens that come from users were encoded before they
came here (`nalar.ids.encode_token`), so names are put together and taken apart by dots alone.
"""

import base64
import hashlib
import re
from typing import Final, NamedTuple

from nalar.errors import InvalidToken
from nalar.ids import AgentName, FutureId, Ref, RootId, SessionId, WorkerId, is_wire_token

# Invocations: one work-queue stream an agent, one durable consumer a lane.

LANE_HIGH: Final = "q.high"
LANE_NORMAL: Final = "q.normal"
LANE_LOW: Final = "q.low"
#: The shared lanes, best first: any idle worker takes the next message.
SHARED_LANES: Final = (LANE_HIGH, LANE_NORMAL, LANE_LOW)

_INVOCATIONS = "nalar.inv"
#: Stands between the future and the attempt in a retry's subject. No wire token contains it.
_ATTEMPT_MARK = "+"


def lane_for_priority(priority: int) -> str:
    """Return the shared lane of calls with `priority`; 0 is normal."""
    if priority > 0:
        return LANE_HIGH
    return LANE_LOW if priority < 0 else LANE_NORMAL


def slot_lane(slot: int) -> str:
    """Return the lane of a stateful agent's stable mailbox number `slot`."""
    return f"s.{slot}"


def slot_of_lane(lane: str) -> int | None:
    """Return the number of the mailbox that `lane` is; None for a shared lane."""
    return int(lane[2:]) if lane.startswith("s.") else None


def slot_of(session: SessionId, slots: int) -> int:
    """Return the mailbox of `session` among 0…slots-1; the same everywhere and for ever."""
    digest = hashlib.blake2b(session.encode(), digest_size=8).digest()
    return int.from_bytes(digest) % slots


class InvocationSubject(NamedTuple):
    """What the subject of an invocation says."""

    agent: AgentName
    lane: str
    future: FutureId


def invocation_subject(
    agent: AgentName, lane: str, future: FutureId, attempt: int = 1, hops: int = 0
) -> str:
    """Return where a call waits.

    The stream keeps one message a subject, so a copy of a waiting call is refused. A retry is
    published before the failed attempt is acknowledged and must not be: it says its number. So
    does a call that is passed on from lane to lane: it may come back to one that it has not left.
    """
    suffix = f"{_ATTEMPT_MARK}{attempt}" if attempt > 1 or hops else ""
    if hops:
        suffix += f"-{hops}"
    return f"{_INVOCATIONS}.{agent}.{lane}.{future}{suffix}"


def parse_invocation_subject(subject: str) -> InvocationSubject:
    """Take an invocation's subject apart; raises InvalidToken when it is none."""
    parts = subject.split(".")
    if len(parts) != 6 or parts[0] != "nalar" or parts[1] != "inv":  # noqa: PLR2004 -- its shape
        raise InvalidToken(f"{subject[:200]!r} is not the subject of an invocation")
    future, _, _ = parts[5].partition(_ATTEMPT_MARK)
    return InvocationSubject(AgentName(parts[2]), f"{parts[3]}.{parts[4]}", FutureId(future))


def carries(subject: str, ref: Ref) -> bool:
    """Say whether an invocation that came on `subject` may be the one that `ref` names."""
    future = subject.rpartition(".")[2].partition(_ATTEMPT_MARK)[0]
    return future == ref.future and subject.startswith(f"{_INVOCATIONS}.{ref.agent}.")


def check_agent(agent: str) -> None:
    """Raise InvalidToken unless `agent` may name a stream and stand in a subject."""
    if not is_wire_token(agent):
        raise InvalidToken(f"{agent[:200]!r} cannot name an agent on the wire")


def queue_stream(agent: AgentName) -> str:
    """Return the name of the agent's work-queue stream."""
    return f"NALAR_INV_{agent}"


def queue_filter(agent: AgentName) -> str:
    """Return the subjects that the agent's stream keeps."""
    return f"{_INVOCATIONS}.{agent}.>"


def lane_filter(agent: AgentName, lane: str) -> str:
    """Return the subjects that a lane's consumer serves."""
    return f"{_INVOCATIONS}.{agent}.{lane}.*"


def lane_durable(lane: str) -> str:
    """Return the name of a lane's durable consumer."""
    return lane.replace(".", "-")


#: Asks at a lane's consumer say how busy the worker is, from 0 to LEVELS - 1: those of the idlest
#: are answered first. The server's name for that is a priority group.
ASK_GROUP: Final = "load"
LEVELS: Final = 10


def lanes(slots: int) -> tuple[str, ...]:
    """Return all lanes of an agent with `slots` mailboxes (0 without state)."""
    return (*SHARED_LANES, *(slot_lane(slot) for slot in range(slots)))


# The ledger: a KV bucket of records and snapshots; and the bucket of leases and directives.

LEDGER_BUCKET: Final = "nalar"
CONTROL_BUCKET: Final = "nalar_control"

_LEDGER = f"$KV.{LEDGER_BUCKET}."
_CALLS = "call."
_ARCHIVE = "archive."
_DONE = "nalar.done."
_CONTROL_NOTICE = "nalar.control."


def bucket_stream(bucket: str) -> str:
    """Return the stream behind a KV bucket."""
    return f"KV_{bucket}"


def bucket_filter(bucket: str) -> str:
    """Return the subjects of a KV bucket's stream."""
    return f"$KV.{bucket}.>"


_KEY = re.compile(r"[A-Za-z0-9_=/-]+(?:\.[A-Za-z0-9_=/-]+)*")


def check_key(key: str) -> None:
    """Raise InvalidToken unless `key` is tokens between dots, without wildcards or blanks."""
    if _KEY.fullmatch(key) is None:
        raise InvalidToken(f"{key[:200]!r} cannot be a key")


def key_subject(bucket: str, key: str) -> str:
    """Return the subject of one key of a bucket; raises InvalidToken when it can be none."""
    check_key(key)
    return f"$KV.{bucket}.{key}"


def subject_key(bucket: str, subject: str) -> str:
    """Return the key that `key_subject` was given."""
    return subject[len(bucket) + 5 :]


def record_subject(ref: Ref) -> str:
    """Return where the record of `ref` is published and kept."""
    return f"{_LEDGER}{ref}"


def archive_subject(ref: Ref) -> str:
    """Return where the record of `ref` is kept once it has left its session's log.

    Outside the fence, whose cost grows with what stands below it, and not announced again.
    """
    return f"{_LEDGER}{_ARCHIVE}{str(ref).removeprefix(_CALLS)}"


def is_archived(subject: str) -> bool:
    """Say whether `subject` is that of a record that was archived."""
    return subject.startswith(f"{_LEDGER}{_ARCHIVE}")


def record_ref(subject: str) -> Ref:
    """Return the ref whose record is kept under `subject`, in a log or archived."""
    key = subject[len(_LEDGER) :]
    if key.startswith(_ARCHIVE):
        key = _CALLS + key[len(_ARCHIVE) :]
    return Ref.parse(key)


def session_fence(agent: AgentName, session: SessionId) -> str:
    """Return the one string that every fenced write to a session compares over.

    The server keys its checks of writes in flight by this literal text: two writers with
    different but overlapping filters do not exclude each other on three replicas.
    """
    return f"{_LEDGER}call.s.{agent}.{session}.>"


def agent_records(agent: AgentName) -> str:
    """Return the ledger subjects of all records in sessions of `agent`."""
    return f"{_LEDGER}call.s.{agent}.>"


def commit_fence(ref: Ref) -> str:
    """Return what a commit of `ref` is compared over: its session's log, or its own key."""
    return session_fence(ref.agent, ref.session) if ref.effect == "s" else record_subject(ref)


def root_pattern(root: RootId) -> str:
    """Return the pattern of the request's own record: there the future is the root."""
    return f"call.*.*.*.{root}.*.{root}"


def pattern_subject(pattern: str) -> str:
    """Return the ledger subjects of refs that match `pattern`, archived or not.

    One wildcard finds both: nothing else in the bucket has as many tokens. Only what changes a
    session is ever archived.
    """
    if pattern.startswith(f"{_CALLS}r."):
        return f"{_LEDGER}{pattern}"
    return f"{_LEDGER}*.{pattern.removeprefix(_CALLS)}"


LEDGER_REPUBLISH: Final = (f"{_LEDGER}{_CALLS}>", f"{_DONE}>")
CONTROL_REPUBLISH: Final = (f"$KV.{CONTROL_BUCKET}.>", f"{_CONTROL_NOTICE}>")


def done_subject(pattern: str) -> str:
    """Return where records whose refs match `pattern` are announced."""
    return f"{_DONE}{pattern.removeprefix(_CALLS)}"


def done_ref(subject: str) -> Ref:
    """Return the ref announced on `subject`."""
    return Ref.parse(_CALLS + subject[len(_DONE) :])


def control_notices(prefix: str) -> tuple[str, ...]:
    """Return where changes of keys under the dotted `prefix` are announced."""
    bare = prefix.rstrip(".")
    return (
        (f"{_CONTROL_NOTICE}{bare}", f"{_CONTROL_NOTICE}{bare}.>")
        if bare
        else (f"{_CONTROL_NOTICE}>",)
    )


def control_notice_key(subject: str) -> str:
    """Return the key whose change is announced on `subject`."""
    return subject[len(_CONTROL_NOTICE) :]


def prefix_subjects(bucket: str, prefix: str) -> tuple[str, ...]:
    """Return the subjects of keys equal to or under the dotted `prefix`; all when empty."""
    bare = prefix.rstrip(".")
    return (f"$KV.{bucket}.{bare}", f"$KV.{bucket}.{bare}.>") if bare else (f"$KV.{bucket}.>",)


def under_prefix(key: str, prefix: str) -> bool:
    """Say whether `key` equals the dotted `prefix` or stands under it."""
    bare = prefix.rstrip(".")
    return not bare or key == bare or key.startswith(f"{bare}.")


def matches(pattern: tuple[str, ...], tokens: tuple[str, ...]) -> bool:
    """Say whether a subject's tokens match a pattern's: `*` is any one, a last `>` the rest."""
    if pattern and pattern[-1] == ">":
        head = pattern[:-1]
        return len(tokens) >= len(pattern) and matches(head, tokens[: len(head)])
    return len(pattern) == len(tokens) and all(
        want in ("*", token) for want, token in zip(pattern, tokens, strict=True)
    )


# Chunks: what calls yield before they end.

CHUNK_STREAM: Final = "NALAR_CHUNKS"
CHUNK_FILTER: Final = "nalar.chunk.>"
#: Stored, then announced here: only what is stored is heard of.
CHUNK_REPUBLISH: Final = (CHUNK_FILTER, "nalar.said.>")


def chunk_subject(ref: Ref) -> str:
    """Return where the chunks of a call are published and kept."""
    return f"nalar.chunk.{ref.agent}.{ref.root}.{ref.future}"


def said_subject(ref: Ref) -> str:
    """Return where the chunks of a call are announced."""
    return f"nalar.said.{ref.agent}.{ref.root}.{ref.future}"


# Metric reports: told, not stored.

_METRICS = "nalar.metrics."
METRICS_FILTER: Final = f"{_METRICS}*"
#: Where full reports are asked for.
METRICS_ASK: Final = "nalar.ask.metrics"


def metrics_subject(worker: WorkerId) -> str:
    """Return where a worker's metric reports are told."""
    return f"{_METRICS}{worker}"


# Blobs: the object store's standard layout, so that `nats object get` reads them.

BLOB_BUCKET: Final = "nalar_blobs"
BLOB_STREAM: Final = f"OBJ_{BLOB_BUCKET}"
BLOB_FILTERS: Final = (f"$O.{BLOB_BUCKET}.C.>", f"$O.{BLOB_BUCKET}.M.>")


#: The descriptions of all objects.
BLOB_INFOS: Final = BLOB_FILTERS[1]


def blob_chunks(nuid: str) -> str:
    """Return where the chunks of one upload are kept."""
    return f"$O.{BLOB_BUCKET}.C.{nuid}"


def blob_info(name: str) -> str:
    """Return where an object's description is kept; the layout wants its name in base64url."""
    return f"$O.{BLOB_BUCKET}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"


# JetStream's own API.


def api_stream(verb: str, stream: str) -> str:
    """Return the API call `verb` (CREATE, UPDATE, INFO, PURGE, …) of a stream."""
    return f"$JS.API.STREAM.{verb}.{stream}"


def api_consumer_create(stream: str, durable: str, filter_subject: str) -> str:
    """Return the API call that makes a durable consumer with one filter."""
    return f"$JS.API.CONSUMER.CREATE.{stream}.{durable}.{filter_subject}"


def api_consumer(verb: str, stream: str, durable: str) -> str:
    """Return the API call `verb` (INFO, DELETE) of a consumer."""
    return f"$JS.API.CONSUMER.{verb}.{stream}.{durable}"


def api_consumer_next(stream: str, durable: str) -> str:
    """Return the API call that pulls messages."""
    return f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"


def api_read(stream: str) -> str:
    """Return the API call that reads a message through the stream's leader."""
    return f"$JS.API.STREAM.MSG.GET.{stream}"


def api_direct(stream: str) -> str:
    """Return the API call that reads messages from any replica."""
    return f"$JS.API.DIRECT.GET.{stream}"


class AckInfo(NamedTuple):
    """What the reply subject of a delivered message says."""

    deliveries: int
    backlog: int


def parse_ack_subject(reply: bytes) -> AckInfo:
    """Read `$JS.ACK.…`, with (v2) or without (v1) domain and account; InvalidToken if neither.

    v1: stream, consumer, deliveries, stream sequence, consumer sequence, time, pending.
    v2: the same after a domain and an account hash, with a random token at the end.
    """
    parts = reply.split(b".")
    try:
        if len(parts) == 9:  # noqa: PLR2004 -- v1
            return AckInfo(int(parts[4]), int(parts[8]))
        if len(parts) >= 11:  # noqa: PLR2004 -- v2
            return AckInfo(int(parts[6]), int(parts[10]))
    except ValueError as error:
        raise InvalidToken(f"{reply[:200]!r} is not an ack subject") from error
    raise InvalidToken(f"{reply[:200]!r} is not an ack subject")
