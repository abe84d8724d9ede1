"""The queue in memory: same promises as JetStream, all on one event loop and its clock.

Several clients share one `MemoryQueues`. Every delay is a `call_later` of the running loop, so a
loop in virtual time drives it; nothing depends on the wall clock or on chance. Messages go
through the real codec, so what cannot travel fails here too.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from nalar.bus import subjects
from nalar.bus.codec import decode_invocation, encode_invocation
from nalar.bus.port import Delivery
from nalar.errors import MalformedMessage, NalarError, Unavailable, ValueTooLarge
from nalar.ids import AgentName
from nalar.messages import Invocation

T = TypeVar("T")

#: What nats-server allows by default, headers included.
PAYLOAD_MAX_BYTES = 1024 * 1024


class _Message:
    """One stored message, waiting in its lane or held by a delivery."""

    __slots__ = ("body", "deliveries", "headers", "holder", "lease", "subject")

    def __init__(self, subject: str, headers: bytes | None, body: bytes) -> None:
        self.subject = subject
        self.headers = headers
        self.body = body
        self.deliveries = 0
        self.holder: MemoryDelivery | None = None
        self.lease: asyncio.TimerHandle | None = None


class _Lane:
    """One consumer: messages that wait, and inboxes that asked."""

    def __init__(self, name: str, stored: dict[str, _Message], lease_s: float) -> None:
        self.name = name
        self.lease_s = lease_s
        #: Handed back or lapsed; they go before what was never handed out, as on the server.
        self.again: deque[_Message] = deque()
        self.fresh: deque[_Message] = deque()
        #: By the level of what they asked for; those of one level take turns.
        self.askers: tuple[deque[MemoryInbox], ...] = tuple(deque() for _ in range(subjects.LEVELS))
        self._stored = stored
        self._matching = False

    def match(self) -> None:
        """Hand messages to askers soon; never within the caller's own call."""
        if (self.again or self.fresh) and not self._matching and any(self.askers):
            self._matching = True
            asyncio.get_running_loop().call_soon(self._match)

    def _match(self) -> None:
        self._matching = False
        while (self.again or self.fresh) and (inbox := self._next_asker()) is not None:
            message = self.again.popleft() if self.again else self.fresh.popleft()
            message.deliveries += 1
            self.extend(message)
            message.holder = MemoryDelivery(self, message, inbox.client, len(self.fresh))
            inbox.deliver(message.holder)

    def _next_asker(self) -> "MemoryInbox | None":
        for level, askers in enumerate(self.askers):
            if askers:
                inbox = askers.popleft()
                inbox.credits[level] -= 1
                if inbox.credits[level]:
                    askers.append(inbox)
                return inbox
        return None

    def extend(self, message: _Message) -> None:
        if message.lease is not None:
            message.lease.cancel()
        loop = asyncio.get_running_loop()
        message.lease = loop.call_later(self.lease_s, self.give_back, message)

    def give_back(self, message: _Message, delay_s: float = 0.0) -> None:
        """Let another have the message after `delay_s`, unless it is gone."""
        if message.lease is not None:
            message.lease.cancel()
        message.holder = message.lease = None
        if self._stored.get(message.subject) is not message:
            return
        if delay_s > 0:
            loop = asyncio.get_running_loop()
            message.lease = loop.call_later(delay_s, self.give_back, message)
            return
        self.again.append(message)
        self.match()

    def remove(self, message: _Message) -> None:
        """Forget the message for good; a late word of an earlier holder counts, too."""
        if message.lease is not None:
            message.lease.cancel()
        if self._stored.get(message.subject) is message:
            del self._stored[message.subject]
        if message in self.again:
            self.again.remove(message)


class MemoryDelivery:
    """`bus.port.Delivery` in memory."""

    __slots__ = ("_client", "_lane", "_message", "_settled", "backlog", "content", "deliveries",
                 "lane", "lease", "raw")  # fmt: skip

    def __init__(self, lane: _Lane, message: _Message, client: "MemoryQueue", backlog: int) -> None:
        self._lane = lane
        self._message = message
        self._client = client
        self._settled = False
        self.raw = (message.headers or b"") + message.body
        self.deliveries = message.deliveries
        self.lane = lane.name
        self.lease = message.subject.encode()
        self.backlog = backlog
        self.content: Invocation | MalformedMessage
        try:
            self.content = decode_invocation(message.subject, message.headers, message.body)
        except MalformedMessage as error:
            self.content = error

    def ack(self) -> None:
        if self._settle():
            self._lane.remove(self._message)

    def hand_back(self, delay_s: float = 0.0) -> None:
        if self._settle() and self._message.holder is self:
            self._lane.give_back(self._message, delay_s)

    def extend(self) -> None:
        if not self._settled and not self._client.closed and self._message.holder is self:
            self._lane.extend(self._message)

    def terminate(self, reason: str) -> None:
        del reason  # The server tells it to who listens for advisories; nobody does here.
        self.ack()

    def _settle(self) -> bool:
        """Say whether this word is the first, and from a client that still has a connection."""
        first = not self._settled and not self._client.closed
        self._settled = True
        return first


class MemoryInbox:
    """`bus.port.Inbox` in memory; what is asked for never lapses."""

    def __init__(
        self, client: "MemoryQueue", lane: _Lane, deliver: Callable[[Delivery], None]
    ) -> None:
        self.client = client
        #: What it has asked for, by level.
        self.credits = [0] * subjects.LEVELS
        self.deliver = deliver
        self._lane = lane
        self._open = True

    def request(self, count: int, level: int = 0) -> None:
        if not self._open or count <= 0:
            return
        if not self.credits[level]:
            self._lane.askers[level].append(self)
        self.credits[level] += count
        self._lane.match()

    async def close(self) -> None:
        self.shut()

    def shut(self) -> None:
        """Ask for nothing more."""
        self._open = False
        for level, askers in enumerate(self._lane.askers):
            if self.credits[level]:
                askers.remove(self)
                self.credits[level] = 0


class _Stream:
    """One agent's work queue."""

    def __init__(self, lease_s: float) -> None:
        self.stored: dict[str, _Message] = {}
        self._lanes: dict[str, _Lane] = {}
        self._lease_s = lease_s

    def lane(self, name: str) -> _Lane:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _Lane(name, self.stored, self._lease_s)
        return lane

    def store(self, lane: str, message: _Message) -> None:
        """Keep the message unless its subject waits or is held already."""
        if message.subject in self.stored:
            return
        self.stored[message.subject] = message
        self.lane(lane).fresh.append(message)
        self.lane(lane).match()


class MemoryQueues:
    """What a broker remembers of its queues; shared by the clients of one process."""

    def __init__(self, lease_s: float) -> None:
        self._streams: dict[AgentName, _Stream] = {}
        self._lease_s = lease_s

    def stream(self, agent: AgentName) -> _Stream:
        """Return the agent's work queue, made when there is none."""
        stream = self._streams.get(agent)
        if stream is None:
            subjects.check_agent(agent)
            stream = self._streams[agent] = _Stream(self._lease_s)
        return stream

    def inject(self, subject: str, headers: bytes | None, body: bytes) -> None:
        """Store a message as any other publisher might have made it; for tests."""
        at = subjects.parse_invocation_subject(subject)
        self.stream(at.agent).store(at.lane, _Message(subject, headers, body))

    def hurry(self, subject: str) -> None:
        """Deliver a message now that somebody holds, or that was handed back for a while."""
        at = subjects.parse_invocation_subject(subject)
        stream = self.stream(at.agent)
        message = stream.stored.get(subject)
        if message is not None and message.lease is not None:
            stream.lane(at.lane).give_back(message)

    def bodies(self, agent: AgentName) -> list[bytes]:
        """Return the bodies of the messages that are stored for `agent`."""
        return [message.body for message in self.stream(agent).stored.values()]

    def waiting(self, agent: AgentName) -> int:
        """Return how many messages are stored for `agent`, waiting or held."""
        return len(self.stream(agent).stored)


class MemoryQueue:
    """`bus.port.Queue` in memory, as one client sees it."""

    def __init__(self, queues: MemoryQueues) -> None:
        self.closed = False
        self._queues = queues
        self._inboxes: list[MemoryInbox] = []

    async def ensure(self, agent: AgentName, *, slots: int) -> None:
        stream = self._queues.stream(agent)
        for lane in subjects.lanes(slots):
            stream.lane(lane)

    def publish(self, lane: str, invocation: Invocation) -> asyncio.Future[None]:
        return answered(lambda: self._store(lane, invocation))

    def _store(self, lane: str, invocation: Invocation) -> None:
        if self.closed:
            raise Unavailable("this connection is closed")
        headers, body = encode_invocation(invocation)
        check_size(len(headers) + len(body), invocation.target)
        ref = invocation.ref
        subject = subjects.invocation_subject(
            ref.agent, lane, ref.future, invocation.attempt, invocation.hops
        )
        self._queues.stream(ref.agent).store(lane, _Message(subject, headers, body))

    def hurry(self, lease: bytes) -> None:
        if not self.closed:
            self._queues.hurry(lease.decode())

    async def open(
        self,
        agent: AgentName,
        lane: str,
        deliver: Callable[[Delivery], None],
        lapsed: Callable[[int], None],
    ) -> MemoryInbox:
        del lapsed  # Nothing is ever given up here.
        inbox = MemoryInbox(self, self._queues.stream(agent).lane(lane), deliver)
        self._inboxes.append(inbox)
        return inbox

    def close(self) -> None:
        """End as a lost connection does: what is held stays held until its lease runs out."""
        self.closed = True
        for inbox in self._inboxes:
            inbox.shut()


def answered(act: Callable[[], T]) -> "asyncio.Future[T]":
    """Do `act` now and return its outcome as a future of the next loop tick.

    A broker never answers within the tick of the question; nor may its twin, or code that only
    loops and awaits would never let anything else run.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()
    try:
        loop.call_soon(_answer, answer, act())
    except NalarError as error:
        loop.call_soon(_refuse, answer, error)
    return answer


def _answer(answer: "asyncio.Future[T]", value: T) -> None:
    if not answer.done():
        answer.set_result(value)


def _refuse(answer: "asyncio.Future[T]", error: NalarError) -> None:
    if not answer.done():
        answer.set_exception(error)


def check_size(size: int, what: str) -> None:
    """Raise ValueTooLarge when headers and body of `what` exceed what a server takes."""
    if size > PAYLOAD_MAX_BYTES:
        raise ValueTooLarge(
            f"{what}: headers and body are {size:,} bytes; a message may have {PAYLOAD_MAX_BYTES:,}"
        )
