"""Too much at once, too late, or at the wrong time: nothing is lost by it, and nothing doubled."""

import asyncio
import contextlib
import time

import orjson
import pytest

import nalar
from nalar.bus import subjects
from nalar.bus.embedded import EmbeddedServer
from nalar.bus.link import Link
from nalar.ids import AgentName
from nalar.processes.host import Host
from nalar.settings import Settings
from nalar.statestore.jetstream import JetStreamBackend
from tests.clusters import publish_raw
from tests.contract.worlds import Collected, eventually, kill_and_restart
from tests.faults.bank import LEASE_S, Bank

MIB = 1024 * 1024


async def test_a_client_whose_loop_is_blocked_misses_no_result(bank: Bank) -> None:
    await bank.victim("")
    asked = [bank.desk.vet(bank.log, number) for number in range(500)]
    await asked[0]
    time.sleep(1.5)  # noqa: ASYNC251 -- what a user may do
    assert await nalar.gather(*asked) == list(range(500))


async def test_a_frozen_client_that_the_server_gives_up_reads_its_result_when_it_wakes(
    server: EmbeddedServer, bank: Bank
) -> None:
    caller = bank.caller("after_publish:stop:1", 10)
    await caller.fails("after_publish:stop:1")
    heard = subjects.done_subject(await caller.says(r"asked (\S+)"))
    log = server.options.store / "nalar-server" / "server.log"
    async with asyncio.timeout(20):
        while b"Slow Consumer" not in log.read_bytes():
            await publish_raw(server.url, heard, b"", b"x" * (MIB - 1024))
    await bank.heir()
    await bank.nothing_waits()
    caller.wake()
    await caller.says(r"result \[10\]")
    assert bank.runs() == (1, 1, 1)


@pytest.mark.parametrize("ahead_s", [3600.0, -3600.0])
async def test_a_worker_whose_clock_is_wrong_by_an_hour_commits_as_any_other(
    bank: Bank, ahead_s: float
) -> None:
    victim = await bank.victim("before_commit:exit:40", ahead_s=ahead_s)
    asked = [bank.deposit(1) for _ in range(30)]
    await victim.fails("before_commit:exit:40")
    await bank.heir()
    assert sorted(len(entries) for entries in await nalar.gather(*asked)) == list(range(1, 31))
    assert await bank.entries() == [1] * 30


async def test_what_lapses_with_a_frozen_worker_is_delivered_once_more_and_no_oftener(
    bank: Bank,
) -> None:
    """Nobody else is there: whatever it holds lapses several times before it wakes."""
    victim = await bank.victim("before_run:stop:100")
    asked = [bank.desk.vet(bank.log, number) for number in range(300)]
    await victim.fails("before_run:stop:100")
    await asyncio.sleep(3 * LEASE_S)
    victim.wake()
    assert await nalar.gather(*asked) == list(range(300))
    await bank.nothing_waits()
    _, runs, _ = bank.runs()
    assert 300 <= runs < 2 * 300


async def test_many_clients_are_back_soon_and_leave_nothing_behind(
    server: EmbeddedServer, bank: Bank
) -> None:
    await bank.heir()
    assert await bank.deposit(1) == [1]
    hosts = [await bank.cluster.host() for _ in range(30)]
    asked = [bank.desk.vet(bank.log, number) for number in range(30)]
    found = [host.calls.attach(None, future.ref) for host, future in zip(hosts, asked, strict=True)]
    assert await asyncio.gather(*found) == list(range(30))
    before = await consumers(bank)
    for _ in range(3):
        await kill_and_restart(server)
        await eventually(lambda: connected(hosts))
    assert await consumers(bank) == before
    assert await bank.deposit(2) == [1, 2]


async def test_links_that_lost_their_server_together_come_back_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nalar.bus.link.RECONNECT_S", 1.0)
    loop = asyncio.get_running_loop()
    came = Collected[float]()
    connections: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(loop.time())
        connections.append(writer)
        writer.write(b'INFO {"version":"2.15.1","jetstream":true,"max_payload":1024}\r\n')
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        port: int = listening.sockets[0].getsockname()[1]
        links = [Link(Settings(url=f"nats://127.0.0.1:{port}")) for _ in range(30)]
        await asyncio.gather(*(link.open() for link in links))
        lost_at = loop.time()
        for connection in connections[:]:
            connection.close()
        await came.reach(2 * len(links))
        for link in links:
            await link.close()
        for connection in connections:
            connection.transport.abort()
            with contextlib.suppress(OSError):
                await connection.wait_closed()
    waits = [at - lost_at for at in came[len(links) :]]
    assert min(waits) >= 0.5
    assert max(waits) - min(waits) > 0.25, "half of what is left to chance at least"


async def connected(hosts: list[Host]) -> bool:
    return all(host.backend.describe()["state"] == "connected" for host in hosts)


async def consumers(bank: Bank) -> dict[str, int]:
    """Return how many consumers each stream has."""
    backend = bank.client.host.backend
    assert isinstance(backend, JetStreamBackend)
    return {
        store.name: orjson.loads(await backend.link.api(subjects.api_stream("INFO", store.name)))[
            "state"
        ]["consumer_count"]
        for store in await backend.stores([AgentName(name) for name in bank.desk.names])
    }
