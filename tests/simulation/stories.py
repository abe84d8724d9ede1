"""Small stories in virtual time: who is there, one fault, and one call."""

import asyncio
from collections.abc import Callable
from typing import Any

import nalar
from tests.simulation.scripts import Outcome, ended
from tests.simulation.world import Node, World


def first(fault: str, about: str) -> Callable[[str, str], bool]:
    """Let `fault` befall the first message whose name begins with `about`, and no other."""
    left = [1]

    def forced(met: str, name: str) -> bool:
        if met != fault or not name.startswith(about) or not left:
            return False
        left.pop()
        return True

    return forced


async def one_of_each(world: World) -> tuple[Node, Node]:
    """Start a worker and a client, and wait until the worker serves."""
    worker, client = world.node("w"), world.node("c")
    await asyncio.sleep(1.0)
    return worker, client


async def ask(world: World, client: Node, make: Callable[[], nalar.Future[Any]]) -> Outcome:
    """Make a call as that client and return what it ended in, within a minute."""

    async def call() -> Outcome:
        return await ended(make())

    async with asyncio.timeout(60.0):
        return await world.run_in(client, call())
