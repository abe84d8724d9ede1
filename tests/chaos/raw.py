"""The ledger as any program may read it: the raw stream, decoded by `docs/protocol.md`.

Imports nothing of nalar: nats-py and the standard library only.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

STREAM: Final = "KV_nalar"
QUEUES: Final = "NALAR_INV_"
_BUCKET: Final = "$KV.nalar."
_EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"
_EXPECTED_SUBJECT: Final = "Nats-Expected-Last-Subject-Sequence-Subject"
_REVISION: Final = "Nalar-Revision"
_FOLLOWS: Final = "Nalar-Follows"
_FETCH: Final = 1000
_PATIENCE_S: Final = 10.0


class NoRecord(ValueError):
    """A message that the protocol does not allow in the ledger."""


@dataclass(frozen=True)
class Entry:
    """One message of the bucket."""

    sequence: int
    key: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Record:
    """A record, with what its key and headers say."""

    sequence: int
    effect: str
    agent: str
    session: str
    root: str
    parent: str
    future: str
    #: What it was compared over when it was stored, and at which sequence; None where unfenced.
    fence: str | None
    expected: int | None
    body: Mapping[str, Any]
    #: A copy outside the log; `sequence` and `expected` are its original's.
    archived: bool = False

    @property
    def where(self) -> str:
        return f"{self.agent} {self.session} {self.future} at {self.sequence}"

    @property
    def own_key(self) -> str:
        return f"{_BUCKET}call.{self.effect}.{self._tail}"

    @property
    def right_fence(self) -> str:
        """What the protocol says that it is to be compared over."""
        if self.effect == "s":
            return f"{_BUCKET}call.s.{self.agent}.{self.session}.>"
        return self.own_key

    @property
    def _tail(self) -> str:
        return f"{self.agent}.{self.session}.{self.root}.{self.parent}.{self.future}"


@dataclass
class Ledger:
    """Everything that the bucket holds, in the order of the stream."""

    records: list[Record] = field(default_factory=list[Record])
    #: Snapshots by (agent, session).
    snapshots: dict[tuple[str, str], Mapping[str, Any]] = field(
        default_factory=dict[tuple[str, str], Mapping[str, Any]]
    )
    #: Pages of ids, by key.
    pages: dict[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    #: What the protocol does not know.
    strange: list[str] = field(default_factory=list[str])

    def add(self, entry: Entry) -> None:
        """Take in one message; what is none of ours is remembered as strange."""
        kind, _, rest = entry.key.partition(".")
        try:
            if kind in ("call", "archive"):
                self.records.append(decode(entry))
            elif kind == "state":
                agent, session = rest.split(".")
                self.snapshots[agent, session] = _object(entry.body)
            elif kind == "ids":
                self.pages[entry.key] = _object(entry.body)
            else:
                raise NoRecord("no such kind of key")
        except ValueError as error:
            self.strange.append(f"{entry.key} at {entry.sequence}: {error}")

    def in_order(self) -> tuple[list[Record], list[Record]]:
        """Return the records by sequence, and those that differ from their own archived copy.

        Of a record that stands in its log and archived there is one.
        """
        found: dict[tuple[int, str], Record] = {}
        differing: list[Record] = []
        for record in sorted(self.records, key=lambda one: (one.sequence, one.archived)):
            there = found.setdefault((record.sequence, record.future), record)
            if (there.body, there.expected) != (record.body, record.expected):
                differing.append(record)
        return list(found.values()), differing


def decode(entry: Entry) -> Record:
    """Return the record that a message is; raises NoRecord."""
    parts = entry.key.split(".")
    if len(parts) != 7 or parts[1] not in ("s", "r"):
        raise NoRecord(f"{entry.key} is no ref")
    if parts[0] == "archive":
        return _archived(entry, parts)
    if (parts[1] == "r") != (parts[3] == "_"):
        raise NoRecord(f"{entry.key}: a session stands in the key exactly where state changes")
    body = _object(entry.body)
    if body.get("protocol") != 1 or "status" not in body:
        raise NoRecord(f"{entry.key} holds no record of version 1")
    expected = entry.headers.get(_EXPECTED)
    # Without a subject of its own the expectation is over the subject published to.
    fence = entry.headers.get(_EXPECTED_SUBJECT, _BUCKET + entry.key)
    return Record(
        entry.sequence,
        *parts[1:],
        fence=None if expected is None else fence,
        expected=None if expected is None else int(expected),
        body=body,
    )


def _archived(entry: Entry, parts: list[str]) -> Record:
    """Return the record that left its log: what it was compared over there is known by its key."""
    if parts[1] != "s" or _REVISION not in entry.headers or _FOLLOWS not in entry.headers:
        raise NoRecord(f"{entry.key} does not say where in a log it stood")
    sequence, follows = int(entry.headers[_REVISION]), int(entry.headers[_FOLLOWS])
    fence = f"{_BUCKET}call.s.{parts[2]}.{parts[3]}.>"
    body = _object(entry.body)
    return Record(sequence, *parts[1:], fence=fence, expected=follows, body=body, archived=True)


def _object(body: bytes) -> Mapping[str, Any]:
    parsed: Any = json.loads(body)
    if not isinstance(parsed, dict):
        raise NoRecord("its body is no JSON object")
    return cast("Mapping[str, Any]", parsed)


async def connected(url: str) -> Client:
    """Connect for as long as it takes the server to come up."""

    async def quiet(_: Exception) -> None:
        """What cannot be reached now is tried again."""

    client = Client()
    await client.connect(
        url.split(","),
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.1,  # pyright: ignore[reportArgumentType] -- seconds, in parts too
        error_cb=quiet,
    )
    return client


def _api(client: Client) -> JetStreamContext:
    return client.jetstream()  # pyright: ignore[reportUnknownMemberType] -- its options


async def read(client: Client) -> Ledger:
    """Read the whole bucket."""
    ledger = Ledger()
    js = _api(client)
    info = await js.stream_info(STREAM)
    if not info.state.messages:
        return ledger
    config = ConsumerConfig(ack_policy=AckPolicy.NONE, mem_storage=True, num_replicas=1)
    pull = await js.pull_subscribe(f"{_BUCKET}>", stream=STREAM, config=config)
    sequence = 0
    while sequence < info.state.last_seq:
        for message in await pull.fetch(_FETCH, timeout=_PATIENCE_S):
            sequence = message.metadata.sequence.stream
            key = message.subject.removeprefix(_BUCKET)
            ledger.add(Entry(sequence, key, message.headers or {}, message.data))
    await pull.unsubscribe()
    return ledger


async def left_in_queues(client: Client) -> dict[str, int]:
    """Return how many calls wait or run, by queue; those without any are left out."""
    infos = await _api(client).streams_info()
    queues = [info for info in infos if (info.config.name or "").startswith(QUEUES)]
    return {str(info.config.name): info.state.messages for info in queues if info.state.messages}
