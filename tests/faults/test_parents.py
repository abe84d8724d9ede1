"""Workflows whose worker ends in the middle: what they have done is not done again."""

from pathlib import Path

from nalar.bus.embedded import EmbeddedServer
from tests.faults.bank import Bank, all_cases

#: The records that a patient workflow leaves, in this order: the step, that the timer runs, that it
#: went off, the signal taken, the account, the workflow. How often the workflow, the step and the
#: account are run when the worker ends there.
RECORDS = {
    "before_commit:exit:1": (2, 2, 1),
    "after_commit:exit:1": (2, 1, 1),
    "before_commit:exit:2": (2, 1, 1),
    "after_commit:exit:2": (2, 1, 1),
    "before_commit:exit:3": (2, 1, 1),
    "after_commit:exit:3": (2, 1, 1),
    "before_commit:exit:4": (2, 1, 1),
    "after_commit:exit:4": (2, 1, 1),
    "before_commit:exit:5": (2, 1, 2),
    "after_commit:exit:6": (1, 1, 1),
}
#: As many children, one after the other, and deaths of their parent.
CHILDREN = 5


async def test_steps_sleeps_and_signals_are_done_once_wherever_the_worker_ends(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    async def case(bank: Bank, fault: str) -> None:
        victim = await bank.victim(fault)
        waiting = bank.desk.patient(bank.log, bank.account)
        await waiting.signal("amount", 10)
        await waiting.signal("amount", 20)
        await victim.fails(fault)
        await bank.heir()
        assert await waiting == [9]
        assert bank.runs() == RECORDS[fault]
        await bank.nothing_waits()
        assert await bank.entries() == [9]

    assert await all_cases(server.url, tmp_path, RECORDS, case) == {}


async def test_a_parent_killed_at_every_one_of_its_calls_runs_each_child_once(bank: Bank) -> None:
    deposit, vet, account, patient, audit = bank.desk.names
    await bank.heir(vet)
    auditing = bank.desk.audit(bank.log, CHILDREN)
    for _ in range(CHILDREN):
        # It may be handed the call, and end, before it has said that it serves.
        victim = await bank.victim("after_publish:exit:1", audit, serving=False)
        await victim.fails("after_publish:exit:1")
    await bank.heir(deposit, account, patient, audit)
    assert await auditing == list(range(CHILDREN))
    assert bank.runs() == (CHILDREN + 1, CHILDREN, 0)
    assert len(await bank.records(auditing.ref)) == CHILDREN + 1
