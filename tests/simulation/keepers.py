"""Who keeps house in a simulation: logs are cut while they are read, committed to and moved."""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator

import pytest

from nalar.client.archiving import Bounds
from nalar.client.housekeeping import Housekeeper
from tests.simulation.world import Node, World

#: So short that whoever is a moment behind finds entries gone.
BOUNDS = Bounds(long=2, kept=1)
#: Commits after which a worker tells.
GROWN = 3
#: Rounds are as frequent as what is written behind.
ROUND_S = 0.5
#: A keeper lives for so many seconds, at the least and at the most.
LIVES_S = (0.2, 8.0)


@contextlib.asynccontextmanager
async def kept_house(world: World, chance: random.Random, until_s: float) -> AsyncGenerator[None]:
    """Have keepers at work beside the block, and workers tell them soon that a log has grown."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nalar.statestore.sessions._GROWN_COMMITS", GROWN)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_keep(world, chance, until_s))
            yield


async def _keep(world: World, chance: random.Random, until_s: float) -> None:
    """Start keepers, sometimes two, and kill each wherever it is; the last one stays."""
    keeper = _start(world)
    while world.time_s < until_s:
        await asyncio.sleep(chance.uniform(*LIVES_S))
        successor = _start(world)
        await asyncio.sleep(chance.choice((0.0, 1.0)))
        world.kill(keeper)
        keeper = successor


def _start(world: World) -> Node:
    node = world.node("h")
    host = node.host
    keeper = Housekeeper(host.backend, host.settings, bounds=BOUNDS)
    world.run_in(node, keeper.run(ROUND_S, tell=lambda _: None))
    return node
