"""Weights by hand, on both brokers: how many calls and slots each worker gets."""

import asyncio
from collections import defaultdict

import pytest

import nalar
from nalar.agents.registry import REGISTRY
from nalar.bus.subjects import LANE_NORMAL
from nalar.client.steering import Steering
from nalar.directives import SetWeights
from nalar.ids import AgentName, WorkerId
from nalar.processes.host import Host
from tests.clusters import Cluster, until

TOOL, DESK = AgentName("weighed_tool"), AgentName("WeighedDesk")
GATES: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)


@pytest.fixture(autouse=True)
def _anew() -> None:
    GATES.clear()


@nalar.tool(name="weighed_tool")
async def tool() -> None:
    await GATES["shut"].wait()


class WeighedDesk(nalar.Agent, stateful=True):
    count: nalar.ManagedValue[int]

    @nalar.method
    async def add(self) -> int:
        self.count.set((self.count.get() or 0) + 1)
        return self.count.get() or 0


async def weigh(agent: AgentName, hosts: list[Host], *weights: float) -> SetWeights:
    """Have workers obey these weights."""
    named: dict[str, float] = {
        host.worker.name: it for host, it in zip(hosts, weights, strict=True) if host.worker
    }
    directive = SetWeights(agent, named)
    await Steering(hosts[0].backend.control, hosts[0].clock).direct(directive)
    await until(lambda: shares(agent, *hosts) == [it / max(1.0, *weights) for it in weights])
    return directive


def shares(agent: AgentName, *hosts: Host) -> list[float | None]:
    return [host.worker._shared.shares[agent] for host in hosts if host.worker is not None]


def running(*hosts: Host) -> list[int]:
    return [host.worker._state.counts()["running"] for host in hosts if host.worker is not None]


async def asked(*hosts: Host) -> None:
    """Wait until the server has heard from each worker how busy it is."""
    for host in hosts:
        assert host.worker is not None
        lane = host.worker._credits._lanes[f"{TOOL}/{LANE_NORMAL}"]
        await until(lambda lane=lane: lane.asked)
        await host.backend.control.get("nothing")


def slots(*hosts: Host) -> list[int]:
    return [len(host.worker._membership._own) for host in hosts if host.worker is not None]


async def test_of_calls_that_run_a_worker_of_weight_a_quarter_has_a_fifth(
    cluster: Cluster,
) -> None:
    hosts = [await cluster.worker("weighed_tool", concurrency=8) for _ in range(2)]
    await cluster.client()
    await weigh(TOOL, hosts, 1.0, 0.25)
    futures: list[nalar.Future[None]] = []
    seen: dict[int, list[int]] = {}
    for number in range(1, 17):
        await asked(*hosts)
        futures.append(tool())
        await until(lambda number=number: sum(running(*hosts)) == number)
        seen[number] = running(*hosts)
    assert (seen[3], seen[5]) == ([3, 0], [4, 1])
    assert seen[16] == [8, 8], "no call waits while there is a free slot"
    GATES["shut"].set()
    await nalar.gather(*futures)


async def test_a_worker_of_weight_0_gets_no_call_and_finishes_what_it_has(
    cluster: Cluster,
) -> None:
    hosts = [await cluster.worker("weighed_tool", concurrency=8) for _ in range(2)]
    await cluster.client()
    await weigh(TOOL, hosts, 0.0, 1.0)
    first = tool()
    await until(lambda: running(*hosts) == [0, 1])
    await weigh(TOOL, hosts, 1.0, 0.0)
    others = [tool() for _ in range(4)]
    await until(lambda: running(*hosts) == [4, 1])
    directive = await weigh(TOOL, hosts, 0.0, 0.0)
    waiting = tool()
    GATES["shut"].set()
    await nalar.gather(first, *others)
    assert not waiting.done(), "nobody takes it"
    await Steering(hosts[0].backend.control, hosts[0].clock).withdraw(directive)
    await waiting
    await until(lambda: shares(TOOL, *hosts) == [1.0, 1.0])


async def test_a_worker_that_joins_later_finds_its_weight(cluster: Cluster) -> None:
    host = await cluster.host()
    steering = Steering(host.backend.control, host.clock)
    await steering.direct(SetWeights(TOOL, {WorkerId("late"): 0, WorkerId("gone"): 2}))
    await host.serve([REGISTRY.get("weighed_tool")], name="late")
    other = await cluster.worker("weighed_tool")
    await cluster.client()
    future = tool()
    await until(lambda: running(host, other) == [0, 1])
    assert shares(TOOL, host, other) == [0.0, 0.5]
    GATES["shut"].set()
    await future
    await host.drain(0.5)


async def test_the_slots_of_a_stateful_agent_follow_the_weights_and_sessions_keep_their_state(
    cluster: Cluster,
) -> None:
    hosts = [await cluster.worker("WeighedDesk") for _ in range(2)]
    await cluster.client()
    await until(lambda: slots(*hosts) == [8, 8])
    sessions = [WeighedDesk.options(session=f"s{number}") for number in range(12)]
    assert await nalar.gather(*(it.add() for it in sessions)) == [1] * 12
    await weigh(DESK, hosts, 1.0, 0.25)
    more = [it.add() for it in sessions]
    await until(lambda: slots(*hosts) == [13, 3])
    assert await nalar.gather(*more) == [2] * 12
    directive = await weigh(DESK, hosts, 0.0, 0.25)
    await until(lambda: slots(*hosts) == [0, 16])
    assert await nalar.gather(*(it.add() for it in sessions)) == [3] * 12
    await Steering(hosts[0].backend.control, hosts[0].clock).withdraw(directive)
    await until(lambda: slots(*hosts) == [8, 8])
    assert await nalar.gather(*(it.add() for it in sessions)) == [4] * 12


async def test_weights_that_expire_are_obeyed_no_longer(cluster: Cluster) -> None:
    host = await cluster.worker("weighed_tool")
    assert host.worker is not None
    await cluster.client()
    GATES["shut"].set()
    steering = Steering(host.backend.control, host.clock)
    await steering.direct(SetWeights(TOOL, {host.worker.name: 0}), stands_s=1.0)
    await until(lambda: shares(TOOL, host) == [0.0])
    await tool()
    await until(lambda: shares(TOOL, host) == [1.0])
