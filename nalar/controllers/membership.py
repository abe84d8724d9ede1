"""A worker among workers: its entry in the registry, and the slots it leases.

One entry with a time to live says that the worker is alive; a lease names its owner and counts
for as long as that entry stands. So a heartbeat is one write, however many slots are owned, and
a worker that froze finds its entry gone and knows that its slots are.
"""

import asyncio
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
        self._own: dict[tuple[AgentName, int], int] = {}
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
        while True:
            try:
                async with asyncio.timeout_at(beat_at):
                    await self._wake.wait()
            except TimeoutError:
                beat_at = loop.time() + pause_s
                await self._quietly(self._beat)
            self._wake.clear()
            await self._quietly(self._share)

    async def _quietly(self, act: Callable[[], Awaitable[None]]) -> None:
        """Do `act`; without the server it is done at the next turn."""
        try:
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
            for agent, slot in list(self._own):
                await self._lose(agent, slot)
            self._entry = await self._control.put(key, value, ttl_s=ttl_s)

    async def _share(self) -> None:
        stateful = [agent for agent in self._agents.values() if agent.stateful]
        if not stateful:
            return
        alive = {
            entry.key.partition(".")[2]: orjson.loads(entry.value)
            for entry in await self._control.scan(WORKERS)
            if entry.value
        }
        for agent in stateful:
            peers = [name for name, told in alive.items() if agent.name in told["agents"]]
            await self._share_one(agent.name, peers)

    async def _share_one(self, agent: AgentName, peers: Sequence[str]) -> None:
        leases = await self._leases(agent)
        for slot in [slot for name, slot in self._own if name == agent]:
            if slot not in leases or leases[slot][1] != self._worker:
                await self._lose(agent, slot)
        owners = {slot: owner for slot, (_, owner) in leases.items()}
        plan = plan_slots(self._settings.slots, owners, peers, self._worker)
        for slot in plan.release:
            await self._release(agent, slot)
        await asyncio.gather(
            *(self._claim(agent, slot, leases.get(slot, (0, ""))[0]) for slot in plan.claim)
        )

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
        if (agent, slot) not in self._own:
            self._own[agent, slot] = stands
            await self._handlers.gained(agent, slot)

    async def _release(self, agent: AgentName, slot: int) -> None:
        revision = self._own.pop((agent, slot), None)
        if revision is None:
            return
        await self._handlers.released(agent, slot)
        try:
            await self._control.delete(f"{LEASES}.{agent}.{slot}", expected=revision)
        except Conflict:
            return

    async def _lose(self, agent: AgentName, slot: int) -> None:
        if self._own.pop((agent, slot), None) is not None:
            await self._handlers.lost(agent, slot)

    async def leave(self) -> None:
        """Give everything up, so that others take over at once."""
        for watch in self._watches:
            watch.close()
        for agent, slot in list(self._own):
            await self._release(agent, slot)
        if self._entry:
            await self._control.delete(f"{WORKERS}.{self._worker}")
