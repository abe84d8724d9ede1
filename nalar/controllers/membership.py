"""A worker among workers: the slots it leases.

Its entry in the registry says that it is alive (`controllers.pulse`); a lease names its owner
and counts for as long as that entry stands. So a sign of life is one write, however many slots
are owned, and a worker that froze finds its entry gone and knows that its slots are.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from nalar.agents.spec import AgentSpec
from nalar.bus.port import Watch
from nalar.controllers.pulse import BEATS
from nalar.controllers.roster import LEASES, WORKERS, Roster, Silence
from nalar.controllers.slots import plan_slots
from nalar.controllers.weights import Weights
from nalar.errors import Conflict, NalarError
from nalar.ids import AgentName, WorkerId
from nalar.loops import set_within
from nalar.settings import Settings
from nalar.statestore.port import KeyValue, KeyValueEntry

log = logging.getLogger("nalar.worker")

#: A notice may be lost: in so many turns the registry is read once.
_LISTED_EVERY: Final = BEATS
#: How long slots may take to be released at the very end, in seconds; then their leases lapse.
_LEAVE_S = 2.0


@dataclass(slots=True)
class SlotHandlers:
    """What the worker does when it gains or loses a slot."""

    gained: Callable[[AgentName, int], Awaitable[None]]
    #: Stop pulling, give back what has not started, and return once what runs has ended.
    released: Callable[[AgentName, int], Awaitable[None]]
    #: The slot belongs to another already: as `released`, but there is nothing to wait for.
    lost: Callable[[AgentName, int], Awaitable[None]]


class Membership:
    """Keeps one worker's leases; `run` is its loop."""

    def __init__(
        self,
        control: KeyValue,
        settings: Settings,
        worker: WorkerId,
        handlers: SlotHandlers,
        weights: Weights,
    ) -> None:
        self._control = control
        self._settings = settings
        self._worker = worker
        self._handlers = handlers
        self._weights = weights
        self._agents: dict[AgentName, AgentSpec] = {}
        self._roster = Roster()
        self._silence = Silence()
        #: Slots whose lane is open here, with the revision of their lease.
        self._own: dict[tuple[AgentName, int], int] = {}
        #: Slots that are given up once what runs there has ended.
        self._leaving: dict[tuple[AgentName, int], asyncio.Task[None]] = {}
        #: One look at the leases at a time: what one has opened, another must not close half-way.
        self._turn = asyncio.Lock()
        self._retired = False
        #: How often this worker was taken for dead.
        self._lapses = 0
        self._peers: tuple[int, dict[AgentName, int]] | None = None
        self._stale = True
        self._lapsed = False
        self._wake = asyncio.Event()
        self._watches: list[Watch] = []

    async def join(self, agents: Sequence[AgentSpec]) -> None:
        """Take a share of the slots of `agents`; our entry in the registry stands."""
        for agent in agents:
            self._agents[agent.name] = agent
        if not self._watches:
            for prefix in (WORKERS, LEASES):
                self._watches.append(self._control.watch(prefix, self._heard))
        async with self._turn:
            await self._list()
            await self._share()

    def _heard(self, entry: KeyValueEntry) -> None:
        if self._roster.take(entry):
            self._wake.set()

    def doubt(self) -> None:
        """Notices may have been lost: read the registry again."""
        self._stale = True
        self._wake.set()

    def weighed(self, agent: AgentName) -> None:
        """The agent's weights have changed: share its slots anew."""
        if agent in self._agents:
            self._wake.set()

    def lapsed(self) -> None:
        """Our entry had lapsed, for we were frozen or cut off: others may own our slots."""
        self._lapsed = True
        self._lapses += 1
        log.warning(
            "%s: others took this worker for dead, for it gave no sign of life for over %g s: its "
            "slots are theirs, and what its running calls did to their sessions will be refused",
            self._worker, self._settings.lease_s,
        )  # fmt: skip
        self.doubt()

    async def run(self) -> None:
        """Keep to the fair share, until cancelled."""
        pause_s = self._settings.lease_s / BEATS
        turns = 0
        try:
            while True:
                await set_within(self._wake, pause_s)
                if not self._wake.is_set():
                    turns += 1
                    self._stale = self._stale or turns % _LISTED_EVERY == 0
                self._wake.clear()
                # Without the server it is done at the next turn.
                with contextlib.suppress(NalarError):
                    async with self._turn:
                        await self._keep_up()
        finally:
            for task in self._leaving.values():
                task.cancel()

    async def _keep_up(self) -> None:
        if self._lapsed:
            self._lapsed = False
            for agent, slot in list(self._own):
                await self._lose(agent, slot)
        if self._stale:
            await self._list()
        await self._share()

    async def _list(self) -> None:
        since = self._roster.newest
        workers = await self._control.scan(WORKERS)
        self._roster.put_right(WORKERS, workers, since=since)
        self._roster.put_right(LEASES, await self._control.scan(LEASES), since=since)
        self._stale = False
        now_s = asyncio.get_running_loop().time()
        for entry in self._silence.overdue(workers, now_s, self._settings.lease_s):
            with contextlib.suppress(Conflict):  # It has given a sign of life.
                await self._control.delete(entry.key, expected=entry.revision)

    async def _share(self) -> None:
        for agent in list(self._agents.values()):
            if agent.stateful:
                leases, peers = self._roster.leases(agent.name), self._roster.peers(agent.name)
                await self._share_one(agent.name, leases, peers)

    async def _share_one(
        self, agent: AgentName, leases: dict[int, tuple[int, WorkerId]], peers: Sequence[str]
    ) -> None:
        for slot in [slot for name, slot in self._own if name == agent]:
            if slot not in leases or leases[slot][1] != self._worker:
                await self._lose(agent, slot)
        owners = {slot: owner for slot, (_, owner) in leases.items()}
        plan = plan_slots(
            self._settings.slots, owners, peers, self._worker, self._weights.of(agent)
        )
        if self._retired:
            return
        for slot in plan.release:
            self._release_soon(agent, slot, leases[slot][0])
        # A lease in our name whose lane is not open: the answer to the claim was lost, or our
        # entry lapsed and nobody took the slot meanwhile. Nobody else will ever serve it.
        regained = [
            slot
            for slot, owner in owners.items()
            if owner == self._worker and self._is_free(agent, slot) and slot not in plan.release
        ]
        done = await asyncio.gather(
            *(self._claim(agent, slot, leases.get(slot, (0, ""))[0]) for slot in plan.claim),
            *(self._gain(agent, slot, leases[slot][0]) for slot in regained),
            return_exceptions=True,
        )
        for failure in filter(None, done):
            raise failure

    def _is_free(self, agent: AgentName, slot: int) -> bool:
        return (agent, slot) not in self._own and (agent, slot) not in self._leaving

    async def _claim(self, agent: AgentName, slot: int, revision: int) -> None:
        key = f"{LEASES}.{agent}.{slot}"
        try:
            stands = await self._control.put(key, self._worker.encode(), expected=revision)
        except Conflict:
            # Another worker was quicker: its notice wakes us, and should that be lost, a listing.
            self._stale = True
            return
        await self._gain(agent, slot, stands)

    async def _gain(self, agent: AgentName, slot: int, revision: int) -> None:
        if self._is_free(agent, slot):
            # Ours only once its lane is open: should that fail, the next turn tries again.
            await self._handlers.gained(agent, slot)
            self._own[agent, slot] = revision

    def _release_soon(self, agent: AgentName, slot: int, revision: int) -> None:
        """Release a slot beside the signs of life: what runs there may take long."""
        if (agent, slot) in self._leaving:
            return
        self._own.pop((agent, slot), None)
        release = self._release(agent, slot, revision)
        task = self._leaving[agent, slot] = asyncio.get_running_loop().create_task(release)
        task.add_done_callback(lambda _: self._leaving.pop((agent, slot), None))

    async def _release(self, agent: AgentName, slot: int, revision: int) -> None:
        await self._handlers.released(agent, slot)
        try:
            await self._control.delete(f"{LEASES}.{agent}.{slot}", expected=revision)
        except NalarError:
            # Another has it, or nobody knows: the next turn looks at what stands.
            self.doubt()

    async def _lose(self, agent: AgentName, slot: int) -> None:
        if self._own.pop((agent, slot), None) is not None:
            await self._handlers.lost(agent, slot)

    def peers_changed(self) -> tuple[int, dict[AgentName, int]] | None:
        """Return how many workers are alive, and how many of them serve each of our agents.

        None when it is as it was when this was asked last.
        """
        serving = {agent: len(self._roster.peers(agent)) for agent in self._agents}
        peers = max(1, self._roster.alive), serving
        if peers == self._peers:
            return None
        self._peers = peers
        return peers

    def slots(self) -> dict[AgentName, list[int]]:
        """Return the slots whose lane is open here, by agent."""
        slots: dict[AgentName, list[int]] = {}
        for agent, slot in sorted(self._own):
            slots.setdefault(agent, []).append(slot)
        return slots

    def describe(self) -> dict[str, object]:
        """Return what the registry shows of this worker's leases."""
        return {"slots": len(self._own), "draining": self._retired, "lapses": self._lapses}

    def retire(self) -> None:
        """Take no more slots: the worker is about to leave."""
        self._retired = True

    async def give_up(self) -> None:
        """Begin to release every slot: each goes when nothing works there any more."""
        async with self._turn:
            for (agent, slot), revision in list(self._own.items()):
                self._release_soon(agent, slot, revision)

    async def leave(self) -> None:
        """Give everything up, so that others take over at once."""
        self.retire()
        for watch in self._watches:
            watch.close()
        await self.give_up()
        if self._leaving:
            await asyncio.wait(list(self._leaving.values()), timeout=_LEAVE_S)
