"""The bar for dead workers as users meet it: nobody has set a lease.

In a file of its own, so that what it waits for is waited for beside other tests.
"""

import asyncio

from nalar.bus.embedded import EmbeddedServer
from nalar.settings import Settings
from tests.faults.bank import Bank

#: What a dead worker ran runs again within its lease and this.
TAKEN_OVER_S = 5.0


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
