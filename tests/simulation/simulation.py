"""One seed, one run: a workload, with its faults or without, and what came of it."""

import asyncio
import random
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.simulation.checks import Findings, look, sessions_of
from tests.simulation.keepers import kept_house
from tests.simulation.nemesis import WORKERS, Nemesis
from tests.simulation.scripts import BEGIN_S, Script, Scripts
from tests.simulation.weather import Weather, calm, draw
from tests.simulation.world import World, in_world

#: Virtual seconds in which faults happen.
STORM_S = 15.0
#: Virtual seconds that every call may take to end once the faults have stopped.
PATIENCE_S = 120.0
#: Virtual seconds in which queues empty and workers come to rest: redelivery takes a lease.
REST_S = 30.0
#: In so many simulations logs are cut.
KEPT = 0.5
#: Scripts of one simulation, and the clients that run them.
SCRIPTS, CLIENTS = 14, 2


@dataclass(frozen=True, slots=True)
class Run:
    """What one simulation showed."""

    seed: object
    weather: Weather
    trace: tuple[str, ...]
    findings: tuple[str, ...]
    sessions: dict[str, Any]
    #: How often each fault was met.
    met: dict[str, int]

    def differences(self, other: "Run") -> list[str]:
        """Return where the sessions have ended up otherwise than in `other`."""
        return [
            f"session {name}: {self.sessions.get(name)}, without faults {other.sessions.get(name)}"
            for name in sorted({*self.sessions, *other.sessions})
            if self.sessions.get(name) != other.sessions.get(name)
        ]


def simulate(seed: object, *, faults: bool = True) -> Run:
    """Run the workload of `seed`, with its faults or without."""
    weather = draw(random.Random(f"{seed}/weather")) if faults else calm()
    return in_world(partial(_simulate, seed, weather), seed, weather)


async def _simulate(seed: object, weather: Weather, world: World) -> Run:
    scripts = Scripts(random.Random(f"{seed}/scripts"))
    findings = Findings(world, scripts)
    chance = random.Random(f"{seed}/keeping")
    if chance.random() < KEPT:
        async with kept_house(world, chance, STORM_S):
            await _live(world, scripts, findings)
    else:
        await _live(world, scripts, findings)
    look(findings)
    return Run(
        seed, weather, tuple(world.trace), tuple(findings.found),
        sessions_of(world, but=("doomed-", "raced-")), dict(world.sky.met),
    )  # fmt: skip


async def _live(world: World, scripts: Scripts, findings: Findings) -> None:
    for _ in range(WORKERS):
        world.node("w")
    clients = [world.node("c") for _ in range(CLIENTS)]
    running = [
        world.run_in(clients[number % CLIENTS], _begin(script, at_s))
        for number, (at_s, script) in enumerate(scripts.draw(SCRIPTS))
    ]
    doomed = world.node("d")
    world.run_in(doomed, _begin(scripts.doomed(), world.sky.chance.uniform(0.0, BEGIN_S)))
    nemesis = Nemesis(world)
    await nemesis.run(STORM_S, doomed)
    nemesis.heal()
    _, hanging = await asyncio.wait(running, timeout=PATIENCE_S)
    findings.all_ended(running, hanging)
    await asyncio.sleep(REST_S)


async def _begin(script: Script, at_s: float) -> None:
    await asyncio.sleep(at_s)
    await script()
