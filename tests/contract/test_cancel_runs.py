"""Cancelling runs: down the tree, by id, after deaths; one record whatever the race."""

import asyncio

import pytest

import nalar
from nalar.bus.codec import decode_record
from nalar.calls.notices import notice_key
from nalar.errors import CallError, Cancelled, UnknownTarget
from nalar.ids import Ref
from tests.clusters import Cluster, kill, until
from tests.contract.cancellable import (
    ALL,
    SEEN,
    CancelLog,
    awaiting,
    begin_anew,
    idle,
    pending,
    quick,
    ref_of,
    soon,
    statuses,
    tree,
)
from tests.contract.worlds import eventually

#: How often a cancellation races with the commit it would prevent.
RACES = 200


@pytest.fixture(autouse=True)
def anew() -> None:
    begin_anew()


async def test_a_subtree_is_cancelled_three_levels_down_over_workers_and_the_rest_goes_on(
    cluster: Cluster,
) -> None:
    hosts = [await cluster.worker(*ALL, concurrency=40) for _ in range(2)]
    client = await cluster.client()
    await client.submit(pending, "bystander")
    whole = tree("it", 2, 3)
    await until(lambda: SEEN["began level 0"] == 9)
    [branch] = [
        held.invocation.ref
        for host in hosts
        if host.worker is not None
        for held in host.worker._held.values()
        if b'"it.1"' in (held.invocation.arguments.text or b"")
    ]
    await client.host.backend.control.put(
        notice_key(branch.future), b'{"at": 1, "until": 4e9}', ttl_s=60
    )
    with pytest.raises(Cancelled):
        await whole
    below: list[Ref] = []

    async def branches_are_gone() -> bool:
        pattern = f"call.*.*.*.{branch.root}.{branch.future}.*"
        below[:] = [entry.ref for entry in await client.host.backend.ledger.find(pattern)]
        return len(below) == 3

    await eventually(branches_are_gone)

    async def leaves_are_gone() -> bool:
        found = [await statuses(hosts[0], f"call.*.*.*.*.{ref.future}.*") for ref in below]
        return found == [["cancelled"]] * 3

    await eventually(leaves_are_gone)
    assert SEEN["cleaned bystander"] == 0
    assert whole.failure is not None


async def test_a_whole_run_is_cancelled_with_its_request(cluster: Cluster) -> None:
    hosts = [await cluster.worker(*ALL, concurrency=40) for _ in range(2)]
    await cluster.client()
    whole = tree("it", 2, 3)
    await until(lambda: SEEN["began level 0"] == 9)
    whole.cancel()
    with pytest.raises(Cancelled):
        await whole
    for host in hosts:
        await idle(host)
    ended = await statuses(hosts[0], f"call.*.*.*.{ref_of(whole).root}.*.*")
    assert ended == ["cancelled"] * (1 + 3 + 9 + 9)


async def test_a_run_is_cancelled_by_its_id_from_another_program(cluster: Cluster) -> None:
    host = await cluster.worker(*ALL)
    run = await (await cluster.client()).submit(awaiting, "it")
    await until(lambda: SEEN["began it/child"])
    other = await cluster.client()
    told = await other.cancel(run)
    assert (told.status, told.too_late) == ("cancelled", False)
    await idle(host)
    assert await statuses(host, f"call.*.*.*.{run}.*.*") == ["cancelled"] * 2
    told = await other.cancel(run)
    assert (told.status, told.too_late) == ("cancelled", True)
    with pytest.raises(UnknownTarget):
        await other.cancel("nonsense")


async def test_one_call_of_a_run_is_cancelled_by_its_id(cluster: Cluster) -> None:
    host = await cluster.worker(*ALL)
    client = await cluster.client()
    run = await client.submit(awaiting, "it")
    await until(lambda: SEEN["began it/child"])
    assert host.worker is not None
    [child] = [key for key in host.worker._held if key != run]
    told = await client.cancel(run, child)
    assert (told.call, told.status) == (child, "cancelled")
    with pytest.raises(Cancelled):
        await (await client.future(run))
    assert await statuses(host, f"call.*.*.*.{run}.*.{run}") == ["failed"]


async def test_a_request_that_was_cancelled_by_its_id_is_cancelled_for_who_repeats_it(
    cluster: Cluster,
) -> None:
    client = await cluster.client()
    named = quick.options(idempotency_key="k")
    run = await client.submit(named, "it")
    assert (await client.cancel(run)).done
    with pytest.raises(Cancelled):
        await named("it")


async def test_a_worker_killed_right_after_the_notice_leaves_the_end_to_another(
    cluster: Cluster,
) -> None:
    victim = await cluster.worker(*ALL)
    client = await cluster.client()
    future = awaiting("it")
    await until(lambda: SEEN["began it/child"])
    child = next(ref for ref in victim.worker._held if ref != ref_of(future).future)  # type: ignore[union-attr]
    await kill(victim)
    await client.host.backend.control.put(
        notice_key(ref_of(future).future), b'{"at": 1, "until": 4e9}', ttl_s=60
    )
    heir = await cluster.worker(*ALL)
    with pytest.raises(Cancelled):
        await future

    async def child_is_cancelled() -> bool:
        return await statuses(heir, f"call.*.*.*.*.*.{child}") == ["cancelled"]

    await eventually(child_is_cancelled)
    assert SEEN["began it/child"] == 1


@pytest.mark.timeout(60)
@pytest.mark.parametrize("stateful", [False, True])
async def test_a_cancellation_and_a_commit_at_the_same_time_leave_one_record(
    cluster: Cluster, stateful: bool
) -> None:
    host = await cluster.worker(*ALL, concurrency=8)
    client = await cluster.client()

    async def race(number: int) -> str:
        entry = f"e{number}"
        if stateful:
            future = CancelLog.options(session=f"s{number % 4}").add_soon(entry, number % 7)
        else:
            future = soon(entry, number % 7)
        onlooker = client.host.calls.attach(None, ref_of(future))
        # Before, during and after the commit, whether that takes some turns of the loop or longer.
        for turn in range(number % 40):
            await asyncio.sleep(0 if number % 2 else turn / 10_000)
        future.cancel()
        seen = [await outcome_of(future), await outcome_of(onlooker)]
        assert seen[0] == seen[1], f"{entry}: waiters see {seen}"
        return seen[0]

    ended: dict[str, str] = {}
    for start in range(0, RACES, 20):
        numbers = range(start, start + 20)
        outcomes = await asyncio.gather(*map(race, numbers))
        ended |= {f"e{number}": how for number, how in zip(numbers, outcomes, strict=True)}
    await idle(host)
    entries = await client.host.backend.ledger.find("call.*.*.*.*.*.*")
    records = [decode_record(entry.ref, entry.body) for entry in entries]
    assert len(records) == len({record.ref for record in records}) == RACES
    assert sorted(record.status for record in records) == sorted(
        "succeeded" if how.startswith("e") else how for how in ended.values()
    )
    if stateful:
        states = [await CancelLog.options(session=f"s{n}").all() for n in range(4)]
        kept = [entry for state in states for entry in state]
        assert sorted(kept) == sorted(entry for entry, how in ended.items() if how == entry)
    assert len(set(ended.values())) > RACES // 20, "results have won as well"
    assert "cancelled" in ended.values()


async def outcome_of(future: nalar.Future[str]) -> str:
    try:
        return await future
    except CallError as error:
        return error.code


async def test_calls_of_a_call_whose_worker_died_are_cancelled_with_it(cluster: Cluster) -> None:
    victim, client = await cluster.worker(*ALL), await cluster.client()
    whole = tree("it", 2, 1)
    await until(lambda: SEEN["began it.0.0"])
    assert victim.worker is not None
    refs = {held.invocation.ref for held in victim.worker._held.values()}
    [middle] = [ref for ref in refs if ref.parent == ref_of(whole).future]
    [leaf] = refs - {ref for ref in refs if ref.future in {other.parent for other in refs}}
    await kill(victim)
    await client.host.backend.control.put(
        notice_key(middle.future), b'{"at": 1, "until": 4e9}', ttl_s=60
    )
    heir = await cluster.worker(*ALL)

    async def leaf_is_cancelled() -> bool:
        return await statuses(heir, str(leaf)) == ["cancelled"]

    await eventually(leaf_is_cancelled)
