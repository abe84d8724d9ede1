"""A worker among workers: its entry in the registry, and the slots it leases.

One entry with a time to live says that the worker is alive; a lease names its owner and counts
for as long as that entry stands. So a heartbeat is one write, however many slots are owned, and
a worker that froze finds its entry gone and knows that its slots are.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import orjson

from nalar.agents.spec import AgentSpec
from nalar.controllers.slots import plan_slots
from nalar.errors import Conflict, NalarError
from nalar.ids import AgentName, WorkerId
from nalar.settings import Settings
from nalar.statestore.port import KeyValue, KeyValueEntry, Watch

WORKERS = "worker"
LEASES = "lease"
#: Signs of life in one lease: two may be lost.
_BEATS = 3
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
    """Keeps one worker's entry and leases; `run` is its loop."""

    def __init__(
        self,
        control: KeyValue,
        settings: Settings,
        worker: WorkerId,
        describe: Callable[[], dict[str, object]],
        handlers: SlotHandlers,
    ) -> None:
        self._control = control
        self._settings = settings
        self._worker = worker
        self._describe = describe
        self._handlers = handlers
        self._agents: dict[AgentName, AgentSpec] = {}
        #: Slots whose lane is open here, with the revision of their lease.
        self._own: dict[tuple[AgentName, int], int] = {}
        #: Slots that are given up once what runs there has ended.
        self._leaving: dict[tuple[AgentName, int], asyncio.Task[None]] = {}
        #: One look at the leases at a time: what one has opened, another must not close half-way.
        self._turn = asyncio.Lock()
        self._retired = False
        self._entry = 0
        self._wake = asyncio.Event()
        self._watches: list[Watch] = []

    async def join(self, agents: Sequence[AgentSpec]) -> None:
        """Enter the registry and take a share of the slots of `agents`."""
        for agent in agents:
            self._agents[agent.name] = agent
        if not self._watches:
            # Nobody but us writes our own entry: waking for it would never end.
            own = f"{WORKERS}.{self._worker}"
            for prefix in (WORKERS, LEASES):
                self._watches.append(
                    self._control.watch(prefix, lambda entry: self._changed(entry, own))
                )
        async with self._turn:
            await self._beat()
            await self._share()

    def _changed(self, entry: KeyValueEntry, own: str) -> None:
        if entry.key != own:
            self._wake.set()

    async def run(self) -> None:
        """Give signs of life and keep to the fair share, until cancelled."""
        pause_s = self._settings.lease_s / _BEATS
        loop = asyncio.get_running_loop()
        beat_at = loop.time() + pause_s
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(beat_at):
                        await self._wake.wait()
                # By the clock: however often others wake us, our own entry must not lapse.
                if loop.time() >= beat_at:
                    beat_at = loop.time() + pause_s
                    await self._quietly(self._beat)
                self._wake.clear()
                await self._quietly(self._share)
        finally:
            for task in self._leaving.values():
                task.cancel()

    async def _quietly(self, act: Callable[[], Awaitable[None]]) -> None:
        """Do `act`; without the server it is done at the next turn."""
        try:
            async with self._turn:
                await act()
        except NalarError:
            self._wake.clear()

    async def _beat(self) -> None:
        """Renew our entry. If it lapsed, others may own our slots: lose them all first."""
        key = f"{WORKERS}.{self._worker}"
        value = orjson.dumps(self._describe())
        ttl_s = self._settings.lease_s
        try:
            self._entry = await self._control.put(key, value, expected=self._entry, ttl_s=ttl_s)
        except Conflict:
            stands = await self._control.get(key)
            if stands is None:
                for agent, slot in list(self._own):
                    await self._lose(agent, slot)
            # Nobody else writes it: an entry that stands is ours, its answer was lost.
            revision = stands.revision if stands is not None else 0
            self._entry = await self._control.put(key, value, expected=revision, ttl_s=ttl_s)

    async def _share(self) -> None:
        stateful = [agent for agent in self._agents.values() if agent.stateful]
        if not stateful:
            return
        for agent in stateful:
            # Before the entries: who is found to own a slot has entered the registry already.
            leases = await self._leases(agent.name)
            alive = {
                entry.key.partition(".")[2]: orjson.loads(entry.value)
                for entry in await self._control.scan(WORKERS)
                if entry.value
            }
            peers = [name for name, told in alive.items() if agent.name in told["agents"]]
            await self._share_one(agent.name, leases, peers)

    async def _share_one(
        self, agent: AgentName, leases: dict[int, tuple[int, str]], peers: Sequence[str]
    ) -> None:
        for slot in [slot for name, slot in self._own if name == agent]:
            if slot not in leases or leases[slot][1] != self._worker:
                await self._lose(agent, slot)
        owners = {slot: owner for slot, (_, owner) in leases.items()}
        plan = plan_slots(self._settings.slots, owners, peers, self._worker)
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

    async def _leases(self, agent: AgentName) -> dict[int, tuple[int, str]]:
        """Return slot -> (revision, owner) of the agent's leases."""
        prefix = f"{LEASES}.{agent}"
        return {
            int(entry.key.rpartition(".")[2]): (entry.revision, entry.value.decode())
            for entry in await self._control.scan(prefix)
            if entry.value
        }

    async def _claim(self, agent: AgentName, slot: int, revision: int) -> None:
        key = f"{LEASES}.{agent}.{slot}"
        try:
            stands = await self._control.put(key, self._worker.encode(), expected=revision)
        except Conflict:
            # Another worker was quicker; its lease will wake us if that matters.
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
            self._wake.set()

    async def _lose(self, agent: AgentName, slot: int) -> None:
        if self._own.pop((agent, slot), None) is not None:
            await self._handlers.lost(agent, slot)

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
        if self._entry:
            # Without the server it goes by itself, a lease later.
            with contextlib.suppress(NalarError):
                await self._control.delete(f"{WORKERS}.{self._worker}")
