"""Tenants that have accounts of their own on one server neither see nor change each other."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from nalar.bus import embedded
from nalar.bus.embedded import EmbeddedServer, ServerOptions, render_config
from nalar.client.client import Client
from nalar.context import CallOptions
from nalar.directives import Pause
from nalar.errors import Unavailable, UnknownTarget
from nalar.ids import AgentName
from nalar.settings import Settings
from nalar.statestore.jetstream import open_jetstream
from tests.clusters import Cluster, publish_raw
from tests.contract.served import CallsCounter

ACCOUNTS = """
accounts {
  acme: { jetstream: enabled, users: [{ user: acme, password: of-acme }] }
  other: { jetstream: enabled, users: [{ user: other, password: of-other }] }
}
"""
SESSION = CallOptions(session="s")


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[EmbeddedServer]:
    def with_accounts(options: ServerOptions, ports: Path) -> str:
        return render_config(options, ports) + ACCOUNTS

    monkeypatch.setattr(embedded, "render_config", with_accounts)
    async with EmbeddedServer(ServerOptions(tmp_path, sync_always=False)) as running:
        yield running


@asynccontextmanager
async def account(server: EmbeddedServer, name: str) -> AsyncGenerator[Client]:
    """Serve in the account `name`, and connect a client there."""
    settings = Settings(url=server.url, user=name, password=f"of-{name}", lease_s=2.0)
    async with AsyncExitStack() as stack:
        cluster = Cluster(open_jetstream, settings, stack, partial(publish_raw, server.url))
        await cluster.worker("CallsCounter")
        yield await cluster.client()


async def test_what_has_the_same_name_in_two_accounts_is_not_the_same(
    server: EmbeddedServer,
) -> None:
    async with account(server, "acme") as acme, account(server, "other") as other:
        run = await acme.submit(CallsCounter.push, 1, options=SESSION)
        assert await (await acme.future(run)) == 1
        assert await (await other.call(CallsCounter.look, options=SESSION)) == []
        assert await other.sessions() == []
        with pytest.raises(UnknownTarget, match="no run"):
            await other.future(run)
        await other.steering.direct(Pause(AgentName("CallsCounter")), "theirs")
        assert await (await acme.call(CallsCounter.push, 2, options=SESSION)) == 2
        (mine,), (theirs,) = await acme.workers(), await other.workers()
        assert mine["worker"] != theirs["worker"]
        assert await acme.steering.standing() == []


async def test_without_the_accounts_password_nobody_gets_in(server: EmbeddedServer) -> None:
    for user, password in (("", ""), ("acme", "of-other")):
        settings = Settings(url=server.url, connect_timeout_s=1.0, user=user, password=password)
        with pytest.raises(Unavailable, match=r"(?i)authorization"):
            await open_jetstream(settings)
