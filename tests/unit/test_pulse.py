"""A worker's signs of life, at its end."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from nalar.backend import Backend
from nalar.controllers import pulse
from nalar.ids import WorkerId
from nalar.settings import Settings
from nalar.statestore.memory import MemoryBroker, open_memory


class Stuck:
    """A connection for signs of life that does not come to its end: its server answers no more."""

    def __init__(self, backend: Backend) -> None:
        self.control = backend.control

    def extend(self, lease: bytes) -> None: ...

    async def close(self) -> None:
        await asyncio.Event().wait()


async def test_a_connection_that_does_not_close_holds_no_worker_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pulse, "_GOODBYE_S", 0.05)
    settings = Settings()
    backend = open_memory(settings, MemoryBroker(settings))

    async def lifeline() -> Stuck:
        return Stuck(backend)

    worker = pulse.Pulse(
        cast(
            "Backend",
            cast(
                "Any",
                SimpleNamespace(
                    control=backend.control, lifeline=lifeline, describe=backend.describe
                ),
            ),
        ),
        settings,
        WorkerId("w1"),
        lambda: {"worker": "w1", "agents": []},
        lambda: (),
        lambda: None,
    )
    await worker.begin()
    async with asyncio.timeout(5):
        await worker.end()
    assert await backend.control.scan("worker") == []
