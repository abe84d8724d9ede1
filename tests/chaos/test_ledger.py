"""Money moves, processes die, and a checker that knows nothing of us finds nothing lost."""

from pathlib import Path

from tests.chaos.run import Options, Outcome, Run
from tests.chaos.servers import one_server


def prove(outcome: Outcome, options: Options) -> None:
    """Nothing is wrong, and enough has gone wrong for that to mean something."""
    assert outcome.findings == []
    assert outcome.transfers["ended"] + outcome.transfers["cut"] == options.transfers
    assert outcome.transfers["cut"] < options.transfers / 10
    assert all(outcome.struck[kind] for kind in options.chosen())
    assert sum(outcome.struck.values()) == options.faults
    assert outcome.met["suspect"], "calls were delivered again"
    assert outcome.met["refused"] + outcome.met["found_done"], "calls had been done by others"


async def test_three_hundred_transfers_survive_ten_faults(tmp_path: Path) -> None:
    options = Options(seed=7, transfers=300, faults=10, rate=60)
    async with one_server(tmp_path) as server:
        outcome = await Run(options, server, tmp_path).go()
    print(outcome)  # noqa: T201
    prove(outcome, options)
