"""The ports of one simulated process: the broker in memory, seen through a breakable wire.

What the contract suite holds the real adapters to is kept here too: records are committed once
and unclear answers are CommitUnknown, publishes are sent again, acks may be lost.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from nalar.backend import Store
from nalar.bus.memory import MemoryInbox
from nalar.bus.port import Delivery
from nalar.errors import Unavailable
from nalar.ids import AgentName, Ref
from nalar.messages import BlobRef, Invocation
from nalar.statestore.memory import MemoryBackend, MemoryKeyValue
from nalar.statestore.port import KeyValueEntry
from tests.simulation.wire import Wire
from tests.simulation.wire_chunks import WireChunks
from tests.simulation.wire_ledger import WireLedger, WireWatch, watched

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
        #: Count and level of each ask that could not be sent yet.
        self._wanted: list[tuple[int, int]] = []
        self._asked = 0
        self._open = True
        self._inner: MemoryInbox | None = None
        wire.on_lost.append(self._shut)
        wire.on_reconnect.append(self._reconnected)

    def request(self, count: int, level: int = 0) -> None:
        if not self._open or count <= 0:
            return
        self._wanted.append((count, level))
        if self._wire.connected:
            self._ask()

    def _ask(self) -> None:
        wanted, self._wanted = self._wanted, []
        for count, level in wanted:
            self._asked += count
            if self._wire.sky.strikes("ask_lost"):
                asyncio.get_running_loop().call_later(_SILENCE_S, self._lapse, count)
            else:
                self._wire.tell(partial(self._ask_inner, count, level), lasting=False)

    def _ask_inner(self, count: int, level: int) -> None:
        if self._inner is None:
            self._inner = self._reopen(self._found)
        self._inner.request(count, level)

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
