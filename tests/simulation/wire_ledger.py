"""The ledger of one simulated process, seen through a breakable wire; and what watches hear."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from nalar.errors import CommitUnknown, Unavailable
from nalar.ids import AgentName, Ref, RootId, SessionId
from nalar.statestore.memory import MemoryLedger
from nalar.statestore.port import KeyValueEntry, LedgerEntry, LogPiece, Watch
from tests.simulation.wire import Wire


class WireWatch:
    """`statestore.port.Watch`: a subscription that the server forgets with the connection."""

    def __init__(self, wire: Wire, register: Callable[[], Watch]) -> None:
        self._wire = wire
        self._register = register
        self._inner: Watch | None = None
        self._open = True
        wire.on_lost.append(self._forget)
        wire.on_stand.append(self._subscribe)
        self._subscribe()

    def _subscribe(self) -> None:
        self._wire.tell(self._begin, lasting=False)

    def _begin(self) -> None:
        if self._open and self._inner is None:
            self._inner = self._register()

    def _forget(self) -> None:
        if self._inner is not None:
            self._inner.close()
            self._inner = None

    def hears(self) -> bool:
        """Say whether a notice that has come is handed on."""
        return self._open

    def close(self) -> None:
        if self._open:
            self._open = False
            self._wire.on_stand.remove(self._subscribe)
            self._wire.tell(self._end)

    def _end(self) -> None:
        self._forget()
        self._wire.on_lost.remove(self._forget)


class WireLedger:
    """`statestore.port.Ledger`."""

    def __init__(
        self, wire: Wire, inner: MemoryLedger, committed: Callable[[str, Ref, int], None]
    ) -> None:
        self._wire = wire
        self._inner = inner
        self._committed = committed

    def commit(self, ref: Ref, body: bytes, *, expected: int, ttl_s: float) -> Awaitable[int]:
        def act(_: bool) -> Awaitable[int]:
            stored = self._inner.commit(ref, body, expected=expected, ttl_s=ttl_s)
            assert isinstance(stored, asyncio.Future), "the twin answers with a future"
            stored.add_done_callback(told, context=self._wire.sky.context)
            return stored

        def told(stored: asyncio.Future[int]) -> None:
            if (error := stored.exception()) is not None:
                self._wire.note(f"refused {ref} at {expected}: {type(error).__name__}")
            else:
                self._committed(self._wire.process.name, ref, stored.result())

        return self._wire.request(f"commit {ref}", act, CommitUnknown, resends=False)

    async def read(self, refs: Sequence[Ref]) -> dict[Ref, LedgerEntry]:
        return await self._read("read", lambda: self._inner.read(refs))

    def watch(self, pattern: str, deliver: Callable[[LedgerEntry], None]) -> WireWatch:
        return watched(self._wire, lambda found: self._inner.watch(pattern, found), deliver)

    async def session_log(
        self, agent: AgentName, session: SessionId, *, after: int
    ) -> tuple[list[LedgerEntry], int]:
        return await self._read(
            "session_log", lambda: self._inner.session_log(agent, session, after=after)
        )

    async def oldest(self, agent: AgentName, session: SessionId, *, count: int) -> LogPiece:
        return await self._read("oldest", lambda: self._inner.oldest(agent, session, count=count))

    async def archive(self, entries: Sequence[LedgerEntry], *, kept_s: float) -> None:
        await self._read("archive", lambda: self._inner.archive(entries, kept_s=kept_s))

    async def sessions(self, agent: AgentName) -> list[SessionId]:
        return await self._read("sessions", lambda: self._inner.sessions(agent))

    async def find(self, pattern: str, *, after: int = 0, upto: int = 0) -> list[LedgerEntry]:
        return await self._read("find", lambda: self._inner.find(pattern, after=after, upto=upto))

    async def revision_before(self, age_s: float) -> int:
        return await self._read("revision_before", lambda: self._inner.revision_before(age_s))

    async def trim(self, agent: AgentName, session: SessionId, *, before: int) -> int:
        return await self._read("trim", lambda: self._inner.trim(agent, session, before=before))

    async def find_root(self, root: RootId) -> LedgerEntry | None:
        return await self._read("find_root", lambda: self._inner.find_root(root))

    def _read(self, name: str, act: Callable[[], Awaitable[Any]]) -> asyncio.Future[Any]:
        return self._wire.request(name, lambda _: act(), Unavailable, resends=True)


def watched(
    wire: Wire, register: Callable[[Callable[[Any], None]], Watch], deliver: Callable[[Any], None]
) -> WireWatch:
    """Return a watch whose notices travel over `wire`, and may be lost on it."""

    def found(entry: LedgerEntry | KeyValueEntry) -> None:
        if not wire.sky.strikes("notice_lost", str(getattr(entry, "ref", ""))):
            wire.deliver(lambda: deliver(entry) if watch.hears() else None)

    watch = WireWatch(wire, lambda: register(found))
    return watch
