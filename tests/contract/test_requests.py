"""Requests by run id and by idempotency key, as programs and the command line make them."""

import asyncio

import pytest

from nalar.context import CallOptions
from nalar.errors import UsageError
from tests.clusters import Cluster, until
from tests.contract.served import GATES, RUNS, add, gated

KEY = CallOptions(idempotency_key="k")


async def test_a_key_that_stands_for_other_arguments_is_refused_when_the_run_has_ended(
    cluster: Cluster,
) -> None:
    await cluster.worker("calls_add")
    client = await cluster.client()
    run = await client.submit(add, 1, options=KEY)
    assert await (await client.future(run)) == 2
    other = await cluster.client()
    for target in (add, "calls_add"):
        with pytest.raises(UsageError, match="other arguments"):
            await other.submit(target, 5, options=KEY)
    assert await other.submit(add, 1, options=KEY) == run


async def test_a_key_that_stands_for_other_arguments_is_refused_while_the_run_goes_on(
    cluster: Cluster,
) -> None:
    RUNS.clear()
    GATES["one"] = asyncio.Event()
    await cluster.worker("calls_gated")
    client = await cluster.client()
    run = await client.submit(gated, "one", options=KEY)
    await until(lambda: RUNS.get("one") == 1)
    other = await cluster.client()
    with pytest.raises(UsageError, match="other arguments"):
        await other.submit(gated, "two", options=KEY)
    assert await other.submit("calls_gated", name="one", options=KEY) == run
    GATES["one"].set()
    assert await (await client.future(run)) == "one"
    assert RUNS == {"one": 1}


async def test_a_key_used_by_a_call_is_known_to_a_request_that_is_submitted(
    cluster: Cluster,
) -> None:
    await cluster.worker("calls_add")
    client = await cluster.client()
    assert await add.options(idempotency_key="k")(1) == 2
    with pytest.raises(UsageError, match="other arguments"):
        await client.submit(add, 5, options=KEY)


async def test_the_order_in_which_arguments_are_named_makes_no_other_request(
    cluster: Cluster,
) -> None:
    await cluster.worker("calls_add")
    client = await cluster.client()
    run = await client.submit("calls_add", a=1, b=2, options=KEY)
    assert await (await client.future(run)) == 3
    assert await client.submit(add, b=2, a=1, options=KEY) == run
