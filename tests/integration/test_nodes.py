"""Three nodes: how many copies are kept, what is said of too few, and a node that is missing."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import orjson
import pytest

from nalar.bus import subjects, topology
from nalar.bus.link import Link
from nalar.bus.replies import parse_api
from nalar.diagnose import diagnose
from nalar.errors import Unavailable
from nalar.statestore.jetstream import open_jetstream
from tests.contract.worlds import eventually, make_invocation, make_ref, new_agent
from tests.nodes import Nodes, three_nodes

LEDGER = subjects.bucket_stream(subjects.LEDGER_BUCKET)


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    async with three_nodes(tmp_path) as started:
        yield started


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as entered:
        yield entered


async def copies(link: Link, stream: str) -> int:
    told = parse_api(await link.api(subjects.api_stream("INFO", stream)))
    found: int = told["config"]["num_replicas"]
    return found


async def found_ok(nodes: Nodes, begin: str) -> bool:
    """Say whether the doctor finds nothing wrong with what begins so: new copies are late."""
    found = [one.state for one in await diagnose(nodes.settings()) if one.what.startswith(begin)]
    return found == ["ok"]


async def test_every_stream_has_three_copies_and_the_doctor_counts_them(
    nodes: Nodes, stack: AsyncExitStack
) -> None:
    backend = await open_jetstream(nodes.settings())
    stack.push_async_callback(backend.close)
    agent = new_agent()
    await backend.queue.ensure(agent, slots=2)
    streams = [store.name for store in await backend.stores([agent])]
    assert len(streams) > 3
    assert {await copies(backend.link, name) for name in streams} == {3}
    await eventually(lambda: found_ok(nodes, f"stream {LEDGER} (results and session state): 0 me"))
    said = [finding.what for finding in await diagnose(nodes.settings())]
    assert f"stream {LEDGER} (results and session state): 0 messages, 3 copies" in said
    assert not any("one copy" in what for what in said)


async def test_a_process_that_starts_while_a_node_is_down_makes_three_copies(
    nodes: Nodes, stack: AsyncExitStack
) -> None:
    await nodes[2].kill()
    backend = await open_jetstream(nodes.settings())
    stack.push_async_callback(backend.close)
    assert await copies(backend.link, LEDGER) == 3
    ref = make_ref(new_agent(), session="s1")
    await backend.ledger.commit(ref, b"{}", expected=0, ttl_s=60)
    late = [finding for finding in await diagnose(nodes.settings()) if "n3" in finding.what]
    assert {finding.state for finding in late} == {"wrong"}
    await nodes[2].start()
    await nodes.whole()
    assert (await nodes.agree(LEDGER))["messages"] >= 1


async def test_too_few_copies_are_told_with_the_way_out_which_works(
    nodes: Nodes, stack: AsyncExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    await (await open_jetstream(nodes.settings(replicas=1))).close()
    assert not caplog.records, "one copy was asked for"
    backend = await open_jetstream(nodes.settings())
    stack.push_async_callback(backend.close)
    way_out = f"`nats stream edit {LEDGER} --replicas 3`"
    warnings = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert any(f"stream {LEDGER} has 1 of 3 copies" in said for said in warnings)
    assert any(way_out in said for said in warnings)
    found = [one for one in await diagnose(nodes.settings()) if LEDGER + " " in one.what]
    assert [(one.state, way_out in one.remedy) for one in found] == [("wrong", True)]
    body = orjson.dumps(topology.ledger_stream(3))
    parse_api(await backend.link.api(subjects.api_stream("UPDATE", LEDGER), body))
    await eventually(lambda: found_ok(nodes, f"stream {LEDGER} "))


async def test_more_copies_than_there_are_servers_are_refused_with_what_to_do(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology, "ELECTION_S", 0.5)
    with pytest.raises(Unavailable, match=r"fewer servers than .* NALAR_SET_REPLICAS=1"):
        await open_jetstream(nodes.settings(replicas=5))


async def test_who_knows_one_node_goes_on_at_another_when_that_dies(
    nodes: Nodes, stack: AsyncExitStack
) -> None:
    backend = await open_jetstream(nodes.settings(url=nodes[0].url))
    stack.push_async_callback(backend.close)
    agent = new_agent()
    await backend.queue.ensure(agent, slots=0)
    await nodes[0].kill()

    async def elsewhere() -> bool:
        told = backend.describe()
        return told["state"] == "connected" and told["url"] != nodes[0].url

    await eventually(elsewhere)
    ref = make_ref(agent)

    async def published() -> bool:
        # As callers do: while a leader is elected, which may take longer than one question.
        with contextlib.suppress(Unavailable):
            await backend.queue.publish(subjects.LANE_NORMAL, make_invocation(ref))
            return True
        return False

    await eventually(published, within_s=30)


async def test_a_process_waits_for_a_cluster_that_is_electing(
    nodes: Nodes, stack: AsyncExitStack
) -> None:
    await (await open_jetstream(nodes.settings())).close()
    await asyncio.gather(nodes[0].kill(), nodes[1].kill())
    opening = asyncio.create_task(open_jetstream(nodes.settings()))  # noqa: TID251 -- beside it
    await asyncio.gather(nodes[0].start(), nodes[1].start())
    backend = await opening
    stack.push_async_callback(backend.close)
    assert backend.describe()["state"] == "connected"
