"""A worker: pulls calls, lets the local controller decide, runs what it says.

A shell: it turns deliveries, records and waits into events, and effects into tasks. What to do
is decided in `controllers.local_state`, how much to ask for in `controllers.lanes`, how one
call runs in `controllers.run`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, assert_never

from nalar.agents.executor import Outcome
from nalar.agents.spec import AgentSpec
from nalar.backend import Backend
from nalar.bus.port import Delivery, Inbox
from nalar.bus.subjects import slot_lane
from nalar.calls.calls import Calls
from nalar.calls.directive_watch import DirectiveWatch
from nalar.calls.notices import Notices, concerns
from nalar.calls.results import Results
from nalar.clock import Clock
from nalar.context import aside
from nalar.controllers.cancel_watch import CancelWatch
from nalar.controllers.held import ExecutionSlot, Held, Postponed
from nalar.controllers.intake import Intake
from nalar.controllers.lanes import Credits
from nalar.controllers.lingering import Lingering, gather
from nalar.controllers.local_events import (
    Directed,
    DrainBegan,
    Effect,
    Ended,
    Event,
    Expire,
    Fail,
    HandBack,
    LaneLost,
    Left,
    PeersChanged,
    Resume,
    Start,
    Stop,
    StopRequested,
    Ticked,
)
from nalar.controllers.membership import Membership, SlotHandlers
from nalar.controllers.obedience import Obedience
from nalar.controllers.outcomes import dependency_failed
from nalar.controllers.pulse import Pulse
from nalar.controllers.registering import here, register
from nalar.controllers.reporting import Reporting
from nalar.controllers.run import Runner
from nalar.controllers.shared_lanes import SharedLanes
from nalar.controllers.stops import Stops
from nalar.controllers.suspender import Suspender
from nalar.directives import Drain, Kill
from nalar.errors import NalarError
from nalar.ids import AgentName, WorkerId
from nalar.settings import Settings
from nalar.statestore.sessions import Sessions

log = logging.getLogger("nalar.worker")

#: A call that could not be settled is handed back for this long, in seconds.
_HAND_BACK_S = 1.0
#: How often deadlines of calls that have not started are looked at, in seconds.
_TICK_S = 1.0
#: Records that may be on their way to the ledger before a worker asks for more calls.
_SETTLING_MAX = 1024
#: How long cancelled calls may take to clean up, in seconds.
_CANCEL_S = 2.0


class Worker:
    """Serves agents on one backend from one event loop."""

    def __init__(
        self,
        name: WorkerId,
        backend: Backend,
        calls: Calls,
        results: Results,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self.name = name
        self._backend = backend
        self._settings = settings
        self._clock = clock
        self._reporting = Reporting(
            name, backend, settings, clock,
            lambda: self._membership.slots(), lambda: self._directives.applied,  # noqa: PLW0108 -- made below
        )  # fmt: skip
        self._state = self._reporting.state
        window = int(settings.concurrency * settings.prefetch_factor)
        self._credits = Credits(settings.concurrency, window)
        self._sessions = Sessions(backend, settings)
        self._suspender = Suspender(backend, settings, clock)
        self._runner = Runner(
            name, backend, calls, results, self._sessions, settings, clock, self._suspender
        )
        notices = Notices()
        self._stops = Stops(backend, calls, self._runner, notices, clock, self._spawn)
        self._cancel_watch = CancelWatch(backend, notices, clock, self._cancelled)
        self._intake = Intake(
            backend, results, self._sessions, settings, clock, notices,
            calls.routes, self._feed, self._finish_soon, self._spawn,
        )  # fmt: skip
        self._held = self._intake.held
        self._inboxes: dict[str, Inbox] = {}
        self._obedience = Obedience(
            name, backend, clock, self._intake, self._sessions, self._credits, self._feed,
            self._spawn,
        )  # fmt: skip
        self._directives = DirectiveWatch(backend, self._obedience.obey)
        #: In the order of their start, which is the order in which a drain gives them back.
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._lingering = Lingering(clock, self._feed)
        self._ended = asyncio.Event()
        self._finished = 0
        weights = self._obedience.weights
        self._membership = Membership(
            backend.control, settings, name,
            SlotHandlers(self._slot_gained, self._slot_released, self._slot_lost), weights,
        )  # fmt: skip
        self._shared = SharedLanes(name, weights, self._open, self._close, self._spawn)
        self._obedience.on_weights += self._membership.weighed, self._shared.weighed
        self._pulse = Pulse(
            backend, settings, name, self.describe, self._holds, self._membership.lapsed
        )
        backend.on_reconnect(self._membership.doubt)

    # Life.

    async def serve(self, agents: Sequence[AgentSpec]) -> None:
        """Begin to serve `agents`; may be called again with others.

        Raises UsageError for a signature that cannot be served, and when sessions of an agent
        have been spread over another number of slots.
        """
        for agent in agents:
            agent.check()
        await self._cancel_watch.begin()
        await self._directives.begin()
        for agent in agents:
            self._intake.agents[agent.name] = agent
            self._reporting.serve(agent)
            slots = self._settings.slots if agent.stateful else 0
            await self._backend.queue.ensure(agent.name, slots=slots)
            await register(self._backend.control, agent, slots)
            await self._shared.serve(agent.name)
        await self._pulse.begin()
        await self._membership.join(agents)

    async def run(self) -> None:
        """Keep leases and deadlines, until cancelled; whatever ends that ends the signs of life."""
        parts = self._membership, self._pulse, self._cancel_watch, self._directives, self._reporting
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch_deadlines())
                tasks.create_task(self._suspender.run(self._held))
                for part in parts:
                    tasks.create_task(part.run())
        finally:
            self._lingering.until(None)
            await self._pulse.stop()

    def on_stuck(self, notify: Callable[[], None]) -> None:
        """Have `notify` called when code does not end that was told to: a new process helps."""
        self._runner.stuck.on_stuck(notify)

    def on_end(self, notify: Callable[[Drain | Kill], None]) -> None:
        """Have `notify` called when a directive says that this worker is to end."""
        self._obedience.on_end.append(notify)

    async def drain(self, grace_s: float) -> int:
        """Give back what has not started, let what runs finish within `grace_s`, and leave.

        Returns how many calls still ran at the end and were abandoned; they go to others.
        """
        self._membership.retire()
        await self._shared.retire()
        for name in list(self._inboxes):
            await self._close(name)
        self._feed(DrainBegan())
        self._obedience.stop_preemptable()
        await self._membership.give_up()
        try:
            async with asyncio.timeout(grace_s):
                # Nobody waits for code that will not end.
                await self._until(lambda: all(held.stuck for held in self._held.values()))
        except TimeoutError:
            log.warning("%s: %d calls did not end in %s s", self.name, len(self._held), grace_s)
        abandoned = len(self._held)
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            # Code that will not be cancelled is left alone.
            await asyncio.wait(list(self._tasks), timeout=_CANCEL_S)
        for session in self._sessions.all():
            await self._sessions.save(session, self._clock.now_s())
        await self._membership.leave()
        await self._pulse.end()
        self._runner.close()
        return abandoned

    def describe(self) -> dict[str, object]:
        """Return what the registry shows of this worker."""
        return {
            "worker": self.name,
            **here(),
            "agents": sorted(self._intake.agents),
            "concurrency": self._settings.concurrency,
            "finished": self._finished,
            **self._membership.describe(),
            **self._state.counts(),
        }

    def _holds(self) -> Iterable[tuple[Delivery, bool]]:
        return ((held.delivery, held.slot is not None) for held in self._held.values())

    # Lanes.

    async def _open(
        self, agent: AgentName, lane: str, rank: int, *, private: bool = False, share: float = 1.0
    ) -> None:
        name = f"{agent}/{lane}"
        if name in self._inboxes:
            return
        self._inboxes[name] = await self._backend.queue.open(
            agent, lane, partial(self._deliver, name), partial(self._lapsed, name)
        )
        self._credits.open(name, rank, private=private, share=share)
        self._credits.mute(name, muted=agent in self._obedience.paused)
        self._ask()

    async def _close(self, name: str) -> None:
        self._credits.close(name)
        inbox = self._inboxes.pop(name, None)
        if inbox is not None:
            await inbox.close()

    async def _slot_gained(self, agent: AgentName, slot: int) -> None:
        # A call that ran on after the slot was lost may have left a copy that is old by now.
        self._sessions.drop_slot(agent, slot)
        await self._open(agent, slot_lane(slot), rank=1, private=True)

    async def _slot_released(self, agent: AgentName, slot: int) -> None:
        name = await self._leave_slot(agent, slot)

        def works() -> bool:
            here = [key for key, held in self._held.items() if held.inbox == name]
            return any(map(self._state.works, here))

        # A call that waits may wait for one in this very slot, which only the next owner can run.
        await self._until(lambda: not works())
        for session in self._sessions.drop_slot(agent, slot):
            await self._sessions.save(session, self._clock.now_s())

    async def _slot_lost(self, agent: AgentName, slot: int) -> None:
        await self._leave_slot(agent, slot)
        self._sessions.drop_slot(agent, slot)

    async def _leave_slot(self, agent: AgentName, slot: int) -> str:
        """Stop pulling from the slot, give back what has not started, and return its inbox."""
        name = f"{agent}/{slot_lane(slot)}"
        await self._close(name)
        self._feed(LaneLost(tuple(k for k, held in self._held.items() if held.inbox == name)))
        return name

    def _ask(self) -> None:
        if self._state.settling > _SETTLING_MAX:
            # The ledger is slower than the agents: more prefetching would only pile up records.
            return
        for ask in self._credits.asks(self._state.load):
            self._inboxes[ask.lane].request(ask.count, ask.level)

    def _deliver(self, name: str, delivery: Delivery) -> None:
        self._credits.delivered(name, delivery.backlog)
        self._intake.take(name, delivery)
        self._ask()

    def _lapsed(self, name: str, count: int) -> None:
        self._credits.lapsed(name, count)
        self._ask()

    # Events in, effects out.

    def _feed(self, event: Event) -> None:
        for effect in self._state.handle(event, self._clock.now_s()):
            self._enact(effect)
        self._lingering.until(self._state.due_s)
        if not self._reporting.awake:
            self._reporting.wake()
        if isinstance(event, Left | Directed):
            if isinstance(event, Left):
                self._reporting.left(self._held[event.key])
                self._suspender.stirred.set()
            # A slot is free, and nothing of ours may come to an end before more is asked for.
            self._ask()
            self._ended.set()

    def _enact(self, effect: Effect) -> None:
        held = self._held[effect.key]
        match effect:
            case Start():
                gather(effect, self._held)
                held.slot = ExecutionSlot(effect.key, self._feed)
                held.task = self._spawn(self._conclude(held, partial(self._runner.run, held)))
            case Resume():
                assert held.slot is not None, "a call that comes back has run before"
                self._reporting.resumed(held)
                held.slot.resumed()
            case Fail(_, cause):
                self._finish_soon(held, dependency_failed(held.invocation, held.resolved[cause]))
            case Expire():
                self._finish_soon(held, self._stops.outcome(held, "expired"))
            case Stop(_, why):
                if held.slot is None:
                    self._finish_soon(held, self._stops.outcome(held, why))
                else:
                    self._stops.stop(held, why)
            case HandBack():
                held.delivery.hand_back()
                self._forget(held)
            case _:
                assert_never(effect)

    def _finish_soon(self, held: Held, outcome: Outcome) -> None:
        """Commit an outcome that needs no running."""
        self._spawn(self._conclude(held, partial(self._stops.commit, held, outcome)))

    def _cancelled(self, token: str) -> None:
        """A notice has come: end the calls here that it covers."""
        keys = [k for k, held in self._held.items() if concerns(token, held.invocation.ref)]
        for key in keys:
            self._feed(StopRequested(key, "cancelled"))

    async def _conclude(self, held: Held, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work`, then acknowledge the call; give it back when a record may be missing."""
        try:
            await work()
        except Postponed as postponed:
            held.delivery.hand_back(postponed.delay_s)
        except NalarError as error:
            log.warning("%s is handed back: %s", held.invocation.target, error)
            held.delivery.hand_back(_HAND_BACK_S)
        except BaseException:
            if held.stopping is not None:
                await self._stops.over(held)
            elif held.asleep_s is not None:
                held.delivery.hand_back(held.asleep_s)
            else:
                held.delivery.hand_back(_HAND_BACK_S)
                raise
        else:
            held.delivery.ack()
            self._finished += 1
            self._reporting.ended(held)
        finally:
            self._forget(held)

    def _forget(self, held: Held) -> None:
        self._intake.release(held)
        self._feed(Ended(held.key, held.tokens))
        self._ended.set()
        self._ask()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start `work` as a task of this worker: kept alive, cancelled when it drains."""
        # A delivery may come from within the code of another call here: this is none of it.
        task = asyncio.get_running_loop().create_task(work, context=aside())
        self._tasks[task] = None
        task.add_done_callback(self._reap)
        return task

    def _reap(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s: a task of the worker failed", self.name, exc_info=error)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._ended.clear()
            await self._ended.wait()

    # What time brings.

    async def _watch_deadlines(self) -> None:
        """Let time pass for calls that have not started; write snapshots behind."""
        while True:
            await asyncio.sleep(_TICK_S)
            if (peers := self._membership.peers_changed()) is not None:
                self._feed(PeersChanged(*peers))
            self._feed(Ticked(self._clock.now_s()))
            for session in self._sessions.unsaved():
                await self._sessions.save(session, self._clock.now_s())
