"""Workers that freeze at an exact point, are taken for dead, and wake up again."""

import dataclasses
from pathlib import Path

from nalar.bus.embedded import EmbeddedServer
from tests.contract.worlds import eventually
from tests.faults.bank import Bank, all_cases

#: Where the worker freezes, and how often that has run the workflow, the child and the account
#: once it was taken for dead, another has done it all, and it has woken. At its first call of the
#: agent: that of a child which is delivered twice, on a slow machine, is no other place.
FREEZES = {
    "received@{account}:stop:1": (2, 1, 1),
    "before_run@{account}:stop:1": (2, 1, 2),
    "before_publish@{account}:stop:1": (2, 1, 1),
    "before_commit@{vet}:stop:1": (2, 2, 1),
    "before_commit@{account}:stop:1": (2, 1, 2),
    "before_commit@{deposit}:stop:1": (2, 1, 1),
    "after_commit@{account}:stop:1": (2, 1, 1),
    "before_ack@{deposit}:stop:1": (1, 1, 1),
}


async def test_a_worker_frozen_at_a_point_changes_nothing_when_it_wakes(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    async def case(bank: Bank, place: str) -> None:
        fault = bank.desk.fault(place)
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
        # What is asked of two who are alive may be run by both: code at least once, effects once.
        assert bank.runs(10) == FREEZES[place]

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
