"""Workers that freeze at an exact point, are taken for dead, and wake up again."""

import dataclasses
from pathlib import Path

from nalar.bus.embedded import EmbeddedServer
from tests.contract.worlds import eventually
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


async def test_a_worker_that_slept_until_a_record_had_expired_writes_no_other(bank: Bank) -> None:
    """It would be taken: nothing stands there that refuses it."""
    bank.cluster.settings = dataclasses.replace(bank.cluster.settings, retention_s=1.0)
    zombie = await bank.victim("before_run:stop:1", bank.desk.names[1])
    asked = bank.desk.vet.options(deadline_s=2)(bank.log, 1)
    await zombie.fails("before_run:stop:1")
    await bank.heir(bank.desk.names[1])
    assert await asked == 1

    async def expired() -> bool:
        return not await bank.records(asked.ref)

    await eventually(expired)
    zombie.wake()
    await zombie.says(f"{bank.desk.names[1]}.run .*its record would have expired")
    assert await expired()
    assert await bank.client.dead_letters(bank.desk.names[1]) == []
