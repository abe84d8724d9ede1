"""Programs that fail while they ask, and what becomes of what they asked for."""

import re

from tests.faults.bank import Bank

RESULT = re.escape("result [10]")


async def test_a_caller_that_ends_before_its_request_is_sent_has_asked_for_nothing(
    bank: Bank,
) -> None:
    await bank.heir()
    await bank.caller("before_publish:exit:1", 10).fails("before_publish:exit:1")
    assert await bank.deposit(5) == [5]
    assert bank.runs() == (1, 1, 1)
    await bank.caller("", 10).says(re.escape("result [5, 10]"))


async def test_a_request_outlives_its_caller_and_is_found_by_its_key(bank: Bank) -> None:
    caller = bank.caller("after_publish:exit:1", 10)
    await caller.fails("after_publish:exit:1")
    await bank.heir()
    await bank.nothing_waits()
    assert await bank.entries() == [10]
    await bank.caller("", 10).says(RESULT)
    assert bank.runs() == (1, 1, 1)


async def test_a_caller_that_is_told_nothing_asks_and_reads_for_itself(bank: Bank) -> None:
    await bank.heir()
    await bank.caller("after_publish:drop:1,heard:drop:*", 10).says(RESULT)
    assert await bank.entries() == [10]
    assert bank.runs() == (1, 1, 1)
