"""Workers that freeze at an exact point, are taken for dead, and wake up again."""

from pathlib import Path

from nalar.bus.embedded import EmbeddedServer
from tests.faults.bank import Bank, all_cases

#: How often the workflow, the child and the account are run when the worker freezes there and
#: wakes when all is done.
FREEZES = {
    "received:stop:3": (2, 1, 1),
    "before_run:stop:3": (2, 1, 2),
    "before_publish:stop:2": (2, 1, 1),
    "before_commit:stop:1": (2, 2, 1),
    "before_commit:stop:2": (2, 1, 2),
    "before_commit:stop:3": (2, 1, 1),
    "after_commit:stop:2": (2, 1, 1),
    "before_ack:stop:3": (1, 1, 1),
}


async def test_a_worker_frozen_at_a_point_changes_nothing_when_it_wakes(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    async def case(bank: Bank, fault: str) -> None:
        zombie = await bank.victim(fault)
        first = bank.deposit(10)
        await zombie.fails(fault)
        await bank.heir()
        assert await first == [10]
        await bank.nothing_waits()
        stored = await bank.records(first.ref)
        zombie.wake()
        await zombie.says("others took this worker for dead")
        assert await bank.deposit(5) == [10, 5]
        await bank.nothing_waits()
        assert await bank.entries() == [10, 5]
        assert await bank.records(first.ref) == stored, "a record is never replaced"
        assert bank.runs() == tuple(count + 1 for count in FREEZES[fault])

    assert await all_cases(server.url, tmp_path, FREEZES, case) == {}
