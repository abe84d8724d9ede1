"""The queue on JetStream: publishing that survives reconnects, and lanes to pull from."""

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable
from typing import ClassVar, Final

from nalar.bus import subjects, topology
from nalar.bus.codec import encode_invocation
from nalar.bus.link import Link
from nalar.bus.port import Delivery
from nalar.bus.pull import HAND_BACK, JetStreamInbox
from nalar.bus.replies import (
    JETSTREAM_UNAVAILABLE,
    NOT_STORED,
    ApiError,
    NoResponders,
    parse_leader_read,
    parse_stored,
)
from nalar.bus.waiter import Waiter
from nalar.errors import NalarError, Unavailable, ValueTooLarge
from nalar.ids import AgentName
from nalar.messages import Invocation
from nalar.settings import Settings

#: Pause before asking a server again that has the stream but no leader for it.
LEADERLESS_PAUSE_S = 0.25


#: How the server says that a message waits under the subject already.
_TAKEN: Final = "per subject"


class Taken(NalarError):
    """A subject is taken by a copy that may be only on its way into the cluster's logs."""

    code = "taken"


class _Publish(Waiter):
    """One invocation on its way into its stream."""

    stores: ClassVar = True
    __slots__ = ("_invocation", "_queue", "refusals")

    def __init__(self, queue: "JetStreamQueue", subject: str, invocation: Invocation) -> None:
        headers, body = encode_invocation(invocation)
        super().__init__(subject, body, headers)
        self._queue = queue
        self._invocation = invocation
        #: How often nobody took it.
        self.refusals = 0

    @property
    def agent(self) -> AgentName:
        """Whose call it is."""
        return self._invocation.ref.agent

    def accept(self, headers: bytes | None, data: bytes) -> bool:
        del headers
        try:
            parse_stored(data)
        except ApiError as error:
            if error.err_code == JETSTREAM_UNAVAILABLE:
                raise NoResponders(str(error)) from error
            if error.err_code != NOT_STORED or _TAKEN not in str(error):
                raise Unavailable(f"{self._invocation.target} was refused: {error}") from error
            # An earlier copy of this very call waits or runs already, where one server says so.
            if self._queue.clustered:
                raise Taken(str(error)) from error
        self.resolve(None)
        return True

    def fail(self, error: NalarError) -> None:
        if isinstance(error, NoResponders):
            self.refusals += 1
            self._queue.mend(self.agent, self)
        elif isinstance(error, Taken):
            self._queue.look_for(self)
        elif isinstance(error, ValueTooLarge):
            super().fail(ValueTooLarge(f"{self._invocation.target}: {error}"))
        else:
            super().fail(error)

    def before_resend(self) -> None:
        if not self._invocation.resent:
            self._invocation = dataclasses.replace(self._invocation, resent=True)
            self.headers, self.body = encode_invocation(self._invocation)


class JetStreamQueue:
    """`bus.port.Queue` on JetStream."""

    def __init__(self, link: Link, settings: Settings, *, replicas: int) -> None:
        self._link = link
        self._settings = settings
        self._replicas = replicas
        self._loop = asyncio.get_running_loop()
        self._mending: dict[AgentName, asyncio.Task[None]] = {}
        self._held: dict[AgentName, list[_Publish]] = {}
        self._looking: dict[asyncio.Task[None], _Publish] = {}

    @property
    def clustered(self) -> bool:
        """Whether what is to be stored is agreed on by several servers first."""
        return self._link.clustered

    async def ensure(self, agent: AgentName, *, slots: int) -> None:
        await self._ensure_stream(agent)
        await topology.ensure_consumers(
            self._link, agent, subjects.lanes(slots), self._settings.lease_s
        )

    async def _ensure_lane(self, agent: AgentName, lane: str) -> None:
        await self._ensure_stream(agent)
        await topology.ensure_consumer(self._link, agent, lane, self._settings.lease_s)

    async def _ensure_stream(self, agent: AgentName) -> None:
        subjects.check_agent(agent)
        await topology.ensure_stream(self._link, topology.queue_stream(agent, self._replicas))

    def publish(self, lane: str, invocation: Invocation) -> asyncio.Future[None]:
        ref = invocation.ref
        subject = subjects.invocation_subject(
            ref.agent, lane, ref.future, invocation.attempt, invocation.hops
        )
        try:
            waiter = _Publish(self, subject, invocation)
        except NalarError as error:
            refused: asyncio.Future[None] = self._loop.create_future()
            refused.set_exception(error)
            return refused
        held = self._held.get(ref.agent)
        if held is not None:  # Behind those that wait for the stream to be made.
            waiter.deadline = self._loop.time() + self._settings.reply_timeout_s
            held.append(waiter)
            return waiter.future
        return self._link.request(waiter, self._settings.reply_timeout_s)

    def hurry(self, lease: bytes) -> None:
        self._link.signal(lease, HAND_BACK)

    async def open(
        self,
        agent: AgentName,
        lane: str,
        deliver: Callable[[Delivery], None],
        lapsed: Callable[[int], None],
    ) -> JetStreamInbox:
        await self._ensure_lane(agent, lane)

        def mend() -> None:
            self._mend(agent, lane)

        return JetStreamInbox(self._link, subjects.queue_stream(agent), lane, deliver, lapsed, mend)

    def mend(self, agent: AgentName, publish: _Publish) -> None:
        """Make the stream that nobody answers for, then send `publish` again."""
        self._held.setdefault(agent, []).append(publish)
        self._mend(agent, None)

    def look_for(self, publish: _Publish) -> None:
        """See whether the copy that is in the way of `publish` is stored; send it again if not.

        A leader that is cut off refuses copies of what it could pass on to nobody, and forgets
        both once it no longer leads.
        """
        task = self._loop.create_task(self._look_for(publish), name="look-for")
        self._looking[task] = publish
        task.add_done_callback(self._looking.pop)

    async def _look_for(self, publish: _Publish) -> None:
        stream = subjects.queue_stream(publish.agent)
        body = b'{"last_by_subj":"%b"}' % publish.subject.encode()
        with contextlib.suppress(NalarError):
            stored = parse_leader_read(await self._link.api(subjects.api_read(stream), body))
            if stored is not None:
                publish.resolve(None)
                return
        await asyncio.sleep(LEADERLESS_PAUSE_S)
        self._link.again(publish)

    def _mend(self, agent: AgentName, lane: str | None) -> None:
        if agent not in self._mending and not self._link.closed:
            task = self._loop.create_task(self._mend_stream(agent, lane), name=f"mend-{agent}")
            self._mending[agent] = task
            task.add_done_callback(lambda _: self._mended(agent))

    async def _mend_stream(self, agent: AgentName, lane: str | None) -> None:
        try:
            await (self._ensure_stream(agent) if lane is None else self._ensure_lane(agent, lane))
        except NalarError as error:
            for publish in self._held.pop(agent, []):
                Waiter.fail(publish, Unavailable(f"the queue of {agent}: {error}"))
            return
        # The stream may stand and have no leader for a moment: never in a tight loop.
        if any(publish.refusals > 1 for publish in self._held.get(agent, [])):
            await asyncio.sleep(LEADERLESS_PAUSE_S)
        for publish in self._held.pop(agent, []):
            self._link.again(publish)

    def _mended(self, agent: AgentName) -> None:
        del self._mending[agent]
        if self._held.get(agent):
            self._mend(agent, None)

    async def close(self) -> None:
        """Stop mending; publishes that wait for it fail."""
        left = [publish for held in self._held.values() for publish in held]
        left += self._looking.values()
        tasks = (*self._mending.values(), *self._looking)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for publish in left:
            Waiter.fail(publish, Unavailable("this connection was closed"))
        self._held.clear()
