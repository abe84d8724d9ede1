"""Agents that refuse requests for now, on both brokers."""

import asyncio
from collections import defaultdict

import pytest

import nalar
from nalar.client.steering import Steering
from nalar.context import CallOptions
from nalar.directives import Shed
from nalar.errors import Overloaded
from nalar.ids import AgentName
from nalar.processes.host import Host
from tests.clusters import Cluster, until

GATES: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
RUNS: list[str] = []
TOOL, DESK = AgentName("shed_tool"), AgentName("ShedDesk")


@pytest.fixture(autouse=True)
def _anew() -> None:
    GATES.clear()
    RUNS.clear()


@nalar.tool(name="shed_tool")
async def tool(name: str) -> str:
    RUNS.append(name)
    await GATES[name].wait()
    return name


class ShedDesk(nalar.Agent, stateful=True):
    notes: nalar.ManagedList[str]

    @nalar.method
    async def note(self, text: str) -> list[str]:
        self.notes.append(text)
        return list(self.notes)


@nalar.workflow(name="shed_flow")
async def flow(name: str) -> str:
    RUNS.append("flow")
    await GATES["flow"].wait()
    return await tool(name)


async def shed(host: Host, agent: AgentName, *workers: Host, below: int = 1) -> Shed:
    """Shed from now on, in these workers and this client."""
    directive = Shed(agent, below, retry_after_s=7.0)
    steering = Steering(host.backend.control, host.clock)
    revision = await steering.direct(directive, "a test")
    for worker in workers:
        assert worker.worker is not None
        watch = worker.worker._directives
        await until(lambda watch=watch: watch.applied >= revision)
    await until(lambda: host.calls.admission_watch.applied >= revision)
    return directive


async def deaf(host: Host) -> None:
    """Let a client know of no directive, as one in another language."""
    await host.calls.admission_watch.begin()
    host.calls._admission._shedding.clear()


async def test_a_client_refuses_before_anything_is_published(cluster: Cluster) -> None:
    client = await cluster.client()
    stands = await shed(client.host, TOOL)
    future = tool("a")
    with pytest.raises(Overloaded, match="priority below 1") as refused:
        await future
    assert (refused.value.retry_after_s, refused.value.path) == (7.0, "shed_tool")
    with pytest.raises(Overloaded):
        await client.submit(tool, "a", options=CallOptions(idempotency_key="k"))
    await Steering(client.host.backend.control, client.host.clock).withdraw(stands)
    await until(lambda: client.host.calls._admission.refusal(TOOL, 0) is None)
    GATES["a"].set()
    await cluster.worker("shed_tool")
    assert await tool("a") == "a"
    run = await client.submit(tool, "a", options=CallOptions(idempotency_key="k"))
    assert await (await client.future(run)) == "a"
    assert RUNS == ["a", "a"], "what was refused was never sent"


async def test_a_worker_refuses_what_was_published_and_its_record_says_when_to_ask_again(
    cluster: Cluster,
) -> None:
    worker = await cluster.worker("shed_tool")
    client = await cluster.client()
    await shed(client.host, TOOL, worker)
    await deaf(client.host)
    run = await client.submit(tool, "a")
    for asker in (client, await cluster.client()):
        with pytest.raises(Overloaded, match="below 1") as refused:
            await (await asker.future(run))
        assert refused.value.retry_after_s == 7.0
    GATES["b"].set()
    assert await tool.options(priority=1)("b") == "b"
    assert RUNS == ["b"]
    assert await client.host.backend.control.scan("dead") == [], "it is no dead letter"


async def test_what_was_begun_is_finished_and_a_named_request_is_never_refused_for_good(
    cluster: Cluster,
) -> None:
    worker = await cluster.worker("shed_tool", "shed_flow")
    client = await cluster.client()
    begun = flow("child")
    await until(lambda: RUNS == ["flow"])
    await shed(client.host, TOOL, worker)
    await deaf(client.host)
    for name in ("child", "named", "flow"):
        GATES[name].set()
    assert await begun == "child", "the calls that a request makes are let in"
    assert await tool.options(idempotency_key="k")("named") == "named"


async def test_who_follows_a_refused_call_of_a_session_does_not_overtake_those_before_it(
    cluster: Cluster,
) -> None:
    worker = await cluster.worker("ShedDesk")
    client = await cluster.client()
    ask = ShedDesk.options(session="s")
    assert await ask.note("before") == ["before"]
    await shed(client.host, DESK, worker)
    await deaf(client.host)
    refused = ask.note("refused")
    after = ShedDesk.options(session="s", priority=1).note("after")
    with pytest.raises(Overloaded):
        await refused
    assert await after == ["before", "after"]


async def test_a_client_that_refuses_a_call_of_a_session_lets_the_next_one_go(
    cluster: Cluster,
) -> None:
    await cluster.worker("ShedDesk")
    client = await cluster.client()
    await shed(client.host, DESK)
    with pytest.raises(Overloaded):
        await ShedDesk.options(session="s").note("refused")
    assert await ShedDesk.options(session="s", priority=1).note("next") == ["next"]
