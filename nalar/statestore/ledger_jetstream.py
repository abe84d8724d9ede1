"""The ledger on JetStream: commits as fenced publishes, notification by republish."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
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
from nalar.statestore.port import LedgerEntry
from nalar.statestore.reading import StreamReader

#: The server's shortest time to live; shorter ones are rounded up.
TTL_MIN_S: Final = 1
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
            message = await self._reader.last(subjects.record_subject(refs[0]))
            return {} if message is None else {refs[0]: _entry(refs[0], message)}
        wanted = {subjects.record_subject(ref): ref for ref in refs}
        found = {
            wanted[message.subject]: _entry(wanted[message.subject], message)
            for message in await self._reader.last_of_each(list(wanted))
            if not is_deleted(message.headers)
        }
        if self._replicated:
            missing = [ref for ref in refs if ref not in found]
            for ref, message in zip(missing, await self._last_of(missing), strict=True):
                if message is not None:
                    found[ref] = _entry(ref, message)
        return found

    async def _last_of(self, refs: Sequence[Ref]) -> list[StoredMessage | None]:
        return await together(self._reader.last(subjects.record_subject(ref)) for ref in refs)

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
        return _entries(messages), _end(messages, after)

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
        subject = subjects.pattern_subject(pattern)
        messages = await self._reader.scan(subject, after=after)
        if self._replicated and _end(messages, after) < upto:
            messages = await self._scan_all(subject, after)
        return _entries(messages)

    async def find_root(self, root: RootId) -> LedgerEntry | None:
        subject = subjects.pattern_subject(subjects.root_pattern(root))
        message = await self._reader.last(subject)
        return None if message is None else _entries([message])[0]


def _end(messages: Sequence[StoredMessage], after: int) -> int:
    """Return the newest sequence of what stands above `after`."""
    return messages[-1].sequence if messages else after


def _entry(ref: Ref, message: StoredMessage) -> LedgerEntry:
    return LedgerEntry(ref, message.sequence, message.data)


def _ref_of(subject: str) -> Ref | None:
    """Return the ref whose record is kept under `subject`; None for what we never wrote."""
    try:
        return subjects.record_ref(subject)
    except InvalidToken:
        return None


def _entries(messages: Sequence[StoredMessage]) -> list[LedgerEntry]:
    return [
        _entry(ref, message)
        for message in messages
        if not is_deleted(message.headers) and (ref := _ref_of(message.subject)) is not None
    ]
