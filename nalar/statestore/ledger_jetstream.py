"""The ledger on JetStream: commits as fenced publishes, notification by republish."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import ClassVar, Final

from nalar.bus import subjects
from nalar.bus.link import Link
from nalar.bus.replies import (
    WRONG_LAST_SEQUENCE,
    ApiError,
    StoredMessage,
    header_of,
    is_deleted,
    number_of,
    parse_stored,
)
from nalar.bus.together import together
from nalar.bus.waiter import Waiter
from nalar.clock import SystemClock
from nalar.errors import (
    CommitLost,
    CommitUnknown,
    InvalidToken,
    NalarError,
    Unavailable,
    ValueTooLarge,
)
from nalar.ids import AgentName, Ref, RootId, SessionId
from nalar.settings import Settings
from nalar.statestore.port import LedgerEntry, LogPiece
from nalar.statestore.reading import StreamReader

#: The server's shortest time to live; shorter ones are rounded up.
TTL_MIN_S: Final = 1
#: Headers of an archived record: where it stood in its session's log, and after which.
REVISION: Final = "Nalar-Revision"
FOLLOWS: Final = "Nalar-Follows"
#: Copies on their way to the archive at a time: a commit waits behind all of them, and with
#: `sync_interval: always` each is a write to disk.
COPIES_TOGETHER: Final = 4
#: How often a session's log is read again from a replica that lags behind the leader.
LAG_READS_MAX: Final = 50
LAG_PAUSE_S: Final = 0.02


class _Commit(Waiter):
    """One record on its way. Sent once: what became of it decides the ledger, not a resend."""

    stores: ClassVar = True
    __slots__ = ("_ref",)

    def __init__(self, ref: Ref, body: bytes, expected: int, ttl_s: float) -> None:
        ttl = "" if ref.effect == "s" else f"Nats-TTL: {max(TTL_MIN_S, math.ceil(ttl_s))}\r\n"
        headers = (
            f"NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: {expected}\r\n"
            "Nats-Expected-Last-Subject-Sequence-Subject: "
            f"{subjects.commit_fence(ref)}\r\n{ttl}\r\n"
        )
        super().__init__(subjects.record_subject(ref), body, headers.encode(), resends=False)
        self._ref = ref

    def accept(self, headers: bytes | None, data: bytes) -> bool:
        del headers
        try:
            self.resolve(parse_stored(data))
        except ApiError as error:
            if error.err_code == WRONG_LAST_SEQUENCE:
                raise CommitLost(f"{self._ref}: {error}") from error
            # 10164 and the rest: some write is in flight, or the server cannot say.
            raise CommitUnknown(f"{self._ref}: {error} (code {error.err_code})") from error
        return True

    def fail(self, error: NalarError) -> None:
        if isinstance(error, ValueTooLarge):
            error = ValueTooLarge(f"the record of {self._ref}: {error}")
        elif not isinstance(error, CommitLost | CommitUnknown):
            error = CommitUnknown(str(error))
        super().fail(error)


class _Copy(Waiter):
    """A record on its way to the archive. May be sent twice: there is one of each."""

    stores: ClassVar = True
    __slots__ = ()

    def __init__(self, entry: LedgerEntry, ttl_s: float) -> None:
        follows = "" if entry.follows is None else f"{FOLLOWS}: {entry.follows}\r\n"
        headers = (
            "NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: 0\r\n"
            f"{REVISION}: {entry.revision}\r\n{follows}"
            f"Nats-TTL: {max(TTL_MIN_S, math.ceil(ttl_s))}\r\n\r\n"
        )
        super().__init__(subjects.archive_subject(entry.ref), entry.body, headers.encode())

    def accept(self, headers: bytes | None, data: bytes) -> bool:
        del headers
        try:
            parse_stored(data)
        except ApiError as error:
            if error.err_code != WRONG_LAST_SEQUENCE:  # That one says that it is there already.
                raise Unavailable(f"{self.subject}: {error}") from error
        self.resolve(None)
        return True


class SubjectWatch:
    """`statestore.port.Watch`: core subscriptions."""

    def __init__(self, link: Link, sids: Sequence[int]) -> None:
        self._link = link
        self._sids = sids

    def close(self) -> None:
        for sid in self._sids:
            self._link.unsubscribe(sid)


class JetStreamLedger:
    """`statestore.port.Ledger` on JetStream.

    Reads of many ask any replica first and confirm through the leader only what was missing,
    and that only where there are replicas that may lag: a record that was seen never changes.
    """

    def __init__(self, link: Link, settings: Settings, *, replicas: int) -> None:
        self._link = link
        self._timeout_s = settings.reply_timeout_s
        self._replicated = replicas > 1
        stream = subjects.bucket_stream(subjects.LEDGER_BUCKET)
        self._reader = StreamReader(link, stream, timeout_s=settings.reply_timeout_s)

    def commit(self, ref: Ref, body: bytes, *, expected: int, ttl_s: float) -> Awaitable[int]:
        return self._link.request(_Commit(ref, body, expected, ttl_s), self._timeout_s)

    async def read(self, refs: Sequence[Ref]) -> dict[Ref, LedgerEntry]:
        if len(refs) == 1:
            message = await self._last(refs[0])
            return {} if message is None else {refs[0]: message}
        wanted = list({_anywhere(ref) for ref in refs})
        found = {entry.ref: entry for entry in _entries(await self._reader.last_of_each(wanted))}
        if self._replicated:
            missing = await together(self._last(ref) for ref in refs if ref not in found)
            found |= {entry.ref: entry for entry in missing if entry is not None}
        return found

    async def _last(self, ref: Ref) -> LedgerEntry | None:
        """Return the record of `ref` through the leader."""
        message = await self._reader.last(_anywhere(ref))
        return next(iter(_entries([message])), None) if message is not None else None

    def watch(self, pattern: str, deliver: Callable[[LedgerEntry], None]) -> SubjectWatch:
        def received(subject: bytes, _: bytes, payload: bytes, headers: bytes | None) -> None:
            if headers is None or header_of(headers, b"Nats-Marker-Reason") is not None:
                return
            revision = number_of(headers, b"Nats-Sequence")
            try:
                ref = subjects.done_ref(subject.decode())
            except (InvalidToken, UnicodeDecodeError):
                return  # Not from the ledger: it stores only what parses.
            if revision is not None:
                deliver(LedgerEntry(ref, revision, payload))

        sid = self._link.subscribe(subjects.done_subject(pattern), received)
        return SubjectWatch(self._link, (sid,))

    async def session_log(
        self, agent: AgentName, session: SessionId, *, after: int
    ) -> tuple[list[LedgerEntry], int]:
        """The leader says where the log ends; entries come from any replica that is as far."""
        messages = await self._scan_all(subjects.session_fence(agent, session), after)
        return _log_entries(messages, after), _end(messages, after)

    async def _scan_all(self, subject: str, after: int) -> list[StoredMessage]:
        newest = await self._reader.last(subject)
        if newest is None or newest.sequence <= after:
            return []
        for _ in range(LAG_READS_MAX):
            messages = await self._reader.scan(subject, after=after)
            if _end(messages, after) >= newest.sequence:
                return messages
            await asyncio.sleep(LAG_PAUSE_S)
        raise Unavailable(f"{subject}: no replica has revision {newest.sequence} yet")

    async def oldest(self, agent: AgentName, session: SessionId, *, count: int) -> LogPiece:
        """From any replica: one that lags has more of them, never others."""
        fence = subjects.session_fence(agent, session)
        messages, more = await self._reader.oldest(fence, count)
        return LogPiece(_log_entries(messages, 0), len(messages) + more)

    async def archive(self, entries: Sequence[LedgerEntry], *, kept_s: float) -> None:
        now_s = SystemClock().now_s()
        left = [(entry, kept_s - (now_s - entry.stored_s)) for entry in entries]
        kept = [(entry, left_s) for entry, left_s in left if left_s > 0]
        for start in range(0, len(kept), COPIES_TOGETHER):
            await together(
                self._copy(entry, left_s) for entry, left_s in kept[start : start + COPIES_TOGETHER]
            )

    async def _copy(self, entry: LedgerEntry, ttl_s: float) -> None:
        await self._link.request(_Copy(entry, ttl_s), self._timeout_s)

    async def revision_before(self, age_s: float) -> int:
        newest = await self._reader.newest()  # First: what is stored meanwhile is not old.
        first = await self._reader.first_since(SystemClock().now_s() - age_s)
        return newest + 1 if first is None else first

    async def trim(self, agent: AgentName, session: SessionId, *, before: int) -> int:
        fence = subjects.session_fence(agent, session)
        newest = await self._reader.last(fence)
        if newest is None:
            return 0
        return await self._reader.purge(fence, before=min(before, newest.sequence))

    async def sessions(self, agent: AgentName) -> list[SessionId]:
        keys = await self._reader.subjects(subjects.agent_records(agent))
        return sorted({ref.session for ref in map(_ref_of, keys) if ref is not None})

    async def find(self, pattern: str, *, after: int = 0, upto: int = 0) -> list[LedgerEntry]:
        """What is archived while this reads is met again above: it is stored before it goes."""
        subject = subjects.pattern_subject(pattern)
        if self._replicated:
            messages = await self._scan_replicas(subject, after, upto)
        else:
            messages = await self._reader.scan(subject, after=after)
        found = {entry.ref: entry for entry in _entries(messages) if entry.revision > after}
        return sorted(found.values(), key=lambda entry: entry.revision)

    async def _scan_replicas(self, subject: str, after: int, upto: int) -> list[StoredMessage]:
        """Scan until the replica that the last page came from has what it must have.

        A page may come from one where a record has left its log, and the last page from another
        that has no copy of it yet: so that one must have what the leader had after the first.
        """
        for _ in range(LAG_READS_MAX):
            messages: list[StoredMessage] = []
            wanted = after
            async for page, more in self._reader.pages(subject, after=after):
                if more and not messages:
                    wanted = await self._newest(subject)
                messages += page
            end = _end(messages, after)
            if end < upto:  # That one may be of something else.
                wanted = max(wanted, await self._newest(subject))
            if end >= wanted:
                return messages
            await asyncio.sleep(LAG_PAUSE_S)
        raise Unavailable(f"{subject}: no replica has what the leader has")

    async def _newest(self, subject: str) -> int:
        message = await self._reader.last(subject)
        return 0 if message is None else message.sequence

    async def find_root(self, root: RootId) -> LedgerEntry | None:
        subject = subjects.pattern_subject(subjects.root_pattern(root))
        message = await self._reader.last(subject)
        return next(iter(_entries([message])), None) if message is not None else None


def _end(messages: Sequence[StoredMessage], after: int) -> int:
    """Return the newest sequence of what stands above `after`."""
    return messages[-1].sequence if messages else after


def _anywhere(ref: Ref) -> str:
    """Return what the record of `ref` is found by, in its log or archived."""
    return subjects.pattern_subject(str(ref))


def _ref_of(subject: str) -> Ref | None:
    """Return the ref whose record is kept under `subject`; None for what we never wrote."""
    try:
        return subjects.record_ref(subject)
    except InvalidToken:
        return None


def _entries(messages: Sequence[StoredMessage]) -> list[LedgerEntry]:
    return [entry for message in messages if (entry := _entry(message)) is not None]


def _entry(message: StoredMessage) -> LedgerEntry | None:
    """Return the record that a message is; None for what we never wrote."""
    ref = _ref_of(message.subject)
    if ref is None or is_deleted(message.headers):
        return None
    if not subjects.is_archived(message.subject):
        return LedgerEntry(ref, message.sequence, message.data)
    revision = number_of(message.headers, REVISION.encode())
    return None if revision is None else LedgerEntry(ref, revision, message.data)


def _log_entries(messages: Sequence[StoredMessage], after: int) -> list[LedgerEntry]:
    """Return the records in a piece of a session's log that begins above `after`.

    Each commit says what it was compared with, which is the message before it: what we never
    wrote counts there too, and is passed over.
    """
    found: list[LedgerEntry] = []
    before = ours_before = after
    for message in messages:
        ref = _ref_of(message.subject)
        if ref is not None and not is_deleted(message.headers):
            expected = number_of(message.headers, b"Nats-Expected-Last-Subject-Sequence")
            follows = ours_before if expected == before else expected
            stored_s = _stored_s(message.headers)
            found.append(LedgerEntry(ref, message.sequence, message.data, follows, stored_s))
            ours_before = message.sequence
        before = message.sequence
    return found


def _stored_s(headers: bytes) -> float:
    """Return when the server stored a message that was read directly; now if it does not say."""
    at = header_of(headers, b"Nats-Time-Stamp")
    try:
        return datetime.fromisoformat((at or b"").decode()).timestamp()
    except ValueError:
        return SystemClock().now_s()
