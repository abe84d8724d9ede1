"""Nodes that die while calls run: commits go on soon, nothing is lost, nothing happens twice."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.nodes import PATIENCE_S, Nodes, three_nodes
from tests.nodes_load import CONTROL, LEDGER, QUEUE, RESUMED_S, SESSIONS, loaded


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    async with three_nodes(tmp_path) as started:
        yield started


async def measured(nodes: Nodes, lose: Callable[[], Awaitable[object]], what: str) -> float:
    """Lose a node under load and return how long it took until all sessions had gone on."""
    async with loaded(nodes) as load:
        lost_at = asyncio.get_running_loop().time()
        await lose()
        after_s = await load.gone_on(lost_at, PATIENCE_S)
        for node in nodes:
            if not node.running:
                await node.start()
            node.send(signal.SIGCONT)
        await nodes.whole()
        await load.gone_on(asyncio.get_running_loop().time(), PATIENCE_S)
    calls = sum(map(len, load.asked.values()))
    print(  # noqa: T201
        f"{what}: all {SESSIONS} sessions went on after {after_s:.1f} s; longest call "
        f"{load.longest_s:.1f} s, {calls} calls, 0 lost, 0 twice"
    )
    return after_s


@pytest.mark.timeout(120)
@pytest.mark.parametrize("stream", [LEDGER, QUEUE, pytest.param(CONTROL, marks=pytest.mark.chaos)])
async def test_commits_resume_soon_after_a_leader_is_killed(nodes: Nodes, stream: str) -> None:
    async def kill() -> None:
        await (await nodes.leader(stream)).kill()

    assert await measured(nodes, kill, f"leader of {stream} killed") < RESUMED_S


@pytest.mark.chaos
@pytest.mark.timeout(180)
async def test_commits_resume_soon_after_a_leader_is_frozen(nodes: Nodes) -> None:
    """Its sockets stay open and it answers nothing; awake again, it believes that it leads."""

    async def freeze() -> None:
        (await nodes.leader(LEDGER)).send(signal.SIGSTOP)

    assert await measured(nodes, freeze, "leader of the ledger frozen") < RESUMED_S


@pytest.mark.chaos
@pytest.mark.timeout(300)
async def test_all_nodes_are_restarted_in_turn_under_load(nodes: Nodes) -> None:
    async with loaded(nodes) as load:
        for node in nodes:
            begun = asyncio.get_running_loop().time()
            await node.stop()
            await node.start()
            await nodes.whole()
            after_s = await load.gone_on(begun, PATIENCE_S)
            print(f"{node.name} restarted: all sessions went on after {after_s:.1f} s")  # noqa: T201
    assert load.longest_s < RESUMED_S
    print(f"longest call {load.longest_s:.1f} s")  # noqa: T201
