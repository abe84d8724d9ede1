"""The queue, and metric reports, as the rest of Nalar sees them.

Adapters are bus.jetstream, bus.link_reports, bus.memory and bus.memory_reports.

Every promise below has a test in tests/contract that runs on each adapter.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from nalar.errors import MalformedMessage
from nalar.ids import AgentName
from nalar.messages import Invocation
from nalar.reports import Report


class Watch(Protocol):
    """A standing interest; `close` ends it at once and may be called twice."""

    def close(self) -> None:
        """Hear nothing more."""
        ...


class Delivery(Protocol):
    """One message handed to this worker; its lease runs out unless it is extended.

    The four verbs settle or prolong it, never block, and do nothing when called after another
    settled it. A lost ack means that the message comes again: the ledger decides, not the ack.
    """

    #: What came; MalformedMessage says what is wrong with it.
    content: Invocation | MalformedMessage
    #: Its bytes, for the record of a dead message.
    raw: bytes
    #: How often the server has handed it out, this time included.
    deliveries: int
    #: The inbox's lane.
    lane: str
    #: How many messages waited in the lane when this one left it.
    backlog: int
    #: Names its lease to the server, from whatever connection.
    lease: bytes

    def ack(self) -> None:
        """Remove the message for good."""
        ...

    def hand_back(self, delay_s: float = 0.0) -> None:
        """Give the message back; another worker may have it after `delay_s`."""
        ...

    def extend(self) -> None:
        """Start the lease of the message anew."""
        ...

    def terminate(self, reason: str) -> None:
        """Remove the message: it can never be run."""
        ...


class Inbox(Protocol):
    """One lane of one agent, as this worker pulls from it."""

    def request(self, count: int, level: int = 0) -> None:
        """Ask for up to `count` messages more than were asked for before.

        Of all asks that are open at a lane, those of the lowest `level` (0 to 9) are answered
        first, in turns.
        Each is delivered when there is one; what the server gave up on (expired, leader
        change, reconnect) is reported through `lapsed` so that the asker's books stay right.
        """
        ...

    async def close(self) -> None:
        """Ask for nothing more and deliver nothing more; messages held stay held."""
        ...


class Queue(Protocol):
    """Durable inboxes, one work queue an agent, with a lane for each priority and slot."""

    async def ensure(self, agent: AgentName, *, slots: int) -> None:
        """Make the agent's stream and consumers unless they stand.

        Safe to call at once from many processes. `slots` is 0 for an agent without state.
        """
        ...

    def publish(self, lane: str, invocation: Invocation) -> asyncio.Future[None]:
        """Send `invocation` at once; the returned future ends when it is stored.

        Messages leave in the order of the calls. A message whose future already waits in the
        lane is stored once. Survives reconnects by sending again (marked `resent`). Makes the
        agent's stream when there is none. Raises Unavailable when the deadline set by
        `publish_timeout_s` passes, ValueTooLarge when headers and body exceed the payload limit.
        """
        ...

    def hurry(self, lease: bytes) -> None:
        """Deliver now what was handed back for a while; `lease` is one that it was held by.

        Does nothing for what is gone. What somebody holds is delivered a second time.
        """
        ...

    async def open(
        self,
        agent: AgentName,
        lane: str,
        deliver: Callable[[Delivery], None],
        lapsed: Callable[[int], None],
    ) -> Inbox:
        """Open a lane. `deliver` is called on the event loop for each message, in order."""
        ...


class Reports(Protocol):
    """Metric reports of workers: told to whoever listens, and kept by nobody."""

    def publish(self, report: Report) -> None:
        """Tell a report at once; without a connection it is lost.

        Raises ValueTooLarge when it exceeds the payload limit.
        """
        ...

    def watch(self, deliver: Callable[[Report], None]) -> Watch:
        """Call `deliver` on the event loop for each report from now on, and ask for full ones.

        Those of one worker come in order; any may be lost, which its `number` shows. What is no
        report is left out.
        """
        ...

    def ask(self) -> None:
        """Ask all workers to tell all there is: somebody listens who has missed something."""
        ...

    def on_ask(self, notify: Callable[[], None]) -> Watch:
        """Have `notify` called when full reports are asked for: for workers."""
        ...
