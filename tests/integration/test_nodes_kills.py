"""Nodes that die while calls run: commits go on soon, nothing is lost, nothing happens twice."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.nodes import Nodes, three_nodes
from tests.nodes_load import CONTROL, LEDGER, QUEUE, RESUMED_S, Resumed, loaded


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    async with three_nodes(tmp_path) as started:
        yield started


async def resumed(nodes: Nodes, lose: Callable[[], Awaitable[object]], what: str) -> Resumed:
    """Lose a node under load and return how long it took until calls had gone on."""
    async with loaded(nodes) as load:
        await lose()
        after = await load.gone_on(asyncio.get_running_loop().time())
        for node in nodes:
            if not node.running:
                await node.start()
            node.send(signal.SIGCONT)
        await nodes.whole()
        await load.gone_on(asyncio.get_running_loop().time())
    load.tell(what, after)
    return after


@pytest.mark.timeout(120)
@pytest.mark.parametrize("stream", [LEDGER, QUEUE, pytest.param(CONTROL, marks=pytest.mark.chaos)])
async def test_commits_resume_soon_after_a_leader_is_killed(nodes: Nodes, stream: str) -> None:
    async def kill() -> None:
        await (await nodes.leader(stream)).kill()

    assert (await resumed(nodes, kill, f"leader of {stream} killed")).meets_the_bar()


@pytest.mark.chaos
@pytest.mark.timeout(180)
async def test_commits_resume_soon_after_a_leader_is_frozen(nodes: Nodes) -> None:
    """Its sockets stay open and it answers nothing; awake again, it believes that it leads."""

    async def freeze() -> None:
        (await nodes.leader(LEDGER)).send(signal.SIGSTOP)

    assert (await resumed(nodes, freeze, "leader of the ledger frozen")).meets_the_bar()


@pytest.mark.chaos
@pytest.mark.timeout(300)
async def test_all_nodes_are_restarted_in_turn_under_load(nodes: Nodes) -> None:
    async with loaded(nodes) as load:
        for node in nodes:
            begun = asyncio.get_running_loop().time()
            await node.stop()
            await node.start()
            await nodes.whole()
            load.tell(f"{node.name} restarted", await load.gone_on(begun))
    assert load.longest_s < RESUMED_S
