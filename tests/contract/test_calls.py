"""What a caller may rely on, whichever broker carries the calls."""

import asyncio
import dataclasses
import datetime as dt
import threading
from typing import Any

import pytest

import nalar
from nalar.errors import (
    AgentError,
    ArgumentError,
    DependencyFailed,
    FutureMisuse,
    InvalidResult,
    UnknownTarget,
    UsageError,
    ValueTooLarge,
)
from tests.clusters import Cluster, until
from tests.contract.served import (
    ALL,
    GATES,
    RUNS,
    Box,
    Colour,
    Shape,
    above,
    add,
    deep,
    deep_sync,
    diamond,
    double,
    echo,
    fail,
    failing,
    gated,
    keyed,
    leave,
    lie,
    plain,
    text,
    total,
)


async def test_a_call_returns_its_result_with_defaults_filled(cluster: Cluster) -> None:
    await cluster.worker("calls_add", "calls_double")
    await cluster.client()
    assert await add(1) == 2
    assert await add(1, b=5) == 6
    assert await double(4) == 8


async def test_typed_values_come_back_as_they_went(cluster: Cluster) -> None:
    await cluster.worker("calls_echo")
    await cluster.client()
    when = dt.datetime(2026, 11, 24, 12, 30, tzinfo=dt.UTC)
    box = Box(when, b"\x00\xff", {Colour.RED})
    shape = Shape(sides=4, boxes=[box])
    assert await echo(box, shape) == (box, shape)


async def test_futures_nested_in_arguments_are_dependencies(cluster: Cluster) -> None:
    await cluster.worker(*ALL)
    await cluster.client()
    assert await diamond(4) == (0 + 2 + 4 + 6) + 6
    nested: list[Any] = [double(1), 3]
    named: dict[str, Any] = {"x": add(double(2), 1)}
    assert await total(nested, named) == 2 + 3 + 5
    assert await total(nalar.gather(double(1), double(2)), {}) == 6


@pytest.mark.parametrize("workflow", [deep, deep_sync])
async def test_waiting_calls_give_up_their_slot_so_a_deep_chain_needs_one(
    cluster: Cluster, workflow: "nalar.Future[int]"
) -> None:
    await cluster.worker("calls_deep", "calls_deep_sync", concurrency=1)
    await cluster.client()
    async with asyncio.timeout(20):
        assert await workflow(20) == 20  # type: ignore[operator]


async def test_synchronous_workflows_wait_gather_and_iterate(cluster: Cluster) -> None:
    await cluster.worker(*ALL)
    await cluster.client()
    assert await plain() == [1, 2, 3]


async def test_an_agent_that_raises_gives_type_message_traceback_and_path(
    cluster: Cluster,
) -> None:
    await cluster.worker(*ALL)
    await cluster.client()
    with pytest.raises(AgentError) as caught:
        await failing()
    assert caught.value.type_name == "KeyError"
    assert "deep down" in str(caught.value)
    assert caught.value.path == "calls_failing > calls_fail"
    assert "raise KeyError(message)" in caught.value.remote_traceback
    assert "nalar/agents/executor" not in caught.value.remote_traceback


async def test_a_failed_dependency_fails_its_dependant_without_running_it(
    cluster: Cluster,
) -> None:
    await cluster.worker(*ALL)
    await cluster.client()
    with pytest.raises(
        DependencyFailed, match=r"calls_fail ended in failed: KeyError: 'boom'"
    ) as it:
        await add(fail("boom"))
    assert "raise KeyError(message)" in it.value.remote_traceback
    assert "raise KeyError(message)" in str(it.value)
    with pytest.raises(DependencyFailed, match="KeyError: 'boom'") as further:
        await add(add(fail("boom")))
    assert further.value.remote_traceback == it.value.remote_traceback


async def test_an_agent_that_exits_or_lies_about_its_result_leaves_the_worker_alive(
    cluster: Cluster,
) -> None:
    await cluster.worker(*ALL)
    await cluster.client()
    with pytest.raises(AgentError, match="SystemExit"):
        await leave()
    with pytest.raises(InvalidResult, match="calls_lie"):
        await lie()
    assert await add(1) == 2


async def test_wrong_arguments_fail_at_the_call(cluster: Cluster) -> None:
    await cluster.client()
    with pytest.raises(ArgumentError, match="'a'"):
        add("seven")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError):
        add()  # type: ignore[call-arg]
    with pytest.raises(ArgumentError):
        add(1, 2, 3)  # type: ignore[call-arg]


async def test_large_arguments_and_results_travel_by_reference(cluster: Cluster) -> None:
    await cluster.worker("calls_text")
    await cluster.client()
    value = "0123456789" * 3_000_000
    assert await text(value) == value


async def test_a_value_over_the_limit_is_refused_by_name_before_it_is_sent(
    cluster: Cluster,
) -> None:
    cluster.settings = dataclasses.replace(cluster.settings, value_max_bytes=1000)
    await cluster.worker("calls_text")
    await cluster.client()
    with pytest.raises(ValueTooLarge, match=r"value_max_bytes.*'value'"):
        text("x" * 1001)
    assert await text("x" * 900) == "x" * 900


async def test_an_unknown_method_is_a_typed_error_that_names_the_nearest(
    cluster: Cluster,
) -> None:
    await cluster.worker("CallsCounter")
    client = await cluster.client()
    with pytest.raises(UnknownTarget, match="push"):
        await client.call("CallsCounter.pusch", 1)
    with pytest.raises(UnknownTarget, match="CallsCounter"):
        await client.call("CallsCountr.push", 1)


async def test_a_call_by_name_needs_no_source(cluster: Cluster) -> None:
    await cluster.worker("calls_add", "CallsCounter")
    client = await cluster.client()
    assert await (await client.call("calls_add", 1, b=2)) == 3
    assert await (await client.call("CallsCounter.push", 1)) == 1


async def test_futures_on_an_event_loop_name_await(cluster: Cluster) -> None:
    await cluster.worker("calls_add")
    await cluster.client()
    future = add(1)
    with pytest.raises(FutureMisuse, match="await"):
        future.result()
    with pytest.raises(FutureMisuse, match="await"):
        len(future)
    with pytest.raises(FutureMisuse):
        bool(future)
    assert await future == 2


async def test_calls_may_be_made_from_any_thread(cluster: Cluster) -> None:
    await cluster.worker("calls_add")
    await cluster.client()
    results: list[int] = []

    def make_call(n: int) -> None:
        results.append(add(n).result(10))

    threads = [threading.Thread(target=make_call, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    await until(lambda: len(results) == 8)
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(1, 9))


async def test_submitted_runs_are_found_again_by_another_client(cluster: Cluster) -> None:
    await cluster.worker("calls_add")
    run = await (await cluster.client()).submit(add, 1, 2)
    other = await cluster.client()
    assert await (await other.future(run)) == 3
    with pytest.raises(UnknownTarget, match="no run"):
        await other.future("nonsense")


async def test_a_misuse_inside_an_agent_says_where_it_was_and_keeps_its_type(
    cluster: Cluster,
) -> None:
    await cluster.worker("calls_above", "calls_misusing", "calls_add")
    await cluster.client()
    with pytest.raises(
        ArgumentError, match=r"must be int.* \(in calls_above > calls_misusing\)$"
    ) as e:
        await above()
    assert e.value.path == "calls_above > calls_misusing"
    assert 'await add("one", 2)' in e.value.remote_traceback
    with pytest.raises(ArgumentError) as here:
        add("one")  # type: ignore[arg-type]
    assert here.value.path == ""


async def test_a_request_repeated_under_its_idempotency_key_runs_once(cluster: Cluster) -> None:
    RUNS.clear()
    GATES["keyed"] = asyncio.Event()
    await cluster.worker("calls_gated")
    await cluster.client()
    first = gated.options(idempotency_key="k")("keyed")
    await until(lambda: RUNS.get("keyed") == 1)
    await cluster.client()
    second = gated.options(idempotency_key="k")("keyed")
    GATES["keyed"].set()
    assert [await first, await second] == ["keyed", "keyed"]
    await cluster.client()
    assert await gated.options(idempotency_key="k")("keyed") == "keyed"
    with pytest.raises(UsageError, match="other arguments"):
        await gated.options(idempotency_key="k")("else")
    assert RUNS == {"keyed": 1}


async def test_an_idempotency_key_is_for_requests(cluster: Cluster) -> None:
    await cluster.worker("calls_keyed")
    await cluster.client()
    with pytest.raises(AgentError, match="idempotency_key is for requests"):
        await keyed()
