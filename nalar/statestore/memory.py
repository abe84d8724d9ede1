"""The ledger, key-value buckets and blobs in memory, and a backend made of them.

Same promises as JetStream, on one event loop and its clock; see `nalar.bus.memory`.
"""

import asyncio
import hashlib
import math
from collections.abc import Awaitable, Callable, Sequence

from nalar.backend import Store
from nalar.bus import subjects
from nalar.bus.codec import HEADERS_MAX_BYTES
from nalar.bus.fields import blobs_named
from nalar.bus.memory import PAYLOAD_MAX_BYTES, MemoryQueue, MemoryQueues, answered, check_size
from nalar.bus.memory_reports import MemoryReports, ReportFeed
from nalar.errors import CommitLost, CommitUnknown, Conflict, Unavailable
from nalar.ids import AgentName, Ref, RootId, SessionId
from nalar.messages import BlobRef
from nalar.settings import Settings
from nalar.statestore.memory_chunks import ChunkLog, MemoryChunks
from nalar.statestore.memory_log import TTL_MIN_S, MemoryLog, MemoryWatch, Watches
from nalar.statestore.port import KeyValueEntry, LedgerEntry, LogPiece


class _Bucket:
    """The named values of one bucket, deletions remembered for their revision."""

    def __init__(self, *, watched: bool) -> None:
        self.entries: dict[str, KeyValueEntry] = {}
        self.watches: Watches[KeyValueEntry] = Watches()
        self.watched = watched
        self._expiry: dict[str, asyncio.TimerHandle] = {}

    def store(self, entry: KeyValueEntry, ttl_s: float | None, expire: Callable[[], None]) -> None:
        """Put the entry in place; `expire` is called when its time is over."""
        if (timer := self._expiry.pop(entry.key, None)) is not None:
            timer.cancel()
        self.entries[entry.key] = entry
        if ttl_s is not None:
            delay = max(TTL_MIN_S, math.ceil(ttl_s))
            self._expiry[entry.key] = asyncio.get_running_loop().call_later(delay, expire)
        if self.watched:
            self.watches.announce(entry)


class MemoryBroker:
    """What a broker remembers; shared by the clients of one process."""

    def __init__(self, settings: Settings) -> None:
        self.queues = MemoryQueues(settings.lease_s)
        self.log = MemoryLog()
        self.snapshots = _Bucket(watched=False)
        self.control = _Bucket(watched=True)
        #: By name: the data, and when it was put last, by the loop's clock.
        self.blobs: dict[str, tuple[bytes, float]] = {}
        self.chunks = ChunkLog()
        self.reports = ReportFeed()
        self._revision = 0

    def next_revision(self) -> int:
        """Return the place of the next entry; all buckets share one order here."""
        self._revision += 1
        return self._revision


class MemoryLedger:
    """`statestore.port.Ledger` in memory."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.closed = False
        self._broker = broker
        self._log = broker.log

    def commit(self, ref: Ref, body: bytes, *, expected: int, ttl_s: float) -> Awaitable[int]:
        return answered(lambda: self._commit(ref, body, expected, ttl_s))

    def _commit(self, ref: Ref, body: bytes, expected: int, ttl_s: float) -> int:
        if self.closed:
            raise CommitUnknown("this connection is closed")
        check_size(len(body) + HEADERS_MAX_BYTES, str(ref))
        newest = self._log.newest(ref)
        if newest != expected:
            raise CommitLost(f"{ref}: expected revision {expected}, the log is at {newest}")
        now_s = asyncio.get_running_loop().time()
        entry = LedgerEntry(ref, self._broker.next_revision(), body, expected, now_s)
        self._log.store(entry, ttl_s)
        return entry.revision

    async def read(self, refs: Sequence[Ref]) -> dict[Ref, LedgerEntry]:
        found = ((ref, self._log.get(ref)) for ref in refs)
        return {ref: entry for ref, entry in found if entry is not None}

    def watch(self, pattern: str, deliver: Callable[[LedgerEntry], None]) -> MemoryWatch:
        wanted = tuple(pattern.split("."))
        return self._log.watches.add(
            lambda entry: subjects.matches(wanted, tuple(str(entry.ref).split("."))), deliver
        )

    async def session_log(
        self, agent: AgentName, session: SessionId, *, after: int
    ) -> tuple[list[LedgerEntry], int]:
        log = self._log.sessions.get(subjects.session_fence(agent, session), [])
        entries = [entry for entry in log if entry.revision > after]
        return entries, entries[-1].revision if entries else after

    async def oldest(self, agent: AgentName, session: SessionId, *, count: int) -> LogPiece:
        log = self._log.sessions.get(subjects.session_fence(agent, session), [])
        return LogPiece(log[:count], len(log))

    async def archive(self, entries: Sequence[LedgerEntry], *, kept_s: float) -> None:
        now_s = asyncio.get_running_loop().time()
        for entry in entries:
            if (left_s := kept_s - (now_s - entry.stored_s)) > 0:
                self._log.archive(entry, left_s)

    async def revision_before(self, age_s: float) -> int:
        return self._log.revision_before(asyncio.get_running_loop().time() - age_s)

    async def trim(self, agent: AgentName, session: SessionId, *, before: int) -> int:
        log = self._log.sessions.get(subjects.session_fence(agent, session), [])
        gone = [entry for entry in log[:-1] if entry.revision < before]
        for entry in gone:
            del self._log.entries[str(entry.ref)]
        log[:] = log[len(gone) :]
        return len(gone)

    async def sessions(self, agent: AgentName) -> list[SessionId]:
        refs = [entry.ref for log in self._log.sessions.values() for entry in log]
        return sorted({ref.session for ref in refs if ref.agent == agent})

    async def find(self, pattern: str, *, after: int = 0, upto: int = 0) -> list[LedgerEntry]:
        del upto  # Nothing lags here.
        return self._log.matching(pattern, after)

    async def find_root(self, root: RootId) -> LedgerEntry | None:
        found = await self.find(subjects.root_pattern(root))
        return found[0] if found else None


class MemoryKeyValue:
    """`statestore.port.KeyValue` in memory."""

    def __init__(self, broker: MemoryBroker, bucket: _Bucket) -> None:
        self.closed = False
        self._broker = broker
        self._bucket = bucket

    async def get(self, key: str) -> KeyValueEntry | None:
        subjects.check_key(key)
        entry = self._bucket.entries.get(key)
        return entry if entry is not None and entry.value is not None else None

    async def get_all(self, keys: Sequence[str]) -> list[KeyValueEntry]:
        return [entry for key in keys if (entry := await self.get(key)) is not None]

    async def keys(self, prefix: str) -> list[str]:
        return sorted(key for key in self._bucket.entries if subjects.under_prefix(key, prefix))

    async def put(
        self, key: str, value: bytes, *, expected: int | None = None, ttl_s: float | None = None
    ) -> int:
        check_size(len(value) + HEADERS_MAX_BYTES, key)
        self._compare(key, expected)
        return self._store(key, value, ttl_s)

    async def delete(self, key: str, *, expected: int | None = None) -> None:
        self._compare(key, expected)
        self._store(key, None, None)

    async def scan(self, prefix: str) -> list[KeyValueEntry]:
        return sorted(
            (
                entry
                for key, entry in self._bucket.entries.items()
                if entry.value is not None and subjects.under_prefix(key, prefix)
            ),
            key=lambda entry: entry.key,
        )

    def watch(self, prefix: str, deliver: Callable[[KeyValueEntry], None]) -> MemoryWatch:
        return self._bucket.watches.add(
            lambda entry: subjects.under_prefix(entry.key, prefix), deliver
        )

    def _compare(self, key: str, expected: int | None) -> None:
        subjects.check_key(key)
        if self.closed:
            raise Unavailable("this connection is closed")
        entry = self._bucket.entries.get(key)
        live = entry.revision if entry is not None and entry.value is not None else 0
        if expected is not None and expected != live:
            raise Conflict(f"{key}: expected revision {expected}, it is at {live}")

    def _store(self, key: str, value: bytes | None, ttl_s: float | None) -> int:
        entry = KeyValueEntry(key, self._broker.next_revision(), value)
        self._bucket.store(entry, ttl_s, lambda: self._expire(key))
        return entry.revision

    def _expire(self, key: str) -> None:
        self._store(key, None, None)


class MemoryBlobs:
    """`statestore.port.Blobs` in memory."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._blobs = broker.blobs

    async def put(self, data: bytes) -> BlobRef:
        digest = hashlib.sha256(data).hexdigest()
        self._blobs[digest] = bytes(data), asyncio.get_running_loop().time()
        return BlobRef(name=digest, size=len(data), sha256=digest)

    async def get(self, blob: BlobRef) -> bytes:
        data, _ = self._blobs.get(blob.name, (None, 0.0))
        if data is None:
            raise Unavailable(f"blob {blob.name} is gone")
        if len(data) != blob.size or hashlib.sha256(data).hexdigest() != blob.sha256:
            raise Unavailable(f"blob {blob.name} does not match its digest")
        return data

    async def unused_for(self, age_s: float) -> list[str]:
        since = asyncio.get_running_loop().time() - age_s
        return [name for name, (_, put_s) in self._blobs.items() if put_s < since]

    async def referred_to(self, agents: Sequence[AgentName]) -> set[str]:
        broker = self._broker
        log = broker.log
        bodies = [entry.body for entry in (*log.entries.values(), *log.archived.values())]
        for bucket in (broker.snapshots, broker.control):
            bodies += [entry.value or b"" for entry in bucket.entries.values()]
        for agent in agents:
            bodies += broker.queues.bodies(agent)
        return {name for body in bodies for name in blobs_named(body)}

    async def drop(self, names: Sequence[str]) -> None:
        for name in names:
            self._blobs.pop(name, None)


class MemoryBackend:
    """`nalar.backend.Backend` in memory."""

    inline_max_bytes = PAYLOAD_MAX_BYTES - HEADERS_MAX_BYTES
    lifeline = None

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker
        self.queue = MemoryQueue(broker.queues)
        self.ledger = MemoryLedger(broker)
        self.snapshots = MemoryKeyValue(broker, broker.snapshots)
        self.control = MemoryKeyValue(broker, broker.control)
        self.blobs = MemoryBlobs(broker)
        self.chunks = MemoryChunks(broker.chunks)
        self.reports = MemoryReports(broker.reports)

    def on_reconnect(self, notify: Callable[[], None]) -> None:
        del notify  # This connection is never lost.

    def describe(self) -> dict[str, object]:
        return {"kind": "memory", "server": "in this process", "state": "connected"}

    async def stores(self, agents: Sequence[AgentName]) -> list[Store]:
        del agents
        return []  # Nothing here can be missing or late.

    async def close(self) -> None:
        self.queue.close()
        self.ledger.closed = self.snapshots.closed = self.control.closed = True
        self.chunks.closed = self.reports.closed = True


def open_memory(settings: Settings, broker: MemoryBroker | None = None) -> MemoryBackend:
    """Return a client of `broker`, or of a new one. All its clients share one event loop."""
    return MemoryBackend(MemoryBroker(settings) if broker is None else broker)
