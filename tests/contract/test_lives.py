"""What becomes of calls when workers come, go and die, whichever broker carries them."""

import asyncio
import threading

import orjson
import pytest

import nalar
from nalar.agents.registry import REGISTRY
from nalar.errors import Expired
from nalar.ids import AgentName, SessionId
from nalar.processes.host import Host
from tests.clusters import Cluster, kill, until
from tests.contract.served import GATES, RUNS, CallsCounter, add, double, gated, stepping, two_steps


async def test_a_call_made_before_any_worker_lives_is_served_by_the_first(
    cluster: Cluster,
) -> None:
    await cluster.client()
    future = add(20, 22)
    await cluster.worker("calls_add")
    assert await future == 42


async def test_workers_that_join_share_the_slots_and_lose_nothing(cluster: Cluster) -> None:
    first = await cluster.worker("CallsCounter")
    await cluster.client()
    sessions = [CallsCounter.options(session=f"s{n}") for n in range(32)]
    await nalar.gather(*(session.push(0) for session in sessions))
    second = await cluster.worker("CallsCounter")
    elder, younger = first.worker, second.worker
    assert elder is not None
    assert younger is not None
    for worker in (elder, younger):
        await until(lambda owned=worker._membership._own: len(owned) == 8)
    counts = await nalar.gather(*(session.push(1) for session in sessions))
    assert counts == [2] * 32
    # Callers hear of a record before the worker counts its call.
    await until(lambda: elder._finished + younger._finished == 64)
    assert elder._finished > 32
    assert younger._finished > 0


async def test_the_next_call_goes_to_the_worker_with_the_fewest(cluster: Cluster) -> None:
    one, other = [await cluster.worker("calls_gated", concurrency=4) for _ in range(2)]
    await cluster.client()
    names = [f"idlest-{number}" for number in range(6)]
    GATES.update({name: asyncio.Event() for name in names})
    first: dict[str, nalar.Future[str]] = {}
    for name in names[:4]:
        first[name] = gated(name)
        await until(lambda: _running(one) + _running(other) == len(first))
    assert (_running(one), _running(other)) == (2, 2)
    assert other.worker is not None
    for name, future in first.items():
        assert future.ref is not None
        if future.ref.future in other.worker._held:
            GATES[name].set()
            await future
    await until(lambda: (_running(one), _running(other)) == (2, 0))
    # What it asked for then has reached the server when something asked later is answered.
    await other.backend.control.get("worker.none")
    more = [gated(name) for name in names[4:]]
    await until(lambda: _running(one) + _running(other) == 4)
    assert (_running(one), _running(other)) == (2, 2), "those that had none have both"
    for name in names:
        GATES[name].set()
    assert await nalar.gather(*first.values(), *more) == names


def _running(host: Host) -> int:
    assert host.worker is not None
    return host.worker._state.counts()["running"]


async def test_a_worker_that_has_a_slot_again_reads_its_sessions_anew(cluster: Cluster) -> None:
    first = await cluster.worker("CallsCounter")
    await cluster.client()
    names = [f"s{n}" for n in range(32)]
    await nalar.gather(*(CallsCounter.options(session=name).push(0) for name in names))
    second = await cluster.worker("CallsCounter")
    elder, younger = first.worker, second.worker
    assert elder is not None
    assert younger is not None
    await until(lambda: len(younger._membership._own) == 8)
    for name in names:
        # A call that still runs where its slot was lost opens its session for one more try.
        await elder._sessions.open(AgentName("CallsCounter"), SessionId(name))
    await nalar.gather(*(CallsCounter.options(session=name).push(1) for name in names))
    await second.drain(1)
    await until(lambda: len(elder._membership._own) == 16)
    for name in names:
        assert await CallsCounter.options(session=name).look() == [0, 1]


async def test_a_dead_worker_whose_entry_never_expires_loses_its_slots(cluster: Cluster) -> None:
    """A server that was killed may have forgotten when an entry was to expire."""
    await cluster.client()
    control = (await cluster.host()).backend.control
    ghost = orjson.dumps({"worker": "ghost", "agents": ["CallsCounter"]})
    await control.put("worker.ghost", ghost, ttl_s=3600)
    for slot in range(16):
        await control.put(f"lease.CallsCounter.{slot}", b"ghost")
    await cluster.worker("CallsCounter", lease_s=0.6)
    async with asyncio.timeout(15):
        assert await CallsCounter.options(session="haunted").push(1) == 1
    entry = await control.get("worker.ghost")
    assert entry is None or entry.value is None


async def test_the_calls_of_a_dead_worker_take_effect_once_and_in_their_order_elsewhere(
    cluster: Cluster,
) -> None:
    """Some were in its hands and come back late, some are made while nobody serves."""
    RUNS.clear()
    GATES["dead"] = asyncio.Event()
    first = await cluster.worker("CallsCounter")
    await cluster.client()
    session = CallsCounter.options(session="s")
    assert await session.push(1) == 1
    future = session.push_when_open("dead", 2)
    held = [session.push(n) for n in (3, 4, 5)]
    await until(lambda: RUNS.get("dead") == 1)
    await until(lambda: first.worker is not None and len(first.worker._held) == 4)
    await kill(first)
    later = [session.push(n) for n in (6, 7, 8)]
    GATES["dead"].set()
    await cluster.worker("CallsCounter")
    assert await nalar.gather(future, *held, *later) == list(range(2, 9))
    assert RUNS["dead"] == 2
    assert await session.look() == list(range(1, 9))


async def test_a_resumed_workflow_does_not_run_its_finished_children_again(
    cluster: Cluster,
) -> None:
    RUNS.clear()
    GATES["w-1"], GATES["w-2"] = asyncio.Event(), asyncio.Event()
    await cluster.client()
    tools = await cluster.worker("calls_gated")
    first = await cluster.worker("calls_two_steps")
    future = two_steps("w")
    GATES["w-1"].set()
    await until(lambda: RUNS.get("w-2") == 1)
    await kill(first)
    await cluster.worker("calls_two_steps")
    await asyncio.sleep(0)
    GATES["w-2"].set()
    assert await future == "w-1w-2"
    assert RUNS == {"w-1": 1, "w-2": 1}
    assert tools.worker is not None


async def test_a_call_whose_deadline_passes_in_the_queue_expires(cluster: Cluster) -> None:
    RUNS.clear()
    GATES["slow"] = asyncio.Event()
    await cluster.worker("calls_gated", "calls_add", concurrency=1)
    await cluster.client()
    blocking = gated("slow")
    await until(lambda: RUNS.get("slow") == 1)
    with pytest.raises(Expired):
        await add.options(deadline_s=0.2)(1)
    GATES["slow"].set()
    assert await blocking == "slow"


async def test_draining_finishes_what_runs_and_gives_back_the_rest(cluster: Cluster) -> None:
    RUNS.clear()
    for name in ("first", "second"):
        GATES[name] = asyncio.Event()
    worker = await cluster.worker("calls_gated", concurrency=1)
    await cluster.client()
    first, second = gated("first"), gated("second")
    await until(lambda: RUNS.get("first") == 1)
    draining = asyncio.get_running_loop().create_task(worker.drain(10))
    await asyncio.sleep(0)
    GATES["first"].set()
    GATES["second"].set()
    assert await draining == 0
    assert await first == "first"
    await cluster.worker("calls_gated")
    assert await second == "second"
    assert RUNS == {"first": 1, "second": 1}


async def test_calls_of_a_worker_that_is_closed_without_a_drain_are_run_by_another(
    cluster: Cluster,
) -> None:
    """What was cut off is no failure of theirs."""
    host = await cluster.host()
    await host.serve([REGISTRY.get("calls_stepping")])
    await cluster.client()
    RUNS.clear()
    calls = [stepping(400) for _ in range(3)]
    await until(lambda: RUNS.get("steps", 0) > 30)
    await host.close()
    await cluster.worker("calls_stepping")
    assert await nalar.gather(*calls) == [400] * 3


async def test_a_worker_that_is_closed_without_a_drain_leaves_no_thread_behind(
    cluster: Cluster,
) -> None:
    """One that went on giving signs of life would keep its slots for good."""
    before = set(threading.enumerate())
    host = await cluster.host()
    await host.serve([REGISTRY.get("CallsCounter"), REGISTRY.get("calls_double")])
    await cluster.client()
    assert await double(2) == 4  # In a thread of its own.
    await host.close()
    await until(
        lambda: not any(it.name == "nalar-loop" for it in {*threading.enumerate()} - before)
    )
