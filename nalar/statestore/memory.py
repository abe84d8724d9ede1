"""The ledger, key-value buckets and blobs in memory, and a backend made of them.

Same promises as JetStream, on one event loop and its clock; see `nalar.bus.memory`.
"""

import asyncio
import bisect
import hashlib
import heapq
import math
from collections.abc import Awaitable, Callable, Sequence
from itertools import takewhile
from typing import Any, Generic, TypeVar

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
from nalar.statestore.port import KeyValueEntry, LedgerEntry

#: The server's shortest time to live; shorter ones are rounded up.
TTL_MIN_S = 1.0

Stored = TypeVar("Stored", LedgerEntry, KeyValueEntry)


class _Watches(Generic[Stored]):
    """Who wants to hear of what; told on the loop, soon, in the order of storing."""

    def __init__(self) -> None:
        self._open: dict[MemoryWatch, tuple[Callable[[Stored], bool], Callable[[Stored], None]]]
        self._open = {}

    def add(
        self, wanted: Callable[[Stored], bool], deliver: Callable[[Stored], None]
    ) -> "MemoryWatch":
        watch = MemoryWatch(self._open)
        self._open[watch] = (wanted, deliver)
        return watch

    def announce(self, entry: Stored) -> None:
        loop = asyncio.get_running_loop()
        for watch, (wanted, deliver) in self._open.items():
            if wanted(entry):
                loop.call_soon(self._tell, watch, deliver, entry)

    def _tell(self, watch: "MemoryWatch", deliver: Callable[[Stored], None], entry: Stored) -> None:
        if watch in self._open:
            deliver(entry)


class MemoryWatch:
    """`statestore.port.Watch` in memory."""

    def __init__(self, watches: dict["MemoryWatch", Any]) -> None:
        self._watches = watches

    def close(self) -> None:
        self._watches.pop(self, None)


class _Log:
    """The records of one bucket: by key, by session, and what expires when."""

    def __init__(self) -> None:
        #: In the order of storing.
        self.entries: dict[str, LedgerEntry] = {}
        self.sessions: dict[str, list[LedgerEntry]] = {}
        self.watches: _Watches[LedgerEntry] = _Watches()
        self._expiry: list[tuple[float, str]] = []
        #: When each entry was stored, by the loop's clock, and its revision; oldest first.
        self._stored: list[tuple[float, int]] = []

    def revision_before(self, at_s: float) -> int:
        """Return the revision of the first entry stored at `at_s` or later."""
        at = bisect.bisect_left(self._stored, (at_s, 0))
        if at < len(self._stored):
            return self._stored[at][1]
        return self._stored[-1][1] + 1 if self._stored else 1

    def newest(self, ref: Ref) -> int:
        """Return the revision that a commit of `ref` is compared with."""
        self.expire()
        if ref.effect == "s":
            log = self.sessions.get(subjects.session_fence(ref.agent, ref.session))
            return log[-1].revision if log else 0
        entry = self.entries.get(str(ref))
        return entry.revision if entry else 0

    def store(self, entry: LedgerEntry, ttl_s: float) -> None:
        ref = entry.ref
        self.entries[str(ref)] = entry
        self._stored.append((asyncio.get_running_loop().time(), entry.revision))
        if ref.effect == "s":
            fence = subjects.session_fence(ref.agent, ref.session)
            self.sessions.setdefault(fence, []).append(entry)
        else:
            until = asyncio.get_running_loop().time() + max(TTL_MIN_S, math.ceil(ttl_s))
            heapq.heappush(self._expiry, (until, str(ref)))
        self.watches.announce(entry)

    def expire(self) -> None:
        """Drop what has outlived its time; nobody is told."""
        now = asyncio.get_running_loop().time()
        while self._expiry and self._expiry[0][0] <= now:
            self.entries.pop(heapq.heappop(self._expiry)[1], None)


class _Bucket:
    """The named values of one bucket, deletions remembered for their revision."""

    def __init__(self, *, watched: bool) -> None:
        self.entries: dict[str, KeyValueEntry] = {}
        self.watches: _Watches[KeyValueEntry] = _Watches()
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
        self.log = _Log()
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
        entry = LedgerEntry(ref, self._broker.next_revision(), body)
        self._log.store(entry, ttl_s)
        return entry.revision

    async def read(self, refs: Sequence[Ref]) -> dict[Ref, LedgerEntry]:
        self._log.expire()
        found = ((ref, self._log.entries.get(str(ref))) for ref in refs)
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
        self._log.expire()
        wanted = tuple(pattern.split("."))
        # They are in the order of storing; what is new stands at the end of many.
        newest_first = reversed(self._log.entries.values())
        found = [
            entry
            for entry in takewhile(lambda entry: entry.revision > after, newest_first)
            if subjects.matches(wanted, tuple(str(entry.ref).split(".")))
        ]
        return found[::-1]

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
        bodies = [entry.body for entry in broker.log.entries.values()]
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
