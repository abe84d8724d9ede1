"""Sessions as a process holds them: loaded from snapshot and log, kept, written behind.

The ledger decides what a session's state is; what stands here is a copy at a revision, and a
commit at that revision is refused when the copy is stale.
"""

import asyncio
import dataclasses
from collections import Counter, OrderedDict
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import orjson

from nalar.backend import Backend
from nalar.bus.codec import decode_record
from nalar.bus.subjects import slot_of
from nalar.errors import Conflict, LaterProtocol, MalformedMessage, NalarError, SessionUnreadable
from nalar.ids import AgentName, FutureId, SessionId, readable_token
from nalar.messages import Payload
from nalar.settings import Settings
from nalar.statestore.committed import Page, decode_page
from nalar.statestore.log_chain import LogCut, check_unbroken
from nalar.statestore.managed import ManagedFields
from nalar.statestore.port import LedgerEntry
from nalar.statestore.session import LogEntry, SessionFold, spilled_to

#: Where snapshots stand, and the pages of ids that they name.
SNAPSHOTS: Final = "state"
PAGES: Final = "ids"
#: Where it is told, in the control bucket, that a session's log has grown: for housekeeping.
GROWN: Final = "grown"
#: After so many commits, and for how long, in seconds.
_GROWN_COMMITS: Final = 500
_GROWN_S: Final = 600.0
#: A snapshot is written again after as many times more commits as it has this many bytes.
_SIZE_STEP: Final = 256 * 1024
#: How often a snapshot that does not reach as far as the log is read again, and how soon.
_SAME_SNAPSHOT_MAX: Final = 5
_SNAPSHOT_PAUSE_S: Final = 0.02
#: Calls of one session that are remembered for those that follow them.
_RAN_MAX = 32


@dataclass(slots=True)
class Session:
    """One session's copy in this process."""

    agent: AgentName
    name: SessionId
    fold: SessionFold
    #: Revision of the snapshot entry that this copy began from or wrote; 0 for none.
    snapshot: int = 0
    #: Commits since that snapshot.
    unsaved: int = 0
    #: Commits that snapshots have covered since it was told that the log has grown.
    grown: int = 0
    #: Bytes of that snapshot.
    size: int = 0
    #: The collections that the session's last call used; they share the fold's state.
    fields: ManagedFields | None = None
    #: A call that may change it runs on it.
    busy: bool = False
    #: The newest calls that ran here and are in the fold: who follows one need not look further.
    ran: OrderedDict[FutureId, None] = field(default_factory=OrderedDict[FutureId, None])

    @contextmanager
    def used(self) -> Generator[None]:
        """A call that may change it runs on it for the block."""
        self.busy = True
        try:
            yield
        finally:
            self.busy = False

    def note_run(self, future: FutureId) -> None:
        """Remember that the call `future` ran here and is in the fold."""
        self.ran[future] = None
        if len(self.ran) > _RAN_MAX:
            self.ran.popitem(last=False)


class Sessions:
    """The sessions that this process knows, least recently used first."""

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self._backend = backend
        self._settings = settings
        self._known: OrderedDict[tuple[AgentName, SessionId], Session] = OrderedDict()
        #: How often each slot, or a session of it, was dropped: what of it was being loaded
        #: meanwhile is old.
        self._drops: Counter[tuple[AgentName, int]] = Counter()

    def peek(self, agent: AgentName, name: SessionId) -> Session | None:
        """Return the copy if there is one, however old."""
        return self._known.get((agent, name))

    async def open(self, agent: AgentName, name: SessionId, *, seen: int = 0) -> Session:
        """Return the session's copy, loading it when there is none.

        One that lacks the commit `seen` is loaded anew: others have committed. While a call runs
        on it, which it must not move on under, what is returned is a copy beside it.
        Raises SessionUnreadable when what stands there is none of ours.
        """
        key = agent, name
        known = self._known.get(key)
        if known is None or known.fold.revision < seen:
            session = await self._load_readable(agent, name)
            known = self._known.get(key)  # Another call may have loaded it meanwhile.
            if known is None or (session.fold.revision > known.fold.revision and not known.busy):
                known = self._known[key] = session
            elif known.fold.revision < seen:
                return session
        self._known.move_to_end(key)
        return known

    async def _load_readable(self, agent: AgentName, name: SessionId) -> Session:
        try:
            return await self._load_current(agent, name)
        except LaterProtocol:
            raise  # A newer worker can read it, and will have it.
        except MalformedMessage as error:
            raise SessionUnreadable(
                f"session {readable_token(name)!r} of {agent} cannot be read: {error}"
            ) from error

    def drop(self, session: Session) -> None:
        """Forget a copy that cannot be trusted or is no longer ours."""
        key = session.agent, session.name
        if self._known.get(key) is session:
            del self._known[key]

    def drop_session(self, agent: AgentName, name: SessionId) -> Session | None:
        """Forget the copy of a session that is served elsewhere from now on, or was; return it."""
        self._drops[agent, slot_of(name, self._settings.slots)] += 1
        return self._known.pop((agent, name), None)

    def drop_slot(self, agent: AgentName, slot: int) -> list[Session]:
        """Forget the copies of a slot that another worker owns, or is about to; return them."""
        self._drops[agent, slot] += 1
        slots = self._settings.slots
        keys = [
            (owner, name)
            for owner, name in self._known
            if owner == agent and slot_of(name, slots) == slot
        ]
        return [self._known.pop(key) for key in keys]

    def all(self) -> list[Session]:
        """Return the copies that have commits their snapshot lacks."""
        return [session for session in self._known.values() if session.unsaved]

    def unsaved(self) -> list[Session]:
        """Return the copies that are due for a snapshot, and take out those too many to keep."""
        count = max(0, len(self._known) - self._settings.sessions_cached)
        surplus = [self._known.popitem(last=False)[1] for _ in range(count)]
        every = self._settings.snapshot_every
        due = [
            session
            for session in self._known.values()
            if session.unsaved >= every * (1 + session.size // _SIZE_STEP)
        ]
        return [session for session in surplus if session.unsaved] + due

    async def _load_current(self, agent: AgentName, name: SessionId) -> Session:
        slot = agent, slot_of(name, self._settings.slots)
        while True:
            drops = self._drops[slot]
            session = await self._load(agent, name)
            if drops == self._drops[slot]:
                return session

    async def _load(self, agent: AgentName, name: SessionId) -> Session:
        outdated = -1
        tries = 0
        while True:
            session = await self._load_snapshot(agent, name)
            try:
                await asyncio.gather(self._read_pages(session), self.catch_up(session))
            except LogCut:
                # A newer snapshot was written meanwhile, and what that covers left the log. Of
                # several servers the one that was asked may not have that snapshot yet.
                tries = tries + 1 if session.snapshot == outdated else 1
                if tries > _SAME_SNAPSHOT_MAX:
                    raise
                outdated = session.snapshot
                await asyncio.sleep(_SNAPSHOT_PAUSE_S * (tries - 1))
            else:
                return session

    async def _load_snapshot(self, agent: AgentName, name: SessionId) -> Session:
        snapshot = await self._backend.snapshots.get(_snapshot_key(agent, name))
        session = Session(agent, name, SessionFold.empty())
        if snapshot is not None and snapshot.value is not None:
            session.fold = SessionFold.load(await self._unspilled(snapshot.value))
            session.snapshot = snapshot.revision
            session.size = len(snapshot.value)
        return session

    async def _read_pages(self, session: Session) -> None:
        """Fetch the pages of ids that the snapshot names. One that is gone is past the horizon."""
        committed = session.fold.committed
        keys = {page.name: _page_key(session, page) for page in committed.unread}
        entries = await self._backend.snapshots.get_all(list(keys.values())) if keys else []
        values = {entry.key: entry.value for entry in entries}
        committed.read(
            {
                name: decode_page(value)
                for name, key in keys.items()
                if (value := values.get(key)) is not None
            }
        )

    async def catch_up(self, session: Session) -> list[LogEntry]:
        """Advance the copy by what the log has beyond it, and return those entries."""
        entries = await self.newer(session)
        self.advance(session, entries)
        return entries

    async def newer(self, session: Session) -> list[LogEntry]:
        """Return the log's entries beyond the copy, without taking them in.

        Raises MalformedMessage for what is none of ours, LogCut when some of them have left the
        log, and forgets the copy.
        """
        after = session.fold.revision
        stored, end = await self._backend.ledger.session_log(
            session.agent, session.name, after=after
        )
        if end != (stored[-1].revision if stored else after):
            self.drop(session)
            raise MalformedMessage("its log ends in an entry that is no record of a call")
        try:
            check_unbroken(after, stored)
            return [await self._log_entry(entry) for entry in stored]
        except MalformedMessage:
            self.drop(session)
            raise

    def advance(self, session: Session, entries: list[LogEntry]) -> None:
        """Take `entries` in, in the order of the log."""
        for entry in entries:
            session.fold.advance(entry.revision, entry.future, entry.delta, entry.at_s)
        session.unsaved += len(entries)

    async def _log_entry(self, entry: LedgerEntry) -> LogEntry:
        record = decode_record(entry.ref, entry.body)
        delta = await self._text(record.delta)
        return LogEntry(entry.revision, entry.ref.future, delta, record.finished)

    async def _text(self, payload: Payload | None) -> bytes | None:
        if payload is None:
            return None
        if payload.blob is not None:
            return await self._backend.blobs.get(payload.blob)
        return payload.text

    async def _unspilled(self, snapshot: bytes) -> bytes:
        """Return the snapshot itself: one too large for an entry is kept as a blob."""
        blob = spilled_to(snapshot)
        return snapshot if blob is None else await self._backend.blobs.get(blob)

    async def save(self, session: Session, now_s: float) -> None:
        """Write the snapshot behind. Losing the race, or failing, costs later loads time only."""
        unsaved, session.unsaved = session.unsaved, 0
        if not unsaved:
            return
        try:
            await self._turn_pages(session)
            body = session.fold.dump(now_s=now_s, horizon_s=self._settings.horizon_s)
            session.size = len(body)
            if len(body) > self._backend.inline_max_bytes:
                blob = await self._backend.blobs.put(body)
                body = orjson.dumps(
                    {"blob": dataclasses.asdict(blob), "upto": session.fold.revision}
                )
            session.snapshot = await self._backend.snapshots.put(
                _snapshot_key(session.agent, session.name), body, expected=session.snapshot
            )
        except Conflict:
            # Another worker has written a newer one: ours began from an older copy.
            self.drop(session)
        except NalarError:
            session.unsaved += unsaved
        else:
            await self._tell_grown(session, unsaved)

    async def _tell_grown(self, session: Session, commits: int) -> None:
        """Tell who keeps house, now and then, that a snapshot covers much of a log."""
        session.grown += commits
        if session.grown < _GROWN_COMMITS:
            return
        session.grown = 0
        with suppress(NalarError):  # It also looks for itself, if more rarely.
            await self._backend.control.put(
                f"{GROWN}.{session.agent}.{session.name}", b"{}", ttl_s=_GROWN_S
            )

    async def _turn_pages(self, session: Session) -> None:
        """Write full pages of ids as entries of their own; they go when nobody needs them."""
        committed = session.fold.committed
        while (page := committed.full_page()) is not None:
            body = orjson.dumps({"v": 1, "ids": sorted(page.ids)})
            ttl_s = self._settings.horizon_s * 2
            await self._backend.snapshots.put(_page_key(session, page), body, ttl_s=ttl_s)
            committed.turn(page)


def _snapshot_key(agent: AgentName, name: SessionId) -> str:
    return f"{SNAPSHOTS}.{agent}.{name}"


def _page_key(session: Session, page: Page) -> str:
    return f"{PAGES}.{session.agent}.{session.name}.{page.name}"
