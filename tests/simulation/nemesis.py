"""What strikes processes: kills, freezes, lost connections; and that everything ends well."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from nalar.client.steering import Steering
from nalar.directives import Route
from nalar.errors import NalarError
from nalar.statestore.port import LedgerEntry
from tests.simulation.weather import calm
from tests.simulation.world import Node, World

#: Workers of a simulation, and how many there may be at once.
WORKERS, WORKERS_MAX = 3, 5
#: How often a session is sent back rather than on.
_BACK = 0.3


class Nemesis:
    """Strikes at random until it is told to stop."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = world.sky.chance
        self._lease_s = world.settings.lease_s
        self._strikes: dict[str, Callable[[], Coroutine[Any, Any, None] | None]] = {
            "kill": self._kill,
            "freeze": self._freeze,
            "cut": self._cut,
            "stall": self._stall,
            "expire": self._expire,
            "drain": self._drain,
            "server": self._server,
            "migrate": self._migrate,
        }
        self._frozen: list[Node] = []

    async def run(self, until_s: float, doomed: Node) -> None:
        """Strike until then, and leave clear weather behind."""
        weather = self._world.sky.weather
        weights = [float(getattr(weather, name)) for name in self._strikes]
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            if weather.kill:
                tasks.create_task(self._kill_client(doomed, self._chance.uniform(0.0, until_s)))
            while weather.strikes and any(weights):
                pause_s = self._chance.expovariate(weather.strikes)
                if loop.time() + pause_s >= until_s:
                    break
                await asyncio.sleep(pause_s)
                [name] = self._chance.choices(list(self._strikes), weights)
                self._world.sky.meet(name)
                work = self._strikes[name]()
                if work is not None:
                    tasks.create_task(work)
        await asyncio.sleep(max(0.0, until_s - loop.time()))
        self._world.sky.note("", "the storm is over")
        self._world.sky.weather = calm()

    async def _kill_client(self, client: Node, after_s: float) -> None:
        await asyncio.sleep(after_s)
        self._world.kill(client)

    def heal(self) -> None:
        """Thaw what is frozen, and have as many workers as in the beginning."""
        for node in self._frozen:
            if node.process.frozen:
                node.process.thaw()
        while len(self._world.workers()) < WORKERS:
            self._world.node("w")

    def _worker(self) -> Node | None:
        workers = self._world.workers()
        return self._chance.choice(workers) if workers else None

    def _anyone(self) -> Node:
        return self._chance.choice([*self._world.workers(), *self._world.clients()])

    async def _kill(self) -> None:
        node = self._worker()
        if node is None:
            return
        self._world.kill(node)
        await asyncio.sleep(self._chance.choice((0.0, 0.5, 2.5, 6.0)))
        if len(self._world.workers()) < WORKERS_MAX:
            self._world.node("w")

    async def _freeze(self) -> None:
        node = self._anyone()
        if node.process.frozen:
            return
        seconds = self._chance.choice((0.1, 0.6, 1.5, 3.0)) * self._lease_s
        self._world.sky.note(node.name, f"frozen for {seconds} s")
        node.process.freeze()
        self._frozen.append(node)
        await asyncio.sleep(seconds)
        if node.process.frozen:
            self._world.sky.note(node.name, "thawed")
            node.process.thaw()

    def _cut(self) -> None:
        node = self._anyone()
        notice_s = self._chance.choice((0.0, 0.2, 2.0))
        down_s = self._chance.choice((0.05, 1.0, 3.0))
        self._world.sky.note(node.name, f"cut off, noticed in {notice_s} s, for {down_s} s more")
        node.wire.cut(notice_s, down_s)

    def _stall(self) -> None:
        node = self._anyone()
        seconds = self._chance.uniform(0.2, 2.5) * self._lease_s
        self._world.sky.note(node.name, f"stalled for {seconds:.1f} s")
        node.wire.stall(seconds)

    async def _expire(self) -> None:
        """Let the worker's entry go as if it had not been heard of for a lease."""
        node = self._worker()
        if node is None:
            return
        self._world.sky.note(node.name, "its entry expires")
        self._world.expire(f"worker.{node.name}")

    async def _drain(self) -> None:
        node = self._worker()
        if node is None or node.process.frozen:
            return
        draining = self._world.run_in(node, self._world.drain(node))
        await asyncio.sleep(self._chance.choice((0.0, 1.0, 5.0)))
        if len(self._world.workers()) < WORKERS_MAX:
            self._world.node("w")
        # It may be killed while it drains; then nobody waits for it.
        await asyncio.wait([draining], timeout=20)

    def _server(self) -> None:
        """Restart the server: every connection is lost at once."""
        self._world.sky.note("", "the server restarts")
        down_s = self._chance.uniform(0.1, 2.0)
        for node in self._world.nodes.values():
            if node.alive:
                node.wire.cut(self._chance.uniform(0.0, 0.1), down_s)

    async def _migrate(self) -> None:
        """Have a session served in another slot, or where its hash says again."""
        node = self._chance.choice(self._world.clients())
        sessions = sorted({(log[0].ref.agent, log[0].ref.session) for log in self._logs()})
        if not sessions:
            return
        agent, session = self._chance.choice(sessions)
        route = Route(agent, session, self._chance.randrange(self._world.settings.slots))
        steering = Steering(node.host.backend.control, node.host.clock)
        back = self._chance.random() < _BACK
        self._world.sky.note("", f"{agent}/{session} {'back' if back else f'to slot {route.slot}'}")
        directed = steering.withdraw(route) if back else steering.direct(route, "a strike")
        with contextlib.suppress(NalarError):
            await self._world.run_in(node, directed)

    def _logs(self) -> Iterable[Sequence[LedgerEntry]]:
        return self._world.broker.log.sessions.values()
