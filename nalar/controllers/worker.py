"""A worker: pulls calls, lets the local controller decide, runs what it says.

A shell: it turns deliveries, records and waits into events, and effects into tasks. What to do
is decided in `controllers.local_state`, how much to ask for in `controllers.lanes`, how one
call runs in `controllers.run`.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, assert_never

import orjson

from nalar.agents.describe import describe_agent
from nalar.agents.executor import Outcome
from nalar.agents.spec import AgentSpec
from nalar.backend import Backend
from nalar.bus.port import Delivery, Inbox
from nalar.bus.subjects import SHARED_LANES, slot_lane
from nalar.calls import Calls
from nalar.clock import Clock
from nalar.controllers.held import ExecutionSlot, Held, Postponed
from nalar.controllers.intake import Intake
from nalar.controllers.lanes import Credits
from nalar.controllers.local_events import (
    DrainBegan,
    Effect,
    Ended,
    Event,
    Expire,
    Fail,
    HandBack,
    LaneLost,
    Left,
    Resume,
    Start,
    Ticked,
)
from nalar.controllers.local_state import LocalState
from nalar.controllers.membership import Membership, SlotHandlers
from nalar.controllers.outcomes import dependency_failed, not_started
from nalar.controllers.run import Runner
from nalar.errors import NalarError, UsageError
from nalar.ids import AgentName, WorkerId
from nalar.results import Results
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
#: Signs of life in one lease of a message: two may be lost.
_BEATS = 3
#: Where the registry keeps what is served, in the control bucket.
AGENTS = "agent"


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
        self._state = LocalState(settings.concurrency)
        window = int(settings.concurrency * settings.prefetch_factor)
        self._credits = Credits(settings.concurrency + window)
        self._sessions = Sessions(backend, settings)
        self._runner = Runner(name, backend, calls, results, self._sessions, settings, clock)
        self._intake = Intake(
            backend, results, self._sessions, settings, clock,
            self._feed, self._finish_soon, self._spawn,
        )  # fmt: skip
        self._held = self._intake.held
        self._inboxes: dict[str, Inbox] = {}
        #: In the order of their start, which is the order in which a drain gives them back.
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._ended = asyncio.Event()
        self._finished = 0
        self._membership = Membership(
            backend.control, settings, name, self.describe,
            SlotHandlers(self._slot_gained, self._slot_released, self._slot_lost),
        )  # fmt: skip

    # Life.

    async def serve(self, agents: Sequence[AgentSpec]) -> None:
        """Begin to serve `agents`; may be called again with others.

        Raises UsageError for a signature that cannot be served, and when sessions of an agent
        have been spread over another number of slots.
        """
        for agent in agents:
            agent.check()
        for agent in agents:
            self._intake.agents[agent.name] = agent
            slots = self._settings.slots if agent.stateful else 0
            await self._backend.queue.ensure(agent.name, slots=slots)
            await self._register(agent, slots)
            for rank, lane in enumerate(reversed(SHARED_LANES)):
                await self._open(agent.name, lane, rank)
        await self._membership.join(agents)

    async def _register(self, agent: AgentSpec, slots: int) -> None:
        key = f"{AGENTS}.{agent.name}"
        entry = await self._backend.control.get(key)
        known: dict[str, Any] = (
            orjson.loads(entry.value) if entry is not None and entry.value else {}
        )
        before: int = known.get("slots", slots)
        if slots and before and before != slots:
            raise UsageError(
                f"the sessions of {agent.name} are spread over {before} slots, and this worker "
                f"would look for them in {slots}: set slots to {before} (NALAR_SET_SLOTS={before})"
            )
        description = describe_agent(agent) | {"slots": slots}
        await self._backend.control.put(key, orjson.dumps(description))

    async def run(self) -> None:
        """Keep leases and deadlines, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._membership.run())
            tasks.create_task(self._extend_leases())
            tasks.create_task(self._watch_deadlines())

    async def drain(self, grace_s: float) -> int:
        """Give back what has not started, let what runs finish within `grace_s`, and leave.

        Returns how many calls still ran at the end and were abandoned; they go to others.
        """
        self._membership.retire()
        for name in list(self._inboxes):
            await self._close(name)
        self._feed(DrainBegan())
        await self._membership.give_up()
        try:
            async with asyncio.timeout(grace_s):
                await self._until(lambda: not self._held)
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
        self._runner.close()
        return abandoned

    def describe(self) -> dict[str, object]:
        """Return what the registry shows of this worker."""
        return {
            "worker": self.name,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "agents": sorted(self._intake.agents),
            "concurrency": self._settings.concurrency,
            "finished": self._finished,
            **self._state.counts(),
        }

    # Lanes.

    async def _open(self, agent: AgentName, lane: str, rank: int, *, private: bool = False) -> None:
        name = f"{agent}/{lane}"
        if name in self._inboxes:
            return
        self._inboxes[name] = await self._backend.queue.open(
            agent, lane, partial(self._deliver, name), partial(self._lapsed, name)
        )
        self._credits.open(name, rank, private=private)
        self._ask()

    async def _close(self, name: str) -> None:
        self._credits.close(name)
        inbox = self._inboxes.pop(name, None)
        if inbox is not None:
            await inbox.close()

    async def _slot_gained(self, agent: AgentName, slot: int) -> None:
        await self._open(agent, slot_lane(slot), rank=1, private=True)

    async def _slot_released(self, agent: AgentName, slot: int) -> None:
        name = await self._leave_slot(agent, slot)
        # A call that waits may wait for one in this very slot, which only the next owner can run.
        await self._until(
            lambda: (
                not any(
                    held.inbox == name and self._state.works(key)
                    for key, held in self._held.items()
                )
            )
        )

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
            self._inboxes[ask.lane].request(ask.count)

    def _deliver(self, name: str, delivery: Delivery) -> None:
        self._credits.delivered(name, delivery.backlog)
        self._intake.take(name, delivery)
        self._ask()

    def _lapsed(self, name: str, count: int) -> None:
        self._credits.lapsed(name, count)
        self._ask()

    # Events in, effects out.

    def _feed(self, event: Event) -> None:
        for effect in self._state.handle(event):
            self._enact(effect)
        if isinstance(event, Left):
            # A slot is free, and nothing of ours may come to an end before more is asked for.
            self._ask()
            self._ended.set()

    def _enact(self, effect: Effect) -> None:
        held = self._held[effect.key]
        match effect:
            case Start():
                held.slot = ExecutionSlot(effect.key, self._feed)
                self._spawn(self._conclude(held, partial(self._runner.run, held)))
            case Resume():
                assert held.slot is not None, "a call that comes back has run before"
                held.slot.resumed()
            case Fail(_, cause):
                self._finish_soon(held, dependency_failed(held.invocation, held.resolved[cause]))
            case Expire():
                self._finish_soon(held, not_started(held.invocation, self._clock.now_s()))
            case HandBack():
                held.delivery.hand_back()
                self._forget(held)
            case _:
                assert_never(effect)

    def _finish_soon(self, held: Held, outcome: Outcome) -> None:
        """Commit an outcome that needs no running."""
        self._spawn(self._conclude(held, partial(self._runner.commit, held, outcome)))

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
            held.delivery.hand_back(_HAND_BACK_S)
            raise
        else:
            held.delivery.ack()
            self._finished += 1
        finally:
            self._forget(held)

    def _forget(self, held: Held) -> None:
        self._intake.release(held)
        self._feed(Ended(held.key))
        self._ended.set()
        self._ask()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start `work` as a task of this worker: kept alive, cancelled when it drains."""
        task = asyncio.get_running_loop().create_task(work)
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

    async def _extend_leases(self) -> None:
        """Tell the queue that what is held here is alive, until cancelled."""
        while True:
            await asyncio.sleep(self._settings.lease_s / _BEATS)
            for held in list(self._held.values()):
                held.delivery.extend()

    async def _watch_deadlines(self) -> None:
        """Let time pass for calls that have not started; write snapshots behind."""
        while True:
            await asyncio.sleep(_TICK_S)
            self._feed(Ticked(self._clock.now_s()))
            for session in self._sessions.unsaved():
                await self._sessions.save(session, self._clock.now_s())
