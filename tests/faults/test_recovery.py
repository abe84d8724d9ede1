"""How soon things go on: the bars that docs/reliability.md tells."""

import asyncio
import os
import signal

import pytest

import nalar
from nalar.bus import subjects
from nalar.bus.embedded import EmbeddedServer
from nalar.controllers.roster import WORKERS
from nalar.diagnose import diagnose
from nalar.health import health_of
from nalar.ids import AgentName
from nalar.statestore.jetstream import JetStreamBackend
from tests.clusters import until
from tests.contract.worlds import eventually
from tests.faults.bank import LEASE_S, Bank
from tests.proxy import Cable

#: A server that was started again is back in use within this.
BACK_S = 10.0


@pytest.mark.parametrize("down_s", [0.0, 3.0])
async def test_a_restarted_server_is_back_in_use_within_ten_seconds(
    server: EmbeddedServer, bank: Bank, down_s: float
) -> None:
    clock = asyncio.get_running_loop().time
    await bank.victim("")  # A worker that nothing is wrong with.
    asked = [bank.deposit(1) for _ in range(20)]
    await asked[0]
    await server.kill()
    asked.append(bank.deposit(1))
    await asyncio.sleep(down_s)
    began = clock()
    await server.start()
    ready_s = clock() - began
    async with asyncio.timeout(BACK_S):
        await asked[-1]
        used_s = clock() - began
        await nalar.gather(*asked)
    print(  # noqa: T201 -- shown by -rP
        f"down for {down_s:.0f} s: ready after {ready_s:.1f} s, the call made meanwhile had ended "
        f"after {used_s:.1f} s, all {len(asked)} after {clock() - began:.1f} s"
    )
    assert used_s < BACK_S
    assert await bank.entries() == [1] * len(asked)


async def test_a_server_that_freezes_and_wakes_is_used_again_and_no_worker_is_blamed(
    server: EmbeddedServer, bank: Bank
) -> None:
    worker = await bank.victim("")
    assert await bank.deposit(1) == [1]
    os.kill(server.pid, signal.SIGSTOP)
    asked = bank.deposit(2)
    await asyncio.sleep(2 * LEASE_S)
    os.kill(server.pid, signal.SIGCONT)
    async with asyncio.timeout(BACK_S):
        assert await asked == [1, 2]
    assert await bank.entries() == [1, 2]
    for _ in range(2):  # Signs of life: it has looked back on the pause by then.
        seen = await sign_of_life(bank)
        await eventually(lambda seen=seen: newer(bank, seen))
    # It ran all the time: that it could not say so is another matter.
    assert "did not run" not in worker.said


async def test_a_worker_that_lost_the_server_is_ready_when_it_is_back_and_says_that_it_was_away(
    line: Cable, bank: Bank
) -> None:
    host = await bank.cluster.worker(*bank.desk.names, url=line.url, lease_s=3.0)
    assert host.worker is not None
    name = host.worker.name
    [before] = await health_of(bank.client, name)
    assert (before.state, before.reconnects) == ("ready", 0)
    line.cut()
    await until(lambda: host.backend.describe()["state"] == "reconnecting")
    line.mend()

    async def told() -> bool:
        [now] = await health_of(bank.client, name)
        return (now.state, now.reconnects) == ("ready", 1)

    await eventually(told)
    said = [finding.what for finding in await diagnose(bank.cluster.settings)]
    assert any(f"{name} is back: it lost the server 1x" in what for what in said)


async def test_a_queue_that_was_deleted_is_made_again(bank: Bank) -> None:
    await bank.heir()
    assert await bank.deposit(1) == [1]
    for name in bank.desk.names[:3]:
        await delete(bank, subjects.queue_stream(AgentName(name)))
    assert await bank.deposit(2) == [1, 2]


async def test_a_ledger_that_was_deleted_is_said_to_be_gone_by_who_cannot_commit(
    bank: Bank, caplog: pytest.LogCaptureFixture
) -> None:
    await bank.heir()
    assert await bank.deposit(1) == [1]
    await delete(bank, subjects.bucket_stream(subjects.LEDGER_BUCKET))
    asked = bank.deposit(2)
    await eventually(lambda: said(caplog, "is handed back: no clear answer"))
    assert "nobody answers" in caplog.text
    assert not asked.done()


async def delete(bank: Bank, stream: str) -> None:
    backend = bank.client.host.backend
    assert isinstance(backend, JetStreamBackend)
    await backend.link.api(subjects.api_stream("DELETE", stream))


async def said(caplog: pytest.LogCaptureFixture, text: str) -> bool:
    return text in caplog.text


async def sign_of_life(bank: Bank) -> int:
    """Return the revision of the newest one."""
    entries = await bank.client.host.backend.control.scan(WORKERS)
    return max((entry.revision for entry in entries), default=0)


async def newer(bank: Bank, seen: int) -> bool:
    return await sign_of_life(bank) > seen
