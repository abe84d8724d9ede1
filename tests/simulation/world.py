"""One simulation: a broker, workers and clients around it, and what befalls them.

Chance and time come from the seed and the virtual clock alone, so a seed is a run.
"""

import asyncio
import contextvars
import dataclasses
import logging
import os
import random
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from nalar.agents.registry import REGISTRY
from nalar.agents.spec import MethodSpec
from nalar.context import DEFAULT_OPTIONS, CallOptions, connect_runtime, disconnect_runtime
from nalar.errors import NalarError
from nalar.futures import Future
from nalar.ids import Ref
from nalar.processes.host import Host
from nalar.settings import Settings
from nalar.sim.virtual_time import LoopClock
from nalar.statestore.memory import MemoryBroker, MemoryKeyValue, open_memory
from tests.local_controller import Checked
from tests.simulation.ports import WireBackend
from tests.simulation.processes import Process, SimulationLoop, current_process
from tests.simulation.weather import Weather, calm
from tests.simulation.wire import Sky, Wire
from tests.simulation.workloads import STATEFUL, STATELESS

T = TypeVar("T")

#: Times that tasks are cancelled at the end: what ends may start what waited for it.
_ROUNDS = 50
#: Short, so that leases lapse often; the shortest that the broker's clock can tell apart. A storm
#: may kill as many workers as it likes: no call is to blame for it.
SETTINGS = Settings(
    lease_s=2.0, reread_s=1.0, reply_timeout_s=1.5, concurrency=3, slots=4, snapshot_every=3,
    sessions_cached=4, crashes_max=1000, suspend_after_s=0.5, suspend_on_calls_after_s=1.0,
)  # fmt: skip


class SkewedClock(LoopClock):
    """A machine's clock, a little off."""

    def __init__(self, skew_s: float) -> None:
        super().__init__()
        self._skew_s = skew_s

    def now_s(self) -> float:
        return super().now_s() + self._skew_s


@dataclass(eq=False, slots=True)
class Node:
    """One simulated process with its connection and the runtime in it."""

    process: Process
    wire: Wire
    host: Host
    serves: bool

    @property
    def name(self) -> str:
        return self.process.name

    @property
    def alive(self) -> bool:
        return not self.process.dead and not self.wire.closed


@dataclass(slots=True)
class World:
    """Everything of one simulation; made and used within its event loop."""

    settings: Settings
    sky: Sky
    broker: MemoryBroker
    inline_max_bytes: int
    nodes: dict[str, Node] = field(default_factory=dict[str, Node])
    trace: list[str] = field(default_factory=list[str])
    #: Revisions of every commit that was stored, by ref: one each.
    commits: dict[Ref, list[int]] = field(default_factory=dict[Ref, list[int]])
    #: What must never be seen: errors that nobody handled.
    errors: list[str] = field(default_factory=list[str])
    _numbers: dict[str, int] = field(default_factory=dict[str, int])
    _over: bool = False

    @classmethod
    def make(cls, chance: random.Random, weather: Weather, settings: Settings) -> "World":
        """Return a world with nothing in it; must run on the simulation's loop."""
        loop = asyncio.get_running_loop()
        trace: list[str] = []

        def note(who: str, text: str) -> None:
            trace.append(f"{loop.time():10.6f} {who:4} {text}")

        sky = Sky(contextvars.copy_context(), chance, weather, note)
        inline_max = chance.choice((600, 2_000, 1_000_000))
        world = cls(settings, sky, MemoryBroker(settings), inline_max, trace=trace)
        loop.set_exception_handler(lambda _, told: world.errors.append(str(told)))
        return world

    @property
    def time_s(self) -> float:
        """Virtual seconds since the world began."""
        return asyncio.get_running_loop().time()

    # Who is there.

    def node(self, kind: str) -> Node:
        """Start a process: `w` a worker, `c` a client, `d` one that may die; `h` keeps house."""
        number = self._numbers[kind] = self._numbers.get(kind, 0) + 1
        process = Process(f"{kind}{number}")
        wire = Wire(process, self.sky, self.settings.reply_timeout_s)
        inner = open_memory(self.settings, self.broker)
        backend = WireBackend(wire, inner, self.inline_max_bytes, self._committed)
        skew_s = self.sky.chance.uniform(-1.0, 1.0) * self.sky.weather.skew_s
        host = Host(backend, self.settings, SkewedClock(skew_s))
        node = self.nodes[process.name] = Node(process, wire, host, kind == "w")
        self.run_in(node, self._boot(node))
        return node

    def run_in(self, node: Node, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Do `work` as that process."""
        loop = asyncio.get_running_loop()
        return loop.create_task(work, context=node.process.context.copy())

    async def _boot(self, node: Node) -> None:
        await node.host.__aenter__()
        if not node.serves:
            return
        agents = [REGISTRY.get(name) for name in (*STATELESS, *STATEFUL)]
        try:
            await node.host.serve(agents, node.name)
        except NalarError as error:
            # A worker that cannot start ends, and whoever started it starts another.
            self.sky.note(node.name, f"could not start: {error}")
            if not self._over:
                self.kill(node)
                self.node("w")
            return
        self.sky.note(node.name, "serves")

    def workers(self) -> list[Node]:
        """Return the workers that have not ended."""
        return [node for node in self.nodes.values() if node.serves and node.alive]

    def clients(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.name[0] == "c" and node.alive]

    def _committed(self, who: str, ref: Ref, revision: int) -> None:
        self.sky.note(who, f"committed {ref} r{revision}")
        self.commits.setdefault(ref, []).append(revision)

    # What befalls them.

    def kill(self, node: Node) -> None:
        if self._over:
            return
        self.sky.note(node.name, "killed")
        node.process.kill()
        node.wire.end()

    def expire(self, key: str) -> None:
        """Let an entry of the control bucket reach the end of its time."""
        entry = self.broker.control.entries.get(key)
        if entry is not None and entry.value is not None:
            keys = MemoryKeyValue(self.broker, self.broker.control)
            asyncio.get_running_loop().call_soon(keys._expire, key, context=self.sky.context)

    async def drain(self, node: Node) -> None:
        """Shut a worker down as SIGTERM does."""
        self.sky.note(node.name, "drains")
        try:
            await node.host.drain(self.settings.lease_s)
            await node.host.close()
            self.sky.note(node.name, "has drained")
        finally:
            self.kill(node)

    async def close(self) -> None:
        """End every process, so that no task is left."""
        self._over = True
        left: list[asyncio.Task[Any]] = []
        for node in self.nodes.values():
            node.wire.closed = True
            node.process.exhume()
        for _ in range(_ROUNDS):
            left = [task for node in self.nodes.values() for task in node.process.unfinished()]
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left, timeout=60)
        assert not left, f"tasks that do not end: {left[:3]}"


class PerProcess:
    """The runtime of clients: a call goes through the process that makes it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def call(
        self,
        spec: MethodSpec,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: CallOptions = DEFAULT_OPTIONS,
    ) -> Future[Any]:
        process = current_process()
        assert process is not None, "calls are made by processes"
        return self._world.nodes[process.name].host.calls.call(spec, args, kwargs, options)


@contextmanager
def routed(world: World) -> Generator[None]:
    """Let stubs that are called in a client's process go through that client."""
    runtime = PerProcess(world)
    connect_runtime(runtime)
    try:
        yield
    finally:
        disconnect_runtime(runtime)


class Complaints(logging.Handler):
    """Collects what the runtime logs as an error that it did not expect."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.ERROR)
        self._tell = tell

    @contextmanager
    def listening(self) -> Generator[None]:
        logger = logging.getLogger("nalar")
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, NalarError):
            self._tell(f"{record.getMessage()}: {error!r}")


@contextmanager
def seeded(seed: object) -> Generator[None]:
    """Let all ids and jitter come from `seed`, and every local controller check itself."""
    source = random.Random(f"{seed}/ids")

    class Seeded(random.Random):
        def __init__(self, given: object = None) -> None:
            super().__init__(source.getrandbits(64) if given is None else str(given))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "urandom", source.randbytes)
        patch.setattr(random, "Random", Seeded)
        patch.setattr("nalar.controllers.reporting.LocalState", Checked)
        yield


def in_world(
    story: Callable[[World], Coroutine[Any, Any, T]],
    seed: object = 0,
    weather: Weather | None = None,
    **changes: Any,
) -> T:
    """Let `story` happen in a world of its own, in virtual time, and return what it returns."""

    async def told() -> T:
        settings = dataclasses.replace(SETTINGS, **changes)
        world = World.make(random.Random(f"{seed}/faults"), weather or calm(), settings)
        with routed(world), Complaints(world.errors.append).listening():
            try:
                return await story(world)
            finally:
                await world.close()

    with seeded(seed), asyncio.Runner(loop_factory=SimulationLoop) as runner:
        return runner.run(told())
