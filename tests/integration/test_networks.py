"""Cables that are pulled while calls run: commits go on soon, nothing is lost or done twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.networks import Network, missing, three_networks
from tests.nodes import Node
from tests.nodes_load import LEDGER, Resumed, loaded

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
