"""What comes out of the inboxes: calls to hold, calls for another lane, and dead messages."""

import asyncio
import base64
import hashlib
import math
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any

import orjson

from nalar.agents.executor import Outcome
from nalar.agents.spec import AgentSpec
from nalar.backend import Backend
from nalar.bus.codec import decode_record
from nalar.bus.port import Delivery
from nalar.bus.subjects import slot_of_lane
from nalar.call_policy import Batch
from nalar.calls.admission import Admission, may_refuse
from nalar.calls.letters import DEAD
from nalar.calls.notices import Notices
from nalar.calls.results import Notify, Results
from nalar.calls.routes import Routes
from nalar.clock import Clock
from nalar.controllers.held import Held
from nalar.controllers.local_events import Arrived, Event, Settled
from nalar.controllers.outcomes import cancelled, overloaded
from nalar.controllers.ranking import Traits
from nalar.controllers.rejection import reject
from nalar.directives import Route
from nalar.errors import MalformedMessage, Overloaded, suggest
from nalar.ids import AgentName, Ref
from nalar.messages import ErrorInfo, Invocation
from nalar.settings import Settings
from nalar.statestore.port import LedgerEntry
from nalar.statestore.sessions import Sessions

#: Bytes of a dead message that are kept.
_RAW_MAX = 64 * 1024
#: A call that was passed on so often rests a moment before it is passed on again, in seconds.
_HOPS_MANY, _HOPS_PAUSE_S = 8, 0.1
#: How long the next attempt of a call is handed back while this one is about to end, in seconds.
_TWIN_PAUSE_S = 0.1


class Intake:
    """Turns deliveries into held calls and events, for one worker."""

    def __init__(  # noqa: PLR0913, PLR0917 -- what a worker shares with its intake
        self,
        backend: Backend,
        results: Results,
        sessions: Sessions,
        settings: Settings,
        clock: Clock,
        notices: Notices,
        routes: Routes,
        feed: Callable[[Event], None],
        finish: Callable[[Held, Outcome], None],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._backend = backend
        self._results = results
        self._sessions = sessions
        self._settings = settings
        self._clock = clock
        self._notices = notices
        self._routes = routes
        self._feed = feed
        self._finish = finish
        self._spawn = spawn
        self.agents: dict[AgentName, AgentSpec] = {}
        self.admission = Admission()
        #: Calls in this worker's hands, by future.
        self.held: dict[str, Held] = {}

    def take(self, inbox: str, delivery: Delivery) -> None:
        """Take one delivery of the lane `inbox`."""
        content = delivery.content
        if isinstance(content, MalformedMessage):
            self._spawn(self._bury(delivery, content))
            return
        # One that is to begin after its deadline comes again at the deadline, to expire.
        begins = min(content.not_before, content.deadline)
        early_s = begins - self._clock.now_s() if begins else 0.0
        if early_s > 0 and not self._notices.covers(content.ref):
            delivery.hand_back(early_s)
            return
        twin = self.held.get(content.ref.future)
        if twin is not None:
            _take_twin(twin, delivery, content.attempt)
            return
        agent = self.agents[content.ref.agent]
        if content.ref.effect == "s" and not agent.stateful:
            error = MalformedMessage(f"{agent.name} keeps no state, but the ref says it does")
            error.ref = str(content.ref)
            self._spawn(self._bury(delivery, error))
            return
        if agent.stateful and (lane := self._routes.lane(content, stateful=True)) != delivery.lane:
            self._spawn(self._forward(delivery, content, lane))
            return
        self._hold(Held(content, agent, agent.methods.get(content.method), delivery, inbox))

    def route(self, route: Route, *, withdrawn: bool) -> tuple[str, ...]:
        """Serve a session where `route` says, or where its hash does.

        Returns the calls of it here that have come from another lane.
        """
        self._routes.obey(route, withdrawn=withdrawn)
        session = (route.agent, route.session)
        return tuple(
            key
            for key, held in self.held.items()
            if (held.agent.name, held.invocation.session) == session
            and held.invocation.ref.effect == "s"
            and held.delivery.lane != self._routes.lane(held.invocation, stateful=True)
        )

    def _hold(self, held: Held) -> None:
        invocation = held.invocation
        self.held[held.key] = held
        if self._notices.covers(invocation.ref):
            self._finish(held, cancelled(invocation))
            return
        if held.method is None:
            self._finish(held, unknown_method(held.agent, invocation))
            return
        if (refusal := self._refusal(held)) is not None:
            self._finish(held, overloaded(invocation, refusal))
            return
        held.traits, held.arrived_s = traits_of(invocation), self._clock.now_s()
        self._feed(
            Arrived(
                key=held.key,
                lock=invocation.lock if invocation.ref.effect == "s" else None,
                priority=invocation.priority,
                deadline=held.start_by,
                missing=self._await_records(held),
                # One whose result the call needs as well does more than order it.
                after=None if invocation.after in invocation.dependencies else invocation.after,
                at_s=held.arrived_s,
                stop_at=invocation.deadline,
                traits=held.traits,
                slot=slot_of_lane(held.delivery.lane) if invocation.ref.effect == "s" else None,
                batch=_batch(held),
            )
        )

    def _refusal(self, held: Held) -> Overloaded | None:
        """Say why a request is not let in; one that may have begun already is."""
        invocation = held.invocation
        if held.suspect or not may_refuse(invocation.ref):
            return None
        return self.admission.refusal(held.agent.name, invocation.priority)

    # Dependencies.

    def _await_records(self, held: Held) -> frozenset[Ref]:
        """Expect the records the call needs, and return their refs."""
        invocation = held.invocation
        after = invocation.after
        if not invocation.dependencies and after is None:
            return frozenset()
        missing = dict.fromkeys(invocation.dependencies)
        if after is not None and after not in missing and not self._ran_here(held, after):
            missing[after] = None
        for ref in missing:
            self._expect(held, ref, partial(self._came, held))
        return frozenset(missing)

    def _expect(self, held: Held, ref: Ref, notify: Notify) -> None:
        held.expected[ref] = notify
        # What this worker holds itself, it announces itself.
        self._results.expect(ref, notify, covered=ref.future in self.held)

    def release(self, held: Held) -> None:
        """The call is no longer here: what it waited for may never come."""
        self.held.pop(held.key, None)
        if held.gathering is not None:
            held.gathering.leave(held.key)
        for ref, notify in held.expected.items():
            self._results.abandon(ref, notify)
        held.expected.clear()  # Its listeners know the call.

    def _ran_here(self, held: Held, after: Ref) -> bool:
        session = self._sessions.peek(held.agent.name, held.invocation.session)
        return session is not None and after.future in session.ran

    def _came(self, held: Held, entry: LedgerEntry) -> None:
        """A record is there that the call waited for."""
        if self.held.get(held.key) is not held:
            return
        try:
            record = decode_record(entry.ref, entry.body)
        except MalformedMessage:
            # A later version's record, or a foreign hand: it carries no result we can use.
            self._feed(Settled(entry.ref, ok=False))
            return
        held.resolved[entry.ref] = record
        settled = Settled(entry.ref, ok=record.result is not None)
        if entry.ref == held.invocation.after and record.after is not None:
            # It never ran: who followed it follows what it would have followed.
            self._expect(held, record.after, partial(self._came_before, held, settled))
        else:
            self._feed(settled)

    def _came_before(self, held: Held, settled: Settled, entry: LedgerEntry) -> None:
        """A record is there that the call before this one would have waited for."""
        if self.held.get(held.key) is not held:
            return
        try:
            earlier = decode_record(entry.ref, entry.body).after
        except MalformedMessage:
            earlier = None
        if earlier is not None:
            self._expect(held, earlier, partial(self._came_before, held, settled))
        else:
            self._feed(settled)

    # Messages that are not for us, or for nobody.

    async def _forward(self, delivery: Delivery, invocation: Invocation, lane: str) -> None:
        """Put a call into the lane of its session: a caller need not know the slots."""
        if invocation.hops >= _HOPS_MANY:  # Workers differ on where it belongs: not for long.
            await asyncio.sleep(_HOPS_PAUSE_S)
        onward = replace(invocation, resent=True, hops=invocation.hops + 1)
        await self._backend.queue.publish(lane, onward)
        delivery.ack()

    async def _bury(self, delivery: Delivery, error: MalformedMessage) -> None:
        """Record a message that can never run as dead, answer its caller; then remove it."""
        raw = delivery.raw
        digest = hashlib.blake2b(raw, digest_size=16).hexdigest()
        told = {
            "kind": "malformed",
            "reason": str(error)[:1000],
            "at": self._clock.now_s(),
            "lane": delivery.lane,
            "size": len(raw),
            "raw": base64.b64encode(raw[:_RAW_MAX]).decode(),
        }
        await self._backend.control.put(
            f"{DEAD}.{digest}", orjson.dumps(told), ttl_s=self._settings.retention_s
        )
        await reject(self._backend, self._settings, error, self._clock.now_s())
        delivery.terminate(str(error)[:200])


def _batch(held: Held) -> Batch | None:
    """Return how the call may be gathered with others.

    One that may have been started before runs by itself: it may be what made its batch fail, or
    what killed its worker, and the others are not to pay for it twice.
    """
    if held.delivery.deliveries > 1 or held.invocation.attempt > 1:
        return None
    return held.spec.options.batch


def traits_of(invocation: Invocation) -> Traits:
    """Return what directives can tell a call by."""
    root = invocation.ref.root
    try:
        request_at = int(root[:12], 16) / 1000
    except ValueError:
        request_at = math.inf
    # A request that was named, or made elsewhere, has an id without a time.
    return Traits(
        agent=invocation.ref.agent,
        session=invocation.session,
        root=root,
        tenant=invocation.tenant,
        depth=invocation.path.count(" > "),
        request_at=min(request_at, invocation.created),
        method=invocation.method,
    )


def _take_twin(held: Held, delivery: Delivery, attempt: int) -> None:
    """Take another delivery of a call that is in our hands."""
    if attempt == held.invocation.attempt:
        # The lease lapsed while we held it: the newest delivery is the one to settle.
        held.delivery = delivery
        if held.asleep_s is not None:
            held.asleep_s = 0.0  # Woken while it was being suspended.
    elif attempt < held.invocation.attempt:
        delivery.ack()  # Its next attempt is stored: it is the one that we hold.
    else:
        delivery.hand_back(_TWIN_PAUSE_S)


def unknown_method(agent: AgentSpec, invocation: Invocation) -> Outcome:
    """Return the outcome of a call to a method that this version of the agent lacks."""
    known = sorted(agent.methods)
    message = (
        f"{agent.name} has no method {invocation.method!r}; it has {', '.join(known)}."
        f"{suggest(invocation.method, known)}"
    )
    info = ErrorInfo("unknown_target", "UnknownTarget", message, path=invocation.path)
    return Outcome("rejected", error=info)
