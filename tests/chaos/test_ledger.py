"""Money moves, processes die, and a checker that knows nothing of us finds nothing lost."""

from pathlib import Path

import pytest

from tests.chaos.plan import WEIGHTS
from tests.chaos.run import Options, Outcome, Run
from tests.chaos.servers import one_server, three_servers

#: Two controllers that move sessions; they begin one policy.
CONTROLLERS = [["nalar_cli", "controller", "-p", "head_of_line"]] * 2
#: What may happen where three servers are one.
ALL_KINDS = tuple(WEIGHTS)


def prove(outcome: Outcome, options: Options) -> None:
    """Nothing is wrong, and enough has gone wrong for that to mean something."""
    assert outcome.findings == []
    assert outcome.transfers["ended"] + outcome.transfers["cut"] == options.transfers
    assert outcome.transfers["cut"] < options.transfers / 10
    assert all(outcome.struck[kind] for kind in options.chosen())
    assert sum(outcome.struck.values()) == options.faults
    assert outcome.met["suspect"], "calls were delivered again"
    assert outcome.met["refused"] + outcome.met["found_done"], "calls had been done by others"
    assert outcome.met["archived"], "logs were cut"


async def test_three_hundred_transfers_survive_ten_faults(tmp_path: Path) -> None:
    options = Options(seed=7, transfers=300, faults=10, rate=60, keepers=2)
    async with one_server(tmp_path) as server:
        outcome = await Run(options, server, tmp_path).go()
    print(outcome)  # noqa: T201
    prove(outcome, options)


@pytest.mark.chaos
@pytest.mark.timeout(900)
async def test_ten_thousand_transfers_survive_a_hundred_faults(tmp_path: Path) -> None:
    options = Options(
        seed=1, transfers=9_999, faults=100, rate=60, work_s=0.02, lease_s=2.0,
        controllers=CONTROLLERS, keepers=2,
    )  # fmt: skip
    async with one_server(tmp_path) as server:
        outcome = await Run(options, server, tmp_path).go()
    print(f"T1, seed {options.seed}: {outcome}")  # noqa: T201
    prove(outcome, options)
    assert outcome.met["refused"], "zombies came too late"
    assert outcome.met["found_done"], "messages came again that were done"
    assert outcome.met["unknown"], "answers to commits were lost"


@pytest.mark.chaos
@pytest.mark.timeout(1200)
async def test_three_thousand_transfers_survive_the_loss_of_leaders(tmp_path: Path) -> None:
    options = Options(
        seed=2, transfers=3_000, faults=30, rate=30, work_s=0.02, lease_s=4.0,
        controllers=CONTROLLERS,
        keepers=2,
        kinds=ALL_KINDS,
    )  # fmt: skip
    async with three_servers(tmp_path) as servers:
        outcome = await Run(options, servers, tmp_path).go()
    print(f"T2, seed {options.seed}: {outcome}")  # noqa: T201
    prove(outcome, options)
    assert outcome.met["unknown"], "answers to commits were lost"
