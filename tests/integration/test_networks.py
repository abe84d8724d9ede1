"""Cables that are pulled while calls run: commits go on soon, nothing is lost or done twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.networks import Network, missing, three_networks
from tests.nodes import PATIENCE_S, Node
from tests.nodes_load import LEDGER, RESUMED_S, loaded

_LACKS = missing()
#: How often a cable comes and goes, and for how long it is plugged in and pulled, in seconds.
FLAPS, UP_S, DOWN_S = 8, 1.5, 1.5
pytestmark = pytest.mark.skipif(bool(_LACKS), reason=_LACKS or "-")


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    async with three_networks(tmp_path) as started:
        yield started


async def gone_on(network: Network, what: str, harm: Callable[[Node], Awaitable[None]]) -> float:
    """Harm the ledger's leader under load; return how long it took until all had gone on."""
    async with loaded(network.nodes) as load:
        leader = await network.nodes.leader(LEDGER)
        since = asyncio.get_running_loop().time()
        await harm(leader)
        after_s = await load.gone_on(since, PATIENCE_S)
        network.plug_all()
        await network.nodes.whole()
        await load.gone_on(asyncio.get_running_loop().time(), PATIENCE_S)
    print(  # noqa: T201
        f"{what}: all sessions went on after {after_s:.1f} s; longest call "
        f"{load.longest_s:.1f} s, {sum(map(len, load.asked.values()))} calls, 0 lost, 0 twice"
    )
    return after_s


@pytest.mark.timeout(120)
async def test_commits_resume_soon_after_a_leader_is_cut_off_from_its_peers(
    network: Network,
) -> None:
    """It still serves its clients, and takes itself for the leader until it notices."""

    async def isolate(leader: Node) -> None:
        network.pull(leader, "peers")

    assert await gone_on(network, "leader isolated from its peers", isolate) < RESUMED_S


@pytest.mark.chaos
@pytest.mark.timeout(120)
async def test_commits_resume_soon_after_a_leader_is_cut_off_from_everybody(
    network: Network,
) -> None:
    """No connection is closed: nothing comes any more, and nobody says so."""

    async def cut(leader: Node) -> None:
        network.pull(leader, "peers")
        network.pull(leader, "clients")

    assert await gone_on(network, "leader cut off from everybody", cut) < RESUMED_S


@pytest.mark.chaos
@pytest.mark.timeout(180)
async def test_a_cable_that_comes_and_goes_loses_nothing(network: Network) -> None:
    async def flap(leader: Node) -> None:
        for _ in range(FLAPS):
            network.pull(leader, "peers")
            await asyncio.sleep(DOWN_S)
            network.plug(leader, "peers")
            await asyncio.sleep(UP_S)

    whole_s = FLAPS * (UP_S + DOWN_S)
    assert await gone_on(network, "leader's cable flapping", flap) < whole_s + RESUMED_S
