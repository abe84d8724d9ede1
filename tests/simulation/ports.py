"""The ports of one simulated process: the broker in memory, seen through a breakable wire.

What the contract suite holds the real adapters to is kept here too: records are committed once
and unclear answers are CommitUnknown, publishes are sent again, acks may be lost.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from nalar.backend import Store
from nalar.bus.memory import MemoryInbox
from nalar.bus.port import Delivery
from nalar.errors import CommitUnknown, Unavailable
from nalar.ids import AgentName, Ref, RootId, SessionId
from nalar.messages import BlobRef, Invocation
from nalar.statestore.memory import MemoryBackend, MemoryKeyValue, MemoryLedger
from nalar.statestore.port import KeyValueEntry, LedgerEntry, Watch
from tests.simulation.wire import Wire
from tests.simulation.wire_chunks import WireChunks

#: After this silence a lane's asker takes back what it asked for, in seconds.
_SILENCE_S = 10.0


class WireDelivery:
    """`bus.port.Delivery`: its words travel, and may be lost."""

    def __init__(self, wire: Wire, inner: Delivery) -> None:
        self._wire = wire
        self._inner = inner
        self.content = inner.content
        self.raw = inner.raw
        self.deliveries = inner.deliveries
        self.lane = inner.lane
        self.backlog = inner.backlog
        self.lease = inner.lease

    def ack(self) -> None:
        self._say("ack", self._inner.ack)

    def hand_back(self, delay_s: float = 0.0) -> None:
        self._say("hand_back", lambda: self._inner.hand_back(delay_s))

    def extend(self) -> None:
        self._say("", self._inner.extend)

    def terminate(self, reason: str) -> None:
        self._say("terminate", lambda: self._inner.terminate(reason))

    def _say(self, word: str, act: Callable[[], None]) -> None:
        if self._wire.sky.strikes("word_lost", word):
            return
        if word and isinstance(self.content, Invocation):
            self._wire.note(f"{word} {self.content.target} {self.content.ref.future}")
        self._wire.tell(act)


class WireInbox:
    """`bus.port.Inbox`: what was asked over a lost connection lapses, as what is not heard."""

    def __init__(
        self,
        wire: Wire,
        reopen: Callable[[Callable[[Delivery], None]], MemoryInbox],
        deliver: Callable[[Delivery], None],
        lapsed: Callable[[int], None],
    ) -> None:
        self._wire = wire
        self._reopen = reopen
        self._deliver = deliver
        self._lapsed = lapsed
        self._wanted = 0
        self._asked = 0
        self._open = True
        self._inner: MemoryInbox | None = None
        wire.on_lost.append(self._shut)
        wire.on_reconnect.append(self._reconnected)

    def request(self, count: int) -> None:
        if not self._open or count <= 0:
            return
        self._wanted += count
        if self._wire.connected:
            self._ask()

    def _ask(self) -> None:
        count, self._wanted = self._wanted, 0
        self._asked += count
        if self._wire.sky.strikes("ask_lost"):
            asyncio.get_running_loop().call_later(_SILENCE_S, self._lapse, count)
        else:
            self._wire.tell(lambda: self._ask_inner(count), lasting=False)

    def _ask_inner(self, count: int) -> None:
        if self._inner is None:
            self._inner = self._reopen(self._found)
        self._inner.request(count)

    def _found(self, delivery: Delivery) -> None:
        self._wire.deliver(lambda: self._received(WireDelivery(self._wire, delivery)))

    def _received(self, delivery: WireDelivery) -> None:
        if isinstance(delivery.content, Invocation):
            content = delivery.content
            told = f"{content.target} {content.ref.future} #{delivery.deliveries}"
            self._wire.note(f"received {told} on {delivery.lane}")
        if not self._open:
            delivery.hand_back()
            return
        self._asked -= min(1, self._asked)
        self._deliver(delivery)

    def _lapse(self, count: int) -> None:
        count = min(count, self._asked)
        self._asked -= count
        if count and self._open:
            self._lapsed(count)

    def _reconnected(self) -> None:
        self._lapse(self._asked)
        if self._wanted:
            self._ask()

    def _shut(self) -> None:
        if self._inner is not None:
            self._inner.shut()
            self._inner = None

    async def close(self) -> None:
        """Ask for nothing more; what still arrives is given back."""
        if self._open:
            self._open = False
            self._wire.on_reconnect.remove(self._reconnected)
            self._wire.tell(self._shut)


class WireQueue:
    """`bus.port.Queue`."""

    def __init__(self, wire: Wire, backend: MemoryBackend) -> None:
        self._wire = wire
        self._inner = backend.queue
        self._queues = backend.broker.queues

    async def ensure(self, agent: AgentName, *, slots: int) -> None:
        await self._wire.request(
            "ensure", lambda _: self._inner.ensure(agent, slots=slots), Unavailable, resends=True
        )

    def publish(self, lane: str, invocation: Invocation) -> asyncio.Future[None]:
        def act(again: bool) -> Awaitable[None]:
            sent = replace(invocation, resent=True) if again else invocation
            self._wire.note(f"published {sent.target} {sent.ref.future} resent={sent.resent}")
            return self._inner.publish(lane, sent)

        return self._wire.request(
            f"publish {invocation.target}", act, Unavailable,
            resends=True,
        )  # fmt: skip

    def hurry(self, lease: bytes) -> None:
        if not self._wire.sky.strikes("word_lost", "hurry"):
            self._wire.tell(lambda: self._inner.hurry(lease))

    async def open(
        self,
        agent: AgentName,
        lane: str,
        deliver: Callable[[Delivery], None],
        lapsed: Callable[[int], None],
    ) -> WireInbox:
        await self.ensure(agent, slots=0)

        def reopen(found: Callable[[Delivery], None]) -> MemoryInbox:
            return MemoryInbox(self._inner, self._queues.stream(agent).lane(lane), found)

        return WireInbox(self._wire, reopen, deliver, lapsed)


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


class WireKeyValue:
    """`statestore.port.KeyValue`."""

    def __init__(self, wire: Wire, inner: MemoryKeyValue) -> None:
        self._wire = wire
        self._inner = inner

    async def get(self, key: str) -> KeyValueEntry | None:
        return await self._ask(f"get {key}", lambda: self._inner.get(key), resends=True)

    async def get_all(self, keys: Sequence[str]) -> list[KeyValueEntry]:
        return await self._ask("get_all", lambda: self._inner.get_all(keys), resends=True)

    async def keys(self, prefix: str) -> list[str]:
        return await self._ask(f"keys {prefix}", lambda: self._inner.keys(prefix), resends=True)

    async def put(
        self, key: str, value: bytes, *, expected: int | None = None, ttl_s: float | None = None
    ) -> int:
        return await self._ask(
            f"put {key}",
            lambda: self._inner.put(key, value, expected=expected, ttl_s=ttl_s),
            resends=expected is None,
        )

    async def delete(self, key: str, *, expected: int | None = None) -> None:
        await self._ask(
            f"delete {key}",
            lambda: self._inner.delete(key, expected=expected),
            resends=expected is None,
        )

    async def scan(self, prefix: str) -> list[KeyValueEntry]:
        return await self._ask(f"scan {prefix}", lambda: self._inner.scan(prefix), resends=True)

    def watch(self, prefix: str, deliver: Callable[[KeyValueEntry], None]) -> WireWatch:
        return watched(self._wire, lambda found: self._inner.watch(prefix, found), deliver)

    def _ask(
        self, name: str, act: Callable[[], Awaitable[Any]], *, resends: bool
    ) -> asyncio.Future[Any]:
        return self._wire.request(name, lambda _: act(), Unavailable, resends=resends)


class WireBlobs:
    """`statestore.port.Blobs`."""

    def __init__(self, wire: Wire, backend: MemoryBackend) -> None:
        self._wire = wire
        self._inner = backend.blobs

    async def put(self, data: bytes) -> BlobRef:
        return await self._wire.request(
            "put blob", lambda _: self._inner.put(data), Unavailable,
            resends=False,
        )  # fmt: skip

    async def get(self, blob: BlobRef) -> bytes:
        return await self._wire.request(
            "get blob", lambda _: self._inner.get(blob), Unavailable, resends=True
        )

    async def unused_for(self, age_s: float) -> list[str]:
        return await self._ask("unused_for", lambda: self._inner.unused_for(age_s))

    async def referred_to(self, agents: Sequence[AgentName]) -> set[str]:
        return await self._ask("referred_to", lambda: self._inner.referred_to(agents))

    async def drop(self, names: Sequence[str]) -> None:
        await self._ask("drop blobs", lambda: self._inner.drop(names))

    def _ask(self, name: str, act: Callable[[], Awaitable[Any]]) -> asyncio.Future[Any]:
        return self._wire.request(name, lambda _: act(), Unavailable, resends=True)


class WireBackend:
    """`nalar.backend.Backend` of one simulated process."""

    lifeline = None

    def __init__(
        self,
        wire: Wire,
        inner: MemoryBackend,
        inline_max_bytes: int,
        committed: Callable[[str, Ref, int], None],
    ) -> None:
        self._wire = wire
        self.inline_max_bytes = inline_max_bytes
        self.queue = WireQueue(wire, inner)
        self.ledger = WireLedger(wire, inner.ledger, committed)
        self.snapshots = WireKeyValue(wire, inner.snapshots)
        self.control = WireKeyValue(wire, inner.control)
        self.blobs = WireBlobs(wire, inner)
        self.chunks = WireChunks(wire, inner.chunks)
        self.reports = inner.reports

    def on_reconnect(self, notify: Callable[[], None]) -> None:
        self._wire.on_reconnect.append(notify)

    def describe(self) -> dict[str, object]:
        return {"kind": "simulated", "process": self._wire.process.name}

    async def stores(self, agents: Sequence[AgentName]) -> list[Store]:
        del agents
        return []

    async def close(self) -> None:
        self._wire.close()
