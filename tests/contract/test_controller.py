"""Global controllers: they see, decide and direct; one leads; what is odd is contained."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial

import orjson
import pytest

from nalar.backend import Backend
from nalar.client.steering import Steering
from nalar.clock import SystemClock
from nalar.cluster.bounds import Bounds
from nalar.cluster.controller import Controller
from nalar.cluster.journal import DECISIONS, Decision, Journal, Refusal
from nalar.cluster.leadership import LEADER, Leadership
from nalar.cluster.mind import Mind
from nalar.cluster.policy_set import POLICY_SETS, PolicySet
from nalar.cluster.policy_store import PolicyStore
from nalar.cluster.tenure import TENURE, Tenure
from nalar.controllers.roster import WORKERS
from nalar.directives import DIRECTIVE, Issued, Pause, Route, SetPriority, Shed, key_of
from nalar.ids import AgentName, SessionId, WorkerId
from nalar.reports import AgentLoad, Report, SessionLoad
from nalar.statestore.port import KeyValueEntry
from tests.contract.worlds import World, eventually, new_agent

ODD = "tests.contract.odd_policies"
WELL = f"{ODD}:Well"
ACME = SetPriority("tenant", "acme", 1)


@pytest.fixture
async def backend(world: World) -> Backend:
    """A connection to a broker on which nothing is directed and nobody works or leads."""
    opened = await world.connect()
    for prefix in (WORKERS, DIRECTIVE, POLICY_SETS, DECISIONS, LEADER, TENURE):
        for entry in await opened.control.scan(prefix):
            await opened.control.delete(entry.key)
    return opened


def worker(name: str, agent: AgentName, *, running: int, slot: int, waiting: str = "") -> Report:
    load = AgentLoad(queued=1 if waiting else 0, running=running)
    told: SessionLoad | None = SessionLoad(queued=1, oldest_at=1.0, slot=slot)
    return Report(
        WorkerId(name), 1, 1.0, full=True, concurrency=1, running=running, applied=0,
        agents={agent: load}, slots={agent: [slot]},
        sessions={agent: {SessionId(waiting): told}} if waiting else {},
    )  # fmt: skip


async def report(backend: Backend, *reports: Report) -> None:
    """Register these workers, and report for them."""
    for told in reports:
        entry = orjson.dumps({"worker": told.worker, "agents": list(told.agents)})
        await backend.control.put(f"worker.{told.worker}", entry, ttl_s=60)
        backend.reports.publish(told)
        backend.reports.on_ask(partial(backend.reports.publish, told))


@contextlib.asynccontextmanager
async def controlling(
    backend: Backend,
    *policies: str,
    bounds: Bounds | None = None,
    limit_s: float = 0.5,
    lease_s: float = 1.0,
) -> AsyncGenerator[Controller]:
    """Run a controller in this block, a quick one."""
    mind = Mind(bounds, limit_s=limit_s)
    controller = Controller(backend, SystemClock(), period_s=0.05, lease_s=lease_s, mind=mind)
    running = asyncio.get_running_loop().create_task(controller.run(policies))
    try:
        yield controller
        assert not running.done(), running.exception()
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def until(told: Callable[[], bool]) -> None:
    async def asked() -> bool:
        return told()

    await eventually(asked)


def stands(controller: Controller, key: str) -> Issued | None:
    standing = controller.sources.standing.get(key)
    return None if standing is None else standing.issued


async def the_set_is(store: PolicyStore, policies: Sequence[str]) -> PolicySet:
    async def asked() -> bool:
        return (await store.version()).policies == tuple(policies)

    await eventually(asked)
    return await store.version()


async def test_a_session_that_waits_is_moved_and_it_is_known_who_did_it_and_why(
    backend: Backend,
) -> None:
    agent = new_agent()
    async with controlling(backend, "head_of_line") as controller:
        busy = worker("busy", agent, running=1, slot=3, waiting="s")
        await report(backend, busy, worker("idle", agent, running=0, slot=7))
        route = Route(agent, SessionId("s"), 7)
        await until(lambda: stands(controller, key_of(route)) is not None)
        [standing] = await Steering(backend.control, SystemClock()).standing()
        issued = standing.issued
        assert (issued.directive, issued.by) == (route, "head_of_line")
        assert issued.epoch == controller.leadership.epoch > 0
        assert "in busy, 1 of 1 slots busy" in issued.reason

        async def written() -> bool:
            return bool(await Journal(backend.control).last(9))

        await eventually(written)
        [decision] = await Journal(backend.control).last(9)
        assert decision.done[0]["key"] == key_of(route)


async def test_one_of_several_leads_and_another_takes_over_and_does_nothing_twice(
    backend: Backend,
) -> None:
    async with contextlib.AsyncExitStack() as second:
        async with controlling(backend, WELL) as first:
            await until(lambda: stands(first, key_of(ACME)) is not None)
            other = await second.enter_async_context(controlling(backend))
            await until(lambda: stands(other, key_of(ACME)) is not None)
            before = (first.leadership.epoch, first.sources.standing[key_of(ACME)].revision)
            assert other.leadership.epoch == 0
        await until(lambda: other.figures.decisions > 3)
        assert other.leadership.epoch > before[0]
        assert other.sources.standing[key_of(ACME)].revision == before[1]
        assert other.policies.names == [WELL]


async def test_of_five_controllers_one_leads_and_each_directive_is_written_once(
    backend: Backend,
) -> None:
    written: list[int] = []
    watch = backend.control.watch(DIRECTIVE, lambda entry: written.append(entry.revision))
    async with contextlib.AsyncExitStack() as stack:
        controllers = [
            await stack.enter_async_context(controlling(backend, WELL)) for _ in range(5)
        ]
        for controller in controllers:
            await until(lambda controller=controller: stands(controller, key_of(ACME)) is not None)
        [leader] = [it for it in controllers if it.leadership.epoch]
        seen = leader.figures.decisions
        await until(lambda: leader.figures.decisions > seen + 5)
        assert [it.leadership.epoch for it in controllers if it is not leader] == [0] * 4
    watch.close()
    assert len(written) == 1


async def test_a_leader_that_died_is_followed_once_its_lease_has_lapsed(backend: Backend) -> None:
    dead = orjson.dumps({"name": "dead"})
    revision = await backend.control.put(LEADER, dead, expected=0, ttl_s=1.0)
    async with controlling(backend, WELL) as controller:
        assert controller.leadership.epoch == 0
        await until(lambda: stands(controller, key_of(ACME)) is not None)
        assert controller.leadership.epoch > revision


async def test_a_leader_that_was_frozen_knows_that_it_leads_no_longer(backend: Backend) -> None:
    first, second = (
        Leadership(backend.control, SystemClock(), {"name": name}, lease_s=1.0)
        for name in ("first", "second")
    )
    epoch = await first.keep()
    assert first.epoch == epoch > 0
    assert await second.keep() == 0

    async def leads() -> bool:
        return await second.keep() > epoch

    await eventually(leads)
    assert first.epoch == 0
    assert await first.keep() == 0
    assert second.epoch > epoch


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        ("Raises", "raised KeyError"),
        ("Loops", "did not come back"),
        ("Blocks", "did not come back"),
        ("Floods", "made more than 100 suggestions"),
        ("Wanders", "there is no agent Nobody"),
        ("Swings", "to and fro"),
        ("Missing", "cannot be loaded"),
    ],
)
async def test_an_odd_policy_is_suspended_and_the_set_before_it_runs_again(
    backend: Backend, odd: str, why: str
) -> None:
    store = PolicyStore(backend.control, SystemClock())
    bounds = Bounds(suggestions_max=100, rest_s=0.01)
    async with controlling(backend, WELL, bounds=bounds) as controller:
        await until(lambda: stands(controller, key_of(ACME)) is not None)
        await store.apply([WELL, f"{ODD}:{odd}"])
        rolled_back = await the_set_is(store, [WELL])
        while rolled_back.by != "controller":  # It was that before, too.
            rolled_back = await the_set_is(store, [WELL])
        assert rolled_back.version == 3
        assert f"{ODD}:{odd} was suspended" in rolled_back.note
        assert why in rolled_back.note
        await until(lambda: controller.policies.version == 3)
        assert controller.policies.names == [WELL]
        decisions = controller.figures.decisions
        await until(lambda: controller.figures.decisions > decisions)
        await until(lambda: {it.issued.by for it in controller.sources.standing.values()} == {WELL})


async def test_a_flood_below_the_limit_of_a_decision_is_stopped_and_taken_back(
    backend: Backend,
) -> None:
    store = PolicyStore(backend.control, SystemClock())
    flood, counts = f"{ODD}:Dribbles,often=2000", f"{ODD}:Counts"
    counted = key_of(SetPriority("tenant", "counted", 0))
    flooded, sizes, counts_at = set[str](), [0], list[int]()

    def heard(entry: KeyValueEntry) -> None:
        if entry.key == counted:
            counts_at.append(len(flooded))
        elif entry.key != key_of(ACME):
            (flooded.add if entry.value else flooded.discard)(entry.key)
            sizes.append(len(flooded))

    watch = backend.control.watch(DIRECTIVE, heard)
    bounds = Bounds(changes_max=100, standing_max=250, rank_rest_s=0.01)
    async with controlling(backend, WELL, bounds=bounds) as controller:
        await until(lambda: stands(controller, key_of(ACME)) is not None)
        await store.apply([flood, counts, WELL])
        rolled_back = await the_set_is(store, [WELL])
        while rolled_back.by != "controller":  # It was that before, too.
            rolled_back = await the_set_is(store, [WELL])
        assert f"{flood} was suspended: it 3 times in a row" in rolled_back.note
        assert "more than 250 directives of it would stand" in rolled_back.note
        await until(lambda: controller.policies.version == 3 and not flooded)
        await until(lambda: {it.issued.by for it in controller.sources.standing.values()} == {WELL})
        told = await Journal(backend.control).last(100)
    watch.close()
    assert max(sizes) == bounds.standing_max
    assert counts_at.count(bounds.standing_max) >= 2  # The other policy's directives went on.
    assert max(it.done_in_all for it in told) <= bounds.changes_max
    assert max(it.refused_in_all for it in told) >= 1_900
    assert max(len(it.refused) for it in told) <= 2


async def test_a_leader_that_loses_its_lease_while_it_publishes_leaves_the_rest(
    backend: Backend,
) -> None:
    bounds = Bounds(changes_max=1_200)
    async with controlling(backend, WELL, bounds=bounds, lease_s=60.0) as controller:
        await until(lambda: stands(controller, key_of(ACME)) is not None)
        before = controller.figures.directed

        def lose(entry: KeyValueEntry) -> None:
            del entry
            controller.leadership._sure_until_s = 0.0

        watch = backend.control.watch(DIRECTIVE, lose)
        await PolicyStore(backend.control, SystemClock()).apply([f"{ODD}:Dribbles,often=1200"])
        await until(lambda: controller.figures.directed > before)
        watch.close()
        assert controller.leadership.epoch == 0
        assert controller.figures.directed - before < bounds.changes_max


async def test_policies_are_swapped_while_they_run_and_leave_nothing_behind(
    backend: Backend,
) -> None:
    store = PolicyStore(backend.control, SystemClock())
    async with controlling(backend, f"{WELL},tenant=one") as controller:
        one, two = SetPriority("tenant", "one", 1), SetPriority("tenant", "two", 4)
        await until(lambda: stands(controller, key_of(one)) is not None)
        await store.apply([f"{WELL},tenant=two,value=4"])
        await until(lambda: stands(controller, key_of(two)) is not None)
        await until(lambda: stands(controller, key_of(one)) is None)
        await store.rollback()
        await until(lambda: stands(controller, key_of(one)) is not None)


async def test_what_a_person_directs_is_left_alone(backend: Backend) -> None:
    agent = new_agent()
    steering = Steering(backend.control, SystemClock())
    async with controlling(backend, WELL) as controller:
        await steering.direct(SetPriority("tenant", "acme", 9))
        await steering.direct(Pause(agent))
        await PolicyStore(backend.control, SystemClock()).apply([])
        await until(lambda: controller.policies.version == 2)
        decisions = controller.figures.decisions
        await until(lambda: controller.figures.decisions > decisions + 2)
        assert {it.issued.by for it in await steering.standing()} == {"hand"}


async def test_what_a_policy_has_shed_is_let_in_again_once_no_controller_is_alive(
    backend: Backend,
) -> None:
    agent = new_agent()
    shed = Shed(agent, 1, 30.0)

    async def is_let_in() -> bool:
        entry = await backend.control.get(key_of(shed))
        return entry is None or entry.value is None

    async with controlling(backend, f"{ODD}:HoldsUp,agent={agent}", lease_s=0.4) as controller:
        await report(backend, worker("one", agent, running=0, slot=1))
        await until(lambda: stands(controller, key_of(shed)) is not None)
        began_s = SystemClock().now_s()
        await until(lambda: SystemClock().now_s() > began_s + 6 * 0.4 + 1.5)
        assert not await is_let_in(), "it is renewed for as long as there is a controller"
    await eventually(is_let_in)


async def test_what_is_refused_again_and_again_is_written_down_once_a_minute(
    backend: Backend,
) -> None:
    journal = Journal(backend.control)
    for at_s, reason in (
        (0.0, "waits 1 s"),
        (0.5, "waits 2 s"),
        (1.0, "other"),
        (61.5, "waits 9 s"),
    ):
        refused: list[Refusal] = [{"policy": "p", "reason": reason, "first": "x", "times": 1}]
        await journal.write(Decision(at_s, 1, 1, refused=refused))
    assert [it.at_s for it in await journal.last(9)] == [0.0, 1.0, 61.5]


@pytest.mark.parametrize("alive", [True, False])
async def test_a_set_is_taken_back_only_if_who_led_before_is_not_alive(
    backend: Backend, alive: bool
) -> None:
    clock = SystemClock()
    store = PolicyStore(backend.control, clock)
    made, before = await store.apply([WELL]), f"before-{alive}"
    await store.note_tenure(Tenure(before, made.version, clock.now_s()))
    if alive:
        await store.beat(before, 60.0)
    async with controlling(backend, lease_s=0.3) as controller:
        if alive:
            await until(lambda: controller.policies.names == [WELL])
            assert (await store.version()).version == made.version
        else:
            taken_back = await the_set_is(store, [])
            assert (taken_back.by, taken_back.faulty) == ("controller", (WELL,))
            assert "its controller was lost" in taken_back.note
