"""Cables that are pulled while calls run: commits go on soon, nothing is lost or done twice."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from nalar.ids import AgentName
from nalar.statestore.jetstream import open_jetstream
from tests.contract.worlds import make_invocation, make_ref
from tests.networks import Network, missing, three_networks
from tests.nodes import PATIENCE_S, Node, eventually
from tests.nodes_load import LEDGER, QUEUE, Resumed, loaded

_LACKS = missing()
#: How often a cable comes and goes, and for how long it is plugged in and pulled, in seconds.
FLAPS, UP_S, DOWN_S = 8, 1.5, 1.5
pytestmark = pytest.mark.skipif(bool(_LACKS), reason=_LACKS or "-")


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    async with three_networks(tmp_path) as started:
        yield started


async def gone_on(network: Network, what: str, harm: Callable[[Node], Awaitable[None]]) -> Resumed:
    """Harm the ledger's leader under load; return how long it took until calls had gone on."""
    async with loaded(network.nodes) as load:
        await harm(await network.nodes.leader(LEDGER))
        resumed = await load.gone_on(asyncio.get_running_loop().time())
        network.plug_all()
        await network.nodes.whole()
        await load.gone_on(asyncio.get_running_loop().time())
    load.tell(what, resumed)
    return resumed


@pytest.mark.timeout(120)
async def test_commits_resume_soon_after_a_leader_is_cut_off_from_its_peers(
    network: Network,
) -> None:
    """It still serves its clients, and takes itself for the leader until it notices."""

    async def isolate(leader: Node) -> None:
        network.pull(leader, "peers")

    assert (await gone_on(network, "leader isolated from its peers", isolate)).meets_the_bar()


@pytest.mark.timeout(120)
async def test_what_a_leader_could_pass_on_to_nobody_is_not_taken_for_stored(
    network: Network,
) -> None:
    """It refuses a copy of what is on its way to its followers as if that were stored."""
    agent = AgentName("NodesJournal")
    settings = network.nodes.settings()
    async with AsyncExitStack() as stack:
        backend = await open_jetstream(settings)
        stack.push_async_callback(backend.close)
        await backend.queue.ensure(agent, slots=1)
        leader = await network.nodes.leader(QUEUE)
        cut_off = await open_jetstream(dataclasses.replace(settings, url=leader.url))
        stack.push_async_callback(cut_off.close)
        network.pull(leader, "peers")
        async with asyncio.timeout(PATIENCE_S):
            await cut_off.queue.publish("q.normal", make_invocation(make_ref(agent)))
        others = [node for node in network.nodes if node is not leader]

        async def led_by_another() -> bool:
            told = [(await node.stream(QUEUE)).get("cluster", {}) for node in others]
            return any(it.get("leader") in {node.name for node in others} for it in told)

        await eventually(led_by_another, "the others have a leader")
        network.plug_all()
        await network.nodes.whole()
        assert (await network.nodes.agree(QUEUE))["messages"] == 1


@pytest.mark.chaos
@pytest.mark.timeout(120)
async def test_commits_resume_soon_after_a_leader_is_cut_off_from_everybody(
    network: Network,
) -> None:
    """No connection is closed: nothing comes any more, and nobody says so."""

    async def cut(leader: Node) -> None:
        network.pull(leader, "peers")
        network.pull(leader, "clients")

    assert (await gone_on(network, "leader cut off from everybody", cut)).meets_the_bar()


@pytest.mark.chaos
@pytest.mark.timeout(180)
async def test_a_cable_that_comes_and_goes_loses_nothing(network: Network) -> None:
    async def flap(leader: Node) -> None:
        for _ in range(FLAPS):
            network.pull(leader, "peers")
            await asyncio.sleep(DOWN_S)
            network.plug(leader, "peers")
            await asyncio.sleep(UP_S)

    assert (await gone_on(network, "leader's cable flapping", flap)).meets_the_bar()
