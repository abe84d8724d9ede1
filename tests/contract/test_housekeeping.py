"""What housekeeping removes, and what it must leave."""

import asyncio
import dataclasses

import orjson

import nalar
from nalar.client.client import Client
from nalar.client.housekeeping import Housekeeper
from nalar.ids import AgentName, SessionId
from tests.clusters import Cluster
from tests.contract.worlds import eventually


class HousekeepingPad(nalar.Agent, stateful=True):
    rows: nalar.ManagedList[str]

    @nalar.method
    async def add(self, row: str) -> int:
        self.rows.append(row)
        return len(self.rows)


async def log_length(client: Client, session: str) -> int:
    entries, _ = await client.host.backend.ledger.session_log(
        AgentName("HousekeepingPad"), SessionId(session), after=0
    )
    return len(entries)


def keeper(client: Client, keep_s: float) -> Housekeeper:
    """Return a keeper for whom everything older than `keep_s` is old."""
    settings = dataclasses.replace(
        client.host.settings, deadline_s=keep_s / 2, retention_s=keep_s / 2
    )
    return Housekeeper(client.host.backend, settings)


async def filled(cluster: Cluster, session: str, rows: list[str], every: int) -> Client:
    await cluster.worker("HousekeepingPad", snapshot_every=every)
    client = await cluster.client()
    for row in rows:
        await HousekeepingPad.options(session=session).add(row)
    return client


async def until_covered(client: Client, session: str, rows: int) -> None:
    """Wait until the snapshot, written behind, has so many rows."""

    async def covered() -> bool:
        entry = await client.host.backend.snapshots.get(f"state.HousekeepingPad.{session}")
        if entry is None or not entry.value:
            return False
        state: dict[str, list[str]] = orjson.loads(entry.value)["state"]
        return len(state["rows"]) == rows

    await eventually(covered)


async def test_a_trimmed_session_goes_on_as_if_nothing_had_happened(cluster: Cluster) -> None:
    rows = [f"row{n}" for n in range(6)]
    client = await filled(cluster, "s", rows, every=3)
    await until_covered(client, "s", 6)
    house = keeper(client, 0.2)
    await asyncio.sleep(0.3)  # What is measured is the age itself.
    swept = await house.sweep()
    assert swept is not None
    assert (swept.sessions, swept.entries) == (1, 5)
    assert await log_length(client, "s") == 1
    assert (await client.session("HousekeepingPad", "s")).state == {"rows": rows}
    assert await HousekeepingPad.options(session="s").add("row6") == 7
    again = await house.sweep()
    assert again is not None
    assert again.entries == 0


async def test_what_is_young_or_in_no_snapshot_stays(cluster: Cluster) -> None:
    client = await filled(cluster, "s", [f"row{n}" for n in range(3)], every=3)
    await until_covered(client, "s", 3)
    await HousekeepingPad.options(session="other").add("row0")
    young = await keeper(client, 3600.0).sweep()
    assert young is not None
    assert young.entries == 0
    await asyncio.sleep(0.3)  # What is measured is the age itself.
    await keeper(client, 0.2).sweep()
    assert await log_length(client, "other") == 1


async def test_snapshots_that_outgrew_an_entry_leave_no_blobs_behind(cluster: Cluster) -> None:
    big = "x" * 1_500_000
    cluster.settings = dataclasses.replace(cluster.settings, reply_timeout_s=3.0)
    client = await filled(cluster, "s", [big, "row1", "row2"], every=1)
    backend = client.host.backend

    async def settled() -> bool:
        entry = await backend.snapshots.get("state.HousekeepingPad.s")
        return entry is not None and b'"upto"' in (entry.value or b"")

    await eventually(settled)
    await asyncio.sleep(1.5)  # What is measured is the age itself; snapshots are written behind.
    before = set(await backend.blobs.unused_for(0.2))
    swept = await keeper(client, 0.2).sweep()
    assert swept is not None
    assert (swept.entries, swept.blobs) == (2, len(before) - 1)
    named = await backend.blobs.referred_to([AgentName("HousekeepingPad")])
    assert set(await backend.blobs.unused_for(0.0)) == named
    state = (await client.session("HousekeepingPad", "s")).state
    assert state == {"rows": [big, "row1", "row2"]}


async def test_keepers_take_turns(cluster: Cluster) -> None:
    client = await cluster.client()
    await client.host.backend.control.put("housekeeper", b"another", expected=0)
    assert await keeper(client, 1.0).sweep() is None
    await client.host.backend.control.delete("housekeeper")
    assert await keeper(client, 1.0).sweep() is not None
