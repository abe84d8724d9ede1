"""A worker that fails at each point of a call's way: one result, and each effect once.

The workload is a workflow with a child that keeps no state and one that adds to an account.
"""

import asyncio
from pathlib import Path

from nalar.bus.embedded import EmbeddedServer
from tests.faults.bank import LEASE_S, Bank, all_cases

#: The bar: what a dead worker ran runs again within its lease and this.
TAKEN_OVER_S = 5.0

#: How often the workflow, the child and the account are run when the worker ends there.
ENDS = {
    "received@{deposit}:exit:1": (1, 1, 1),
    "received@{vet}:exit:1": (2, 1, 1),
    "received@{account}:exit:1": (2, 1, 1),
    "before_run@{deposit}:exit:1": (1, 1, 1),
    "before_run@{account}:exit:1": (2, 1, 1),
    "before_publish@{vet}:exit:1": (2, 1, 1),
    "before_publish@{account}:exit:1": (2, 1, 1),
    "after_publish@{vet}:exit:1": (2, 1, 1),
    "after_publish@{account}:exit:1": (2, 1, 1),
    "before_commit@{vet}:exit:1": (2, 2, 1),
    "before_commit@{account}:exit:1": (2, 1, 2),
    "before_commit@{deposit}:exit:1": (2, 1, 1),
    "after_commit@{vet}:exit:1": (2, 1, 1),
    "after_commit@{account}:exit:1": (2, 1, 1),
    "after_commit@{deposit}:exit:1": (1, 1, 1),
    "before_ack@{deposit}:exit:1": (1, 1, 1),
    "after_ack@{deposit}:exit:1": (1, 1, 1),
}
#: Losses that the worker gets over by itself: everything is run once.
LOSSES = [
    "before_publish@{account}:raise:1",
    "after_publish@{account}:drop:1",
    "received@{account}:drop:1",
    "before_commit@{account}:raise:1",
    "after_commit@{vet}:drop:1",
    "after_commit@{account}:drop:1",
    "after_commit@{deposit}:drop:1",
    "before_ack@{account}:drop:1",
    "before_snapshot:raise:1",
    "after_snapshot:drop:1",
    "before_run@{account}:delay=2.5:1",
]


async def check(bank: Bank, place: str, runs: tuple[int, int, int], *, heir: bool) -> float:
    """Make a deposit while a worker fails, and another one after that.

    Returns how long the first took from the fault on, in seconds.
    """
    fault = bank.desk.fault(place)
    victim = await bank.victim(fault)
    first = bank.deposit(10)
    await victim.fails(fault)
    failed_at = asyncio.get_running_loop().time()
    if heir:
        await bank.heir()
    assert await first == [10]
    took_s = asyncio.get_running_loop().time() - failed_at
    stored = await bank.records(first.ref)
    assert len(stored) == 3
    assert bank.runs() == runs

    assert await bank.deposit(5) == [10, 5]
    await bank.nothing_waits()
    assert await bank.entries() == [10, 5]
    assert first.ref is not None
    assert await bank.client.host.calls.attach(None, first.ref) == [10]
    assert await bank.records(first.ref) == stored, "a record is never replaced"
    assert bank.runs() == tuple(count + 1 for count in runs), "what was done is not done again"
    return took_s


async def test_a_worker_that_ends_at_a_point_leaves_one_result_and_each_effect_once(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    async def case(bank: Bank, place: str) -> None:
        took_s = await check(bank, place, ENDS[place], heir=True)
        print(f"{place}: {took_s:.1f} s")  # noqa: T201 -- shown by -rP
        assert took_s < LEASE_S + TAKEN_OVER_S

    assert await all_cases(server.url, tmp_path, ENDS, case) == {}


async def test_what_is_lost_on_its_way_is_made_up_for_and_nothing_runs_twice(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    async def case(bank: Bank, place: str) -> None:
        await check(bank, place, (1, 1, 1), heir=False)

    assert await all_cases(server.url, tmp_path, LOSSES, case) == {}


async def test_a_worker_that_ends_while_it_writes_a_snapshot_leaves_the_session_as_it_was(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    async def case(bank: Bank, fault: str) -> None:
        victim = await bank.victim(fault)
        account = bank.desk.account.options(session=bank.account)
        assert await account.add(bank.log, 10) == [10]
        await victim.fails(fault)
        await bank.heir()
        assert await account.add(bank.log, 5) == [10, 5]
        assert bank.runs() == (0, 0, 2)

    faults = ("before_snapshot:exit:1", "after_snapshot:exit:1")
    assert await all_cases(server.url, tmp_path, faults, case) == {}
