"""Sleeping, signals and steps: what a workflow may rely on, whatever becomes of its worker."""

import asyncio
from collections.abc import Callable

import pytest

import nalar
from nalar.bus.codec import decode_record
from nalar.errors import ArgumentError, UnknownTarget, UsageError
from tests.clusters import Cluster, kill, until
from tests.contract.durables import (
    ALL,
    GATES,
    SEEN,
    begin_anew,
    depends,
    echo,
    either,
    giving_up,
    holding,
    limited,
    misusing,
    records,
    retried,
    sender,
    sleeper,
    stepping,
    stepping_sync,
    strict,
    two_signals,
    two_signals_sync,
    until_recorded,
)


@pytest.fixture(autouse=True)
def anew() -> None:
    begin_anew()


async def test_a_resumed_workflow_sleeps_for_the_rest(cluster: Cluster) -> None:
    doomed = await cluster.worker(*ALL)
    client = await cluster.client()
    future = sleeper(4)
    await until_recorded(client.host, "_until")
    await kill(doomed)
    await cluster.worker(*ALL)
    async with asyncio.timeout(15):
        assert await future == "rested"
    [until_at] = await records(client.host, "_until")
    [timer] = await records(client.host, "_timer")
    assert until_at.result is not None
    assert until_at.result.text is not None
    late_s = timer.finished - float(until_at.result.text)
    assert 0 <= late_s < 2, "it did not begin to sleep anew when it was resumed"
    assert SEEN["slept"] == 1


async def test_a_sleep_that_is_over_is_not_slept_again(cluster: Cluster) -> None:
    GATES["after the sleep"] = asyncio.Event()
    doomed = await cluster.worker(*ALL)
    client = await cluster.client()
    future = sleeper(0.05)
    await until(lambda: SEEN["at after the sleep"])
    await kill(doomed)
    GATES.clear()
    await cluster.worker(*ALL)
    async with asyncio.timeout(15):
        assert await future == "rested"
    assert len(await records(client.host, "_timer")) == 1


async def test_signals_are_kept_until_they_are_waited_for_and_taken_in_order(
    cluster: Cluster,
) -> None:
    client = await cluster.client()
    run = await client.submit(two_signals, "word")
    await client.signal(run, "word", "first")
    await client.signal(run, "other", "not asked for")
    await client.signal(run, "word", "second")
    await cluster.worker(*ALL)
    assert await (await client.future(run)) == ["first", "second"]


@pytest.mark.parametrize("workflow", [two_signals, two_signals_sync])
async def test_a_signal_ends_the_wait_for_it(
    cluster: Cluster, workflow: Callable[[str], nalar.Future[list[str]]]
) -> None:
    host = await cluster.worker(*ALL)
    await cluster.client()
    future = workflow("word")
    assert host.worker is not None
    await until(lambda: host.worker is not None and host.worker._state.counts()["waiting"])
    await future.signal("word", "first")
    await future.signal("word", "second")
    assert await future == ["first", "second"]


async def test_a_signal_that_was_taken_is_not_taken_again_after_a_crash(cluster: Cluster) -> None:
    GATES["between the signals"] = asyncio.Event()
    doomed = await cluster.worker(*ALL)
    client = await cluster.client()
    future = two_signals("word")
    await future.signal("word", "first")
    await until(lambda: SEEN["at between the signals"])
    await future.signal("word", "second")
    await kill(doomed)
    GATES.clear()
    await cluster.worker(*ALL)
    async with asyncio.timeout(15):
        assert await future == ["first", "second"]
    taken = await records(client.host, "_signal")
    assert len({one.dependencies for one in taken}) == 2
    [run] = await client.host.backend.ledger.find("call.*.durable_two_signals.*.*.*.*")
    assert decode_record(run.ref, run.body).orphans == 0


async def test_a_wait_that_took_too_long_stays_so(cluster: Cluster) -> None:
    GATES["after the limit"] = asyncio.Event()
    doomed = await cluster.worker(*ALL)
    await cluster.client()
    future = limited(0.1)
    await until(lambda: SEEN["at after the limit"])
    await future.signal("late", "too late")
    await kill(doomed)
    GATES.clear()
    await cluster.worker(*ALL)
    async with asyncio.timeout(15):
        assert await future == "no signal 'late' came within 0.1 s"


async def test_a_limit_of_nothing_takes_what_is_there(cluster: Cluster) -> None:
    await cluster.client()
    future = limited(0)
    await future.signal("late", "there")
    await cluster.worker(*ALL)
    assert await future == "there"


async def test_a_value_that_does_not_fit_is_said_and_the_next_one_counts(cluster: Cluster) -> None:
    await cluster.worker(*ALL)
    await cluster.client()
    future = strict("count")
    await future.signal("count", "many")
    await future.signal("count", 7)
    refused, taken = await future
    assert "signal 'count'" in refused
    assert "'many'" in refused
    assert taken == "7"


async def test_a_wait_that_is_given_up_takes_nothing(cluster: Cluster) -> None:
    await cluster.worker(*ALL)
    await cluster.client()
    future = giving_up("word")
    await until(lambda: SEEN["gave up"])
    await future.signal("word", "for the second")
    assert await future == "for the second"


async def test_whichever_comes_first_a_signal_or_a_timer(cluster: Cluster) -> None:
    await cluster.worker(*ALL)
    await cluster.client()
    assert await either(0.05) == "in time"
    future = either(60)
    await future.signal("go", "now")
    assert await future == "now"


async def test_a_signal_may_be_an_argument_before_it_has_come(cluster: Cluster) -> None:
    await cluster.worker(*ALL)
    await cluster.client()
    future = depends("word")
    await future.signal("word", {"a": [1]})
    assert await future == {"a": [1]}


async def test_a_record_that_is_no_signal_is_passed_over(cluster: Cluster) -> None:
    client = await cluster.client()
    future = two_signals("word")
    await future.signal("word", "first")
    [sent] = await client.host.backend.ledger.find("call.r._sent.word.*.*.*")
    odd = type(sent.ref).parse(str(sent.ref).rpartition(".")[0] + ".odd")
    await client.host.backend.ledger.commit(odd, b"\xff not a record", expected=0, ttl_s=60)
    await future.signal("word", "second")
    await cluster.worker(*ALL)
    assert await future == ["first", "second"]


async def test_steps_that_have_returned_are_not_taken_again(cluster: Cluster) -> None:
    GATES["after the steps"] = asyncio.Event()
    doomed = await cluster.worker(*ALL)
    await cluster.client()
    future = stepping(6)
    await until(lambda: SEEN["at after the steps"])
    await kill(doomed)
    GATES.clear()
    await cluster.worker(*ALL)
    async with asyncio.timeout(15):
        first, second, fetched, third = await future
    assert [first, second, third] == [106, 206, 306], "equal steps are told apart by their order"
    assert (SEEN["rolled"], SEEN["fetched page"]) == (3, 1)
    assert future.ref is not None
    assert fetched["page"] != future.ref.future, "a step has a key of its own"


async def test_steps_work_in_synchronous_code(cluster: Cluster) -> None:
    await cluster.worker(*ALL)
    await cluster.client()
    assert await stepping_sync(6) == [106, None, 1]


async def test_a_step_that_fails_is_not_kept_and_runs_again_with_its_call(cluster: Cluster) -> None:
    await cluster.worker(*ALL)
    client = await cluster.client()
    assert await retried(2) == [106, "try 3"]
    assert SEEN["rolled"] == 1, "what had returned was reused"
    assert len(await records(client.host, "_step")) == 2


@pytest.mark.parametrize(("how", "told"), [("call", "calls durable_echo"), ("sleep", "inside of")])
async def test_a_step_makes_no_calls_and_does_not_wait(
    cluster: Cluster, how: str, told: str
) -> None:
    await cluster.worker(*ALL)
    await cluster.client()
    with pytest.raises(nalar.AgentError, match=told):
        await misusing(how)
    assert SEEN["echo ran"] == 0


async def test_a_step_keeps_the_execution_slot_of_its_call(cluster: Cluster) -> None:
    GATES["in a step"] = asyncio.Event()
    await cluster.worker(*ALL, concurrency=1)
    await cluster.client()
    future = holding()
    await until(lambda: SEEN["at in a step"])
    other = echo("after it")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await other
    GATES["in a step"].set()
    await future
    assert await other == "after it"


async def test_a_call_sends_each_of_its_signals_once(cluster: Cluster) -> None:
    GATES["between sending"] = asyncio.Event()
    await cluster.worker("durable_two_signals")
    doomed = await cluster.worker("durable_sender")
    client = await cluster.client()
    future = sender("word")
    await until(lambda: SEEN["took one"])
    await kill(doomed)
    GATES.clear()
    await cluster.worker("durable_sender")
    async with asyncio.timeout(15):
        assert await future == ["one", "two"]
    assert len(await records(client.host, "_sent")) == 2


async def test_who_has_ended_or_is_unknown_takes_no_signal(cluster: Cluster) -> None:
    await cluster.worker(*ALL)
    client = await cluster.client()
    run = await client.submit(sleeper, 0)
    future = await client.future(run)
    await future
    with pytest.raises(UsageError, match=rf"run {run} has ended \(succeeded\)"):
        await client.signal(run, "word")
    with pytest.raises(UsageError, match="has ended"):
        await future.signal("word")
    with pytest.raises(UnknownTarget, match="no run 'nonsense'"):
        await client.signal("nonsense", "word")
    with pytest.raises(UsageError, match="no id of a call"):
        await client.signal(run, "word", call="a.b")


async def test_a_signal_with_a_key_is_one(cluster: Cluster) -> None:
    client = await cluster.client()
    run = await client.submit(two_signals, "word")
    for _ in range(3):
        await client.signal(run, "word", "first", key="decision 1")
    await client.signal(run, "word", "second", key="decision 2")
    await cluster.worker(*ALL)
    assert await (await client.future(run)) == ["first", "second"]


async def test_what_can_be_no_signal_is_refused_before_it_is_sent(cluster: Cluster) -> None:
    client = await cluster.client()
    run = await client.submit(two_signals, "word")
    with pytest.raises(ArgumentError, match="signal 'word' is no data"):
        await client.signal(run, "word", object())
    with pytest.raises(nalar.InvalidToken):
        await client.signal(run, "")
    assert not await records(client.host, "_sent")


async def test_any_text_may_name_a_signal_and_a_large_value_travels(cluster: Cluster) -> None:
    await cluster.worker(*ALL)
    await cluster.client()
    future = two_signals("Freigabe für Änderung 1.2 > *")
    large = "x" * 2_000_000
    await future.signal("Freigabe für Änderung 1.2 > *", large)
    await future.signal("Freigabe für Änderung 1.2 > *", "small")
    assert await future == [large, "small"]
