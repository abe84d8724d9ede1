"""What simulations have found of calls, each shrunk to the one thing that went wrong."""

import asyncio
import random
from typing import Any

from nalar.calls.results import Results
from nalar.controllers.local_events import Arrived, Ended, LaneLost
from nalar.ids import AgentName, FutureId, Ref, RootId, SessionId
from nalar.statestore.memory import MemoryLedger
from nalar.statestore.port import LedgerEntry
from tests.local_controller import Checked
from tests.simulation.checks import sessions_of
from tests.simulation.scripts import Outcome, ended, sent
from tests.simulation.stories import ask, first, one_of_each
from tests.simulation.workloads import SimLog, fan, later, patient, relay
from tests.simulation.world import SETTINGS, World, in_world

LEASE_S = SETTINGS.lease_s


# The session: one effect for each call.


def test_a_cancelled_call_takes_no_effect_though_another_expires_while_it_runs() -> None:
    async def story(world: World) -> None:
        _, client = await one_of_each(world)

        async def calls() -> list[Outcome]:
            running = SimLog.options(session="s").append("a", "a#0", 3.0)
            behind = SimLog.options(session="s", deadline_s=0.5).append("b", "b#0")
            await asyncio.sleep(0.2)
            running.cancel()
            behind.cancel()
            return [await ended(running), await ended(behind)]

        assert await world.run_in(client, calls()) == ["Cancelled", "Cancelled"]
        await asyncio.sleep(5.0)
        assert [len(revisions) for revisions in world.commits.values()] == [1, 1]
        assert sessions_of(world, but=("none",)) == {"SimLog/s": {}}

    in_world(story)


def test_a_call_whose_argument_is_the_call_before_it_fails_with_it() -> None:
    async def story(world: World) -> None:
        _, client = await one_of_each(world)

        async def calls() -> list[Outcome]:
            log = SimLog.options(session="s")
            spoilt: Any = log.spoil("a#0")
            behind = log.append("a", spoilt)
            return [await ended(spoilt), await ended(behind)]

        assert await world.run_in(client, calls()) == ["AgentError", "DependencyFailed"]

    in_world(story)


def test_a_call_that_has_come_again_has_one_place_in_its_session() -> None:
    def arrived(key: str, lock: str | None) -> Arrived:
        return Arrived(key, lock, 0, 1e9, frozenset(), None, 0.0)

    state = Checked(concurrency=1)
    for event in (
        arrived("running", None), arrived("a", "s"), arrived("b", "s"),
        LaneLost(("b",)), Ended("b"), arrived("b", "s"),
        LaneLost(("a",)), Ended("a"), LaneLost(("b",)), Ended("b"),
    ):  # fmt: skip
        state.handle(event)
    assert state.load == 1


# Waiting for records.


def test_what_an_expired_call_waited_for_is_awaited_no_more() -> None:
    async def story(world: World) -> None:
        worker, client = await one_of_each(world)
        world.sky.forced = first("request_lost", "publish SimLog.append")

        async def calls() -> None:
            log = SimLog.options(session="s", deadline_s=3.0)
            log.append("a", "a#0")
            log.append("a", "a#1")

        await world.run_in(client, calls())
        await asyncio.sleep(0.1)
        world.kill(client)
        await asyncio.sleep(10.0)
        assert world.broker.queues.waiting(AgentName("SimLog")) == 0
        assert len(worker.host.results) == 0

    in_world(story)


def test_a_lost_announcement_is_made_up_for_however_many_older_calls_are_awaited() -> None:
    async def story(world: World) -> None:
        ledger = MemoryLedger(world.broker)
        results = Results(ledger, reread_s=1.0, chance=random.Random(1))
        refs = [
            Ref("r", AgentName("a"), SessionId("_"), RootId("r"), "p", FutureId(f"f{number}"))
            for number in range(1000)
        ]
        await ledger.commit(refs[-1], b"{}", expected=0, ttl_s=1000.0)
        heard: list[LedgerEntry] = []
        for ref in refs:
            results.expect(ref, heard.append, covered=True)
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(results.run())
            await asyncio.sleep(10.0)
            reading.cancel()
        assert [entry.ref for entry in heard] == refs[-1:]

    in_world(story)


# Publishing and cancelling, and the order in which children are heard of.


def test_a_call_whose_publish_was_not_answered_is_not_called_a_failure() -> None:
    async def story(world: World) -> None:
        _, client = await one_of_each(world)
        world.sky.forced = first("reply_lost", "publish sim_add")
        assert await ask(world, client, lambda: fan(1, 3, 0.0)) == 10

    in_world(story)


def test_the_calls_behind_one_that_could_not_be_published_do_not_wait_for_ever() -> None:
    async def story(world: World) -> None:
        _, client = await one_of_each(world)
        world.sky.forced = first("request_lost", "publish SimLog.append")

        async def calls() -> list[Outcome]:
            log = SimLog.options(session="s")
            made = [log.append("a", f"a#{i}") for i in range(3)]
            async with asyncio.timeout(60.0):
                return [await ended(call) for call in made]

        assert len(await world.run_in(client, calls())) == 3

    in_world(story)


def test_a_cancellation_that_could_not_be_stored_leaves_the_call_as_it_is() -> None:
    async def story(world: World) -> None:
        _, client = await one_of_each(world)

        async def calls() -> Outcome:
            call = SimLog.append("a", "a#0", 1.0)
            await asyncio.sleep(0.2)
            client.wire.cut(0.0, 4.0)
            await asyncio.sleep(0.1)
            call.cancel()
            return await ended(call)

        assert await world.run_in(client, calls()) in (1, "Cancelled")

    in_world(story)


def test_a_cancelled_call_does_not_let_the_next_one_overtake_the_one_before() -> None:
    async def story(world: World) -> None:
        _, client = await one_of_each(world)

        async def calls() -> list[Outcome]:
            log = SimLog.options(session="s")
            slow: Any = later("a#0", 2.0)
            made = [log.append("a", slow), log.append("a", "a#1"), log.append("a", "a#2")]
            await asyncio.sleep(0.2)
            made[1].cancel()
            return [await ended(call) for call in made]

        assert await world.run_in(client, calls()) == [1, "Cancelled", 2]

    in_world(story)


def test_a_call_whose_publish_was_not_answered_in_its_time_ends_as_the_ledger_says() -> None:
    async def story(world: World) -> None:
        _, client = await one_of_each(world)
        world.sky.forced = first("reply_lost", "publish SimLog.append")
        log = SimLog.options(session="s", deadline_s=1.0)

        async def calls() -> Outcome:
            call = log.append("a", "a#0")
            world.sky.weather.notice_lost = 1.0
            await asyncio.sleep(0.1)
            client.wire.cut(0.0, 4.0)
            return await ended(call)

        assert await world.run_in(client, calls()) == 1

    in_world(story)


def test_the_call_behind_one_that_ran_out_of_time_unpublished_does_not_wait_for_ever() -> None:
    async def story(world: World) -> None:
        _, client = await one_of_each(world)
        world.sky.forced = first("request_lost", "publish SimLog.append")

        async def calls() -> Outcome:
            SimLog.options(session="s", deadline_s=1.0).append("a", "a#0")
            call = SimLog.options(session="s").append("a", "a#1")
            await asyncio.sleep(0.1)
            client.wire.cut(0.0, 4.0)
            async with asyncio.timeout(60.0):
                return await ended(call)

        assert await world.run_in(client, calls()) == 1

    in_world(story)


def test_a_resumed_workflow_sees_its_children_end_in_the_order_it_has_acted_on() -> None:
    async def story(world: World) -> int:
        for _ in range(3):
            world.node("w")
        client = world.node("c")
        await asyncio.sleep(1.0)
        quiet: list[str] = []

        def forced(fault: str, about: str) -> bool:
            # Nobody hears of the child that ends first; everybody hears of the second.
            if fault != "notice_lost" or "sim_later" not in about or world.time_s > 1.7:
                return False
            quiet[1:] = []
            quiet.append(about)
            return about == quiet[0]

        world.sky.forced = forced

        async def call() -> Outcome:
            return await ended(relay("a"))

        calling = world.run_in(client, call())
        await asyncio.sleep(1.5)
        [host] = {line.split()[1] for line in world.trace if "received sim_relay" in line}
        world.kill(world.nodes[host])
        world.node("w")
        assert await calling == ["x", "y"]
        [state] = sessions_of(world, but=("none",)).values()
        return len(state["entries"])

    assert [in_world(story, seed, reread_s=3.0) for seed in range(12)] == [2] * 12


def test_a_call_whose_signals_are_still_being_read_is_not_put_to_sleep_until_the_next() -> None:
    """Two are there; when it waits for the second, the answer that has it is lost."""

    async def story(world: World) -> None:
        _, client = await one_of_each(world)
        lost = first("reply_lost", "find")

        def forced(fault: str, about: str) -> bool:
            taken = any("committed call.r._signal._." in line for line in world.trace)
            return taken and lost(fault, about)

        async def asked() -> Outcome:
            called = patient.options(session="s")("a", [0.01, 0.01])
            for word in range(2):
                await sent(called, word)
            return await ended(called)

        world.sky.forced = forced
        async with asyncio.timeout(60.0):
            assert await world.run_in(client, asked()) == [0, 1]
        assert world.sky.met["reply_lost"] == 1

    in_world(story)
