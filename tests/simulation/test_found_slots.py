"""What simulations have found of workers and their slots, each shrunk to one thing."""

import asyncio

from nalar.statestore.memory import MemoryKeyValue
from tests.simulation.checks import misplaced_slots
from tests.simulation.stories import ask, first, one_of_each
from tests.simulation.workloads import SimLog
from tests.simulation.world import SETTINGS, Node, World, in_world

LEASE_S = SETTINGS.lease_s


async def lapses(world: World, worker: Node, within_s: float) -> bool:
    """Say whether the worker's entry in the registry lapses within that time."""
    for _ in range(int(within_s / 0.1)):
        await asyncio.sleep(0.1)
        entry = world.broker.control.entries[f"worker.{worker.name}"]
        if entry.value is None:
            return True
    return False


def test_a_worker_that_froze_alone_serves_its_slots_again() -> None:
    async def story(world: World) -> None:
        worker, client = await one_of_each(world)
        worker.process.freeze()
        await asyncio.sleep(3 * LEASE_S)
        worker.process.thaw()
        await asyncio.sleep(LEASE_S)
        assert await ask(world, client, lambda: SimLog.append("a", "a#0")) == 1
        assert misplaced_slots(world) == []

    in_world(story)


def test_a_slot_whose_lease_was_stored_unanswered_is_served() -> None:
    async def story(world: World) -> None:
        worker, _ = await one_of_each(world)
        world.node("w")
        await asyncio.sleep(3 * LEASE_S)
        world.sky.forced = first("reply_lost", "put lease.")
        world.kill(worker)
        await asyncio.sleep(5 * LEASE_S)
        assert misplaced_slots(world) == []

    in_world(story)


def test_a_slot_whose_release_was_not_stored_goes_to_the_newcomer_all_the_same() -> None:
    async def story(world: World) -> None:
        await one_of_each(world)
        world.sky.forced = first("request_lost", "delete lease.")
        world.node("w")
        await asyncio.sleep(5 * LEASE_S)
        assert misplaced_slots(world) == []
        assert {lease_owner(world, "SimLog", slot) for slot in range(4)} == {"w1", "w2"}

    in_world(story)


def test_workers_that_start_together_share_the_slots_without_overlap() -> None:
    async def story(world: World) -> None:
        for _ in range(3):
            world.node("w")
        await asyncio.sleep(3 * LEASE_S)
        assert misplaced_slots(world) == []

    for seed in (3, 11, 16, 19):
        in_world(story, seed)


def test_a_worker_that_others_wake_all_the_time_still_shows_signs_of_life() -> None:
    async def story(world: World) -> None:
        worker, _ = await one_of_each(world)
        control = MemoryKeyValue(world.broker, world.broker.control)

        async def wake() -> None:
            while True:
                await control.put("lease.Another.0", b"w9")
                await asyncio.sleep(0.001)

        async with asyncio.TaskGroup() as tasks:
            waking = tasks.create_task(wake())
            assert not await lapses(world, worker, 3 * LEASE_S)
            waking.cancel()

    in_world(story)


def test_a_worker_that_gives_up_a_busy_slot_still_shows_signs_of_life() -> None:
    async def story(world: World) -> None:
        worker, client = await one_of_each(world)
        async with asyncio.TaskGroup() as tasks:
            for number in range(3):
                log = SimLog.options(session=f"busy-{number}")
                call = ask(world, client, lambda log=log: log.append("a", "a#0", 4 * LEASE_S))
                tasks.create_task(call)
            await asyncio.sleep(0.1)
            for _ in range(3):
                world.node("w")
            assert not await lapses(world, worker, 3 * LEASE_S)

    in_world(story)


def lease_owner(world: World, agent: str, slot: int) -> str:
    value = world.broker.control.entries[f"lease.{agent}.{slot}"].value
    return "" if value is None else value.decode()
