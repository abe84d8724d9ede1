"""Limits on what is used in a minute, on both brokers."""

import asyncio

import pytest

import nalar
from nalar.client.steering import Steering
from nalar.directives import Limit
from nalar.ids import encode_token
from tests.clusters import Cluster, until

#: When each call started, by the loop's clock.
STARTED: list[float] = []


@pytest.fixture(autouse=True)
def _anew() -> None:
    STARTED.clear()


@nalar.tool(name="limited_tool")
async def tool(number: int) -> int:
    STARTED.append(asyncio.get_running_loop().time())
    nalar.context().report_tokens("large/model:2", prompt=400, completion=100)
    return number


@pytest.mark.parametrize(
    "limit",
    [
        # Ten seconds' worth may be saved up: of 22 calls the last waits for a second.
        Limit("tenant", "acme", requests_per_min=120.0),
        Limit("model", encode_token("large/model:2"), tokens_per_min=60_000.0),
    ],
    ids=["requests of a tenant", "tokens of a model"],
)
async def test_a_minutes_calls_and_tokens_hold_back_and_time_lets_go_on(
    cluster: Cluster, limit: Limit
) -> None:
    host = await cluster.worker("limited_tool", concurrency=8)
    client = await cluster.client()
    steering = Steering(client.host.backend.control, client.host.clock)
    assert host.worker is not None
    watch = host.worker._directives
    revision = await steering.direct(limit, "a test")
    await until(lambda: watch.applied >= revision)
    await tool.options(tenant="other")(0)  # Now it is known what such a call uses.
    STARTED.clear()
    asked = [tool.options(tenant="acme")(number) for number in range(22)]
    assert await nalar.gather(*asked) == list(range(22))
    assert STARTED[-1] - STARTED[0] > 0.9
