"""How soon things go on: the bars that docs/reliability.md tells."""

import asyncio

import pytest

import nalar
from nalar.bus.embedded import EmbeddedServer
from nalar.settings import Settings
from tests.faults.bank import Bank

#: A server that was started again is back in use within this.
BACK_S = 10.0
#: What a dead worker ran runs again within its lease and this.
TAKEN_OVER_S = 5.0


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


@pytest.mark.chaos
async def test_calls_of_a_dead_worker_run_again_within_the_default_lease_and_five_seconds(
    server: EmbeddedServer, bank: Bank
) -> None:
    lease_s = Settings().lease_s
    assert lease_s <= 15
    bank.cluster.settings = Settings(url=server.url)
    victim = await bank.victim("before_commit:exit:2")
    asked = bank.deposit(10)
    await victim.fails("before_commit:exit:2")
    died_at = asyncio.get_running_loop().time()
    await bank.heir()
    assert await asked == [10]
    took_s = asyncio.get_running_loop().time() - died_at
    print(f"lease {lease_s:g} s: had ended {took_s:.1f} s after the death")  # noqa: T201
    assert took_s < lease_s + TAKEN_OVER_S
