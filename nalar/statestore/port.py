"""What is remembered, as the rest of Nalar sees it: ledger, key-value entries, blobs.

Every promise below has a test in tests/contract that runs on each adapter.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from nalar.bus.port import Watch
from nalar.chunks import Chunk
from nalar.ids import AgentName, Ref, RootId, SessionId
from nalar.messages import BlobRef


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One stored record: its address, its place in the log and its bytes."""

    ref: Ref
    revision: int
    body: bytes
    #: Of an entry that was read from its session's log: the revision of the one before it, 0 for
    #: the first. As its writer knew it, be that one there or not; None if it did not say.
    follows: int | None = field(default=None, compare=False)
    #: Of one that `oldest` has read: when it was stored, by the clock of whoever reads.
    stored_s: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class LogPiece:
    """The oldest entries of a session's log."""

    entries: list[LedgerEntry]
    #: How many messages the whole log has.
    length: int


class Ledger(Protocol):
    """The log of terminal records; each future has at most one, ever."""

    def commit(self, ref: Ref, body: bytes, *, expected: int, ttl_s: float) -> Awaitable[int]:
        """Store `body` if nothing was stored since `expected`; return its revision.

        For a ref of effect "s" the comparison spans the whole log of its session and nothing
        ever expires; for "r" it is the ref's own key, `expected` is 0 and the entry may go
        after `ttl_s`. Sent at once, in the order of the calls.
        Raises CommitLost (a definite no), CommitUnknown (no clear answer), ValueTooLarge.
        """
        ...

    async def read(self, refs: Sequence[Ref]) -> dict[Ref, LedgerEntry]:
        """Return the records that stand, read through the leader; the others are left out.

        In their log or archived, with the revision at which they were committed.
        """
        ...

    def watch(self, pattern: str, deliver: Callable[[LedgerEntry], None]) -> Watch:
        """Call `deliver` on the event loop for each record stored from now on that matches.

        `pattern` is a ref as text, with `*` for any one token. Deliveries may be lost (a
        reconnect, a slow reader): whoever must know also reads. Markers are not delivered.
        """
        ...

    async def session_log(
        self, agent: AgentName, session: SessionId, *, after: int
    ) -> tuple[list[LedgerEntry], int]:
        """Return the session's entries with a revision above `after`, oldest first.

        And the revision of the newest (`after` when there is none). Reads through the leader.
        What has left the log is not among them: whether any has, `LedgerEntry.follows` tells.
        """
        ...

    async def oldest(self, agent: AgentName, session: SessionId, *, count: int) -> LogPiece:
        """Return the oldest entries of the session's log, `count` at the most."""
        ...

    async def archive(self, entries: Sequence[LedgerEntry], *, kept_s: float) -> None:
        """Keep copies of entries that `oldest` has returned, outside their log.

        They are found as before, also once `trim` has removed the originals, until they are
        `kept_s` seconds old. Nobody is told. Doing it again changes nothing. When it returns,
        all copies are stored; raises Unavailable when that is not known. For housekeeping.
        """
        ...

    async def revision_before(self, age_s: float) -> int:
        """Return a revision below which every entry was stored more than `age_s` seconds ago.

        As high as is known: one above the newest revision when all is older.
        """
        ...

    async def trim(self, agent: AgentName, session: SessionId, *, before: int) -> int:
        """Remove the session's entries with a revision below `before`; return how many went.

        Never the newest: what a commit is compared with must stand for ever. For housekeeping.
        """
        ...

    async def sessions(self, agent: AgentName) -> list[SessionId]:
        """Return the agent's sessions that have a record, by name.

        Reads keys alone, but all of them: grows with the calls that are remembered.
        """
        ...

    async def find(self, pattern: str, *, after: int = 0, upto: int = 0) -> list[LedgerEntry]:
        """Return stored records whose ref matches `pattern`, oldest first, archived ones too.

        Slow: a scan.
        Those with a revision above `after`; surely all up to revision `upto`, which somebody has
        seen stored.
        """
        ...

    async def find_root(self, root: RootId) -> LedgerEntry | None:
        """Return the record of the request itself, or None while it has none."""
        ...


@dataclass(frozen=True, slots=True)
class KeyValueEntry:
    """One entry of a bucket. `value` is None for an entry that was deleted or has expired."""

    key: str
    revision: int
    value: bytes | None


class KeyValue(Protocol):
    """A small bucket of named values with revisions: snapshots, leases, the registry."""

    async def get(self, key: str) -> KeyValueEntry | None:
        """Return the entry, read through the leader; None when it is absent or deleted."""
        ...

    async def get_all(self, keys: Sequence[str]) -> list[KeyValueEntry]:
        """Return those of the entries that are there, in any order; one read for many."""
        ...

    async def put(
        self, key: str, value: bytes, *, expected: int | None = None, ttl_s: float | None = None
    ) -> int:
        """Store and return the new revision; `expected` 0 means "must be absent".

        Raises Conflict when the entry's revision is another one.
        """
        ...

    async def delete(self, key: str, *, expected: int | None = None) -> None:
        """Delete the entry; raises Conflict as `put` does."""
        ...

    async def keys(self, prefix: str) -> list[str]:
        """Return the keys under the dotted `prefix`, deleted ones too, without their values."""
        ...

    async def scan(self, prefix: str) -> list[KeyValueEntry]:
        """Return the live entries whose key starts with the dotted `prefix`, by key."""
        ...

    def watch(self, prefix: str, deliver: Callable[[KeyValueEntry], None]) -> Watch:
        """Call `deliver` for each change from now on; an entry that expired has the value None.

        Lost deliveries are the reader's risk, as with `Ledger.watch`.
        """
        ...


class Blobs(Protocol):
    """Values too large for a message, by the digest of their content."""

    async def put(self, data: bytes) -> BlobRef:
        """Store `data` durably and return its name; storing it again is cheap and the same.

        From then on it counts as new.
        """
        ...

    async def get(self, blob: BlobRef) -> bytes:
        """Return the data; raises Unavailable when it is gone or does not match its digest."""
        ...

    async def unused_for(self, age_s: float) -> list[str]:
        """Return the names of blobs that nobody has put for `age_s` seconds."""
        ...

    async def referred_to(self, agents: Sequence[AgentName]) -> set[str]:
        """Return the names of blobs that anything stored refers to, calls of `agents` included.

        Reads everything that is stored.
        """
        ...

    async def drop(self, names: Sequence[str]) -> None:
        """Remove blobs that nothing refers to, unless they are put again meanwhile.

        Removes too what uploads left behind that never ended. For housekeeping.
        """
        ...


@dataclass(frozen=True, slots=True)
class ChunkEntry:
    """One stored chunk and its place in the log."""

    revision: int
    chunk: Chunk


class Chunks(Protocol):
    """The log of what calls yield before they end. A preview: the record is what counts."""

    def publish(self, chunk: Chunk) -> Awaitable[None]:
        """Store `chunk`, at once and in the order of the calls; it may be stored twice.

        Raises Unavailable, or ValueTooLarge for one that no message can hold.
        """
        ...

    async def read(self, ref: Ref, *, after: int = 0) -> list[ChunkEntry]:
        """Return the call's chunks with a revision above `after` that are still kept, in order."""
        ...

    def watch(self, ref: Ref, deliver: Callable[[ChunkEntry], None]) -> Watch:
        """Call `deliver` for each chunk of the call that is stored from now on.

        Deliveries may be lost, as with `Ledger.watch`.
        """
        ...
