"""What a resumed caller may rely on when it asks for other calls than before."""

import asyncio

import pytest

import nalar
from nalar.bus.codec import decode_record
from nalar.client.client import Client
from nalar.errors import NonDeterminismError
from tests.clusters import Cluster, kill, until
from tests.contract.worlds import eventually

#: The amounts that the workflow transfers, in turn; tests change them between two attempts.
AMOUNTS: list[int] = []
#: Closed by a test that kills the worker in the middle of the workflow.
GATE: list[asyncio.Event] = []
READ: list[int] = []


class OrphansAccount(nalar.Agent, stateful=True):
    taken: nalar.ManagedList[int]

    @nalar.method
    async def take(self, amount: int) -> int:
        self.taken.append(amount)
        return sum(self.taken)

    @nalar.method(on_orphan="ignore")
    async def note(self, amount: int) -> int:
        self.taken.append(-amount)
        return len(self.taken)

    @nalar.method(read_only=True)
    async def look(self, nonce: int) -> list[int]:
        READ.append(nonce)
        return list(self.taken)


async def _stop_here() -> None:
    if GATE:
        await GATE[0].wait()


@nalar.workflow(name="orphans_transfer")
async def transfer(session: str) -> int:
    account = OrphansAccount.options(session=session)
    for amount in AMOUNTS:
        await account.take(amount)
    await _stop_here()
    return sum(AMOUNTS)


@nalar.workflow(name="orphans_reorder")
async def reorder(session: str) -> list[int]:
    account = OrphansAccount.options(session=session)
    totals = await asyncio.gather(*(account.take(amount) for amount in AMOUNTS))
    await _stop_here()
    return totals


@nalar.workflow(name="orphans_note")
async def noting(session: str) -> int:
    account = OrphansAccount.options(session=session)
    for amount in AMOUNTS:
        await account.note(amount)
    await _stop_here()
    return len(AMOUNTS)


@nalar.workflow(name="orphans_look")
async def looking(session: str) -> int:
    account = OrphansAccount.options(session=session)
    for amount in AMOUNTS:
        await account.look(amount)
    await _stop_here()
    return len(AMOUNTS)


@nalar.workflow(name="orphans_fails", retry=nalar.Retry(max_attempts=3, initial_s=0.01))
async def fails_once(session: str) -> int:
    account = OrphansAccount.options(session=session)
    total = await account.take(AMOUNTS[0])
    if nalar.context().attempt == 1:
        AMOUNTS[0] += 1
        raise RuntimeError("after the transfer")
    return total


async def resumed(
    cluster: Cluster, name: str, before: list[int], after: list[int], session: str = "s"
) -> nalar.Future[object]:
    """Make the workflow transfer `before`, kill its worker, and resume it to transfer `after`."""
    AMOUNTS[:] = before
    READ.clear()
    GATE[:] = [asyncio.Event()]
    await cluster.worker("OrphansAccount")
    doomed = await cluster.worker(name)
    client = await cluster.client()
    future = await client.call(name, session)
    assert doomed.worker is not None
    await until(lambda: doomed.worker is not None and doomed.worker._state.counts()["running"])
    if name == "orphans_look":
        await until(lambda: len(READ) == len(before))
    else:
        await _until_taken(client, session, len(before))
    await kill(doomed)
    GATE.clear()
    AMOUNTS[:] = after
    await cluster.worker(name, orphan_patience_s=0.5)
    return future


async def _until_taken(client: Client, session: str, count: int) -> None:
    async def holds() -> bool:
        state = (await client.session("OrphansAccount", session)).state
        return len(state.get("taken", [])) >= count

    await eventually(holds)


async def taken(cluster: Cluster, session: str = "s") -> list[int]:
    client = await cluster.client()
    found: list[int] = (await client.session("OrphansAccount", session)).state["taken"]
    return found


async def test_the_same_calls_in_another_order_are_found_again(cluster: Cluster) -> None:
    future = await resumed(cluster, "orphans_reorder", [1, 2, 3], [3, 1, 2])
    async with asyncio.timeout(15):
        assert await future == [6, 1, 3]
    assert await taken(cluster) == [1, 2, 3]


async def test_a_transfer_is_not_made_twice_because_an_argument_moved(cluster: Cluster) -> None:
    future = await resumed(cluster, "orphans_transfer", [10], [11])
    async with asyncio.timeout(15):
        with pytest.raises(NonDeterminismError, match=r"OrphansAccount\.take.*instead"):
            await future
    assert await taken(cluster) == [10]


async def test_a_new_call_beside_the_repeated_ones_is_made(cluster: Cluster) -> None:
    future = await resumed(cluster, "orphans_transfer", [1, 2], [1, 2, 5])
    async with asyncio.timeout(15):
        assert await future == 8
    assert await taken(cluster) == [1, 2, 5]


async def test_a_new_call_ahead_of_a_repeated_one_waits_for_it(cluster: Cluster) -> None:
    future = await resumed(cluster, "orphans_reorder", [1], [5, 1])
    async with asyncio.timeout(15):
        assert await future == [6, 1]
    assert await taken(cluster) == [1, 5]


async def test_a_caller_that_ends_without_a_transfer_it_had_made_is_told(cluster: Cluster) -> None:
    future = await resumed(cluster, "orphans_transfer", [1, 2], [1])
    async with asyncio.timeout(15):
        with pytest.raises(NonDeterminismError, match=r"did not repeat.*OrphansAccount\.take"):
            await future
    assert await taken(cluster) == [1, 2]


async def test_a_method_may_waive_the_rule(cluster: Cluster) -> None:
    future = await resumed(cluster, "orphans_note", [1], [2])
    async with asyncio.timeout(15):
        assert await future == 1
    assert await taken(cluster) == [-1, -2]


async def test_what_only_reads_is_simply_called_again(cluster: Cluster) -> None:
    future = await resumed(cluster, "orphans_look", [1, 2], [3])
    async with asyncio.timeout(15):
        assert await future == 1
    assert READ == [1, 2, 3]
    client = await cluster.client()
    assert future.ref is not None
    entry = (await client.host.backend.ledger.read([future.ref]))[future.ref]
    assert decode_record(entry.ref, entry.body).orphans == 2


async def test_the_rule_holds_for_a_retried_caller_too(cluster: Cluster) -> None:
    AMOUNTS[:] = [7]
    await cluster.worker("OrphansAccount", "orphans_fails", orphan_patience_s=0.5)
    await cluster.client()
    async with asyncio.timeout(15):
        with pytest.raises(NonDeterminismError):
            await fails_once("s")
    assert await taken(cluster) == [7]
