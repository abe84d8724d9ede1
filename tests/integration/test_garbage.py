"""What calls leave behind where they are made and served: nothing that has to be looked for."""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nalar
from nalar.settings import Settings
from tests.clusters import jetstream_cluster
from tests.contract.served import CallsCounter, add, diamond, double, plain, rest


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda: add(1, 2), id="tool"),
        pytest.param(lambda: double(2), id="tool in a thread"),
        pytest.param(lambda: CallsCounter.options(session="s").push(1), id="stateful"),
        pytest.param(lambda: rest(0.001), id="timers"),
        pytest.param(lambda: diamond(1), id="children"),
        pytest.param(plain, id="children of a thread"),
    ],
)
async def test_a_call_leaves_nothing_that_has_to_be_looked_for_as_garbage(
    tmp_path: Path, call: Callable[[], nalar.Future[Any]]
) -> None:
    """What the collector has to find stands still for, with every call that runs."""
    settings = Settings(concurrency=4)
    async with jetstream_cluster(settings, tmp_path) as cluster:
        await cluster.worker(
            "CallsCounter", "calls_add", "calls_diamond", "calls_double", "calls_plain",
            "calls_rest", "calls_total",
        )  # fmt: skip
        await cluster.client()
        for _ in range(3):
            await call()
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                await call()
            assert gc.collect() < 20
        finally:
            gc.enable()
