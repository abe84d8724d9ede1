"""The ledger test is worth what it notices: workers that break a rule on purpose."""

from pathlib import Path

import pytest

from tests.chaos.plan import WORKER_FREEZE, WORKER_KILL
from tests.chaos.run import Options, Run
from tests.chaos.servers import one_server

#: Seeds that are tried until one notices.
TRIES = 3
#: The rule, one of the names that its breach must be called by, and which fault brings it out.
BROKEN = [
    pytest.param("without_a_fence", {"fence"}, (), marks=pytest.mark.chaos),
    pytest.param("with_a_second_spelling", {"fence"}, ()),
    pytest.param("at_the_revision_of_the_moment", {"chain", "overwritten"}, (WORKER_FREEZE,)),
    pytest.param("acknowledging_first", {"lost"}, (WORKER_KILL,), marks=pytest.mark.chaos),
    pytest.param("forgetting_what_is_done", {"chain", "overwritten"}, (WORKER_KILL,)),
]


@pytest.mark.parametrize(("rule", "kinds", "faults"), BROKEN)
async def test_a_broken_rule_is_noticed(
    rule: str, kinds: set[str], faults: tuple[str, ...], tmp_path: Path
) -> None:
    """Entries take long, so that a fault meets some half-way; if it met none, another seed."""
    for seed in range(1, TRIES + 1):
        folder = tmp_path / str(seed)
        folder.mkdir()
        options = Options(
            seed=seed, transfers=30, faults=len(faults), kinds=faults, rate=60, workers=2,
            callers=1, lease_s=1.0, work_s=0.3, module="tests.chaos.sabotaged",
            environ={"CHAOS_SABOTAGE": rule}, patience_s=8.0,
        )  # fmt: skip
        async with one_server(folder, sync_always=False) as server:
            outcome = await Run(options, server, folder).go()
        print(outcome)  # noqa: T201
        if kinds & {one.kind for one in outcome.findings}:
            return
    pytest.fail(f"{TRIES} seeds did not notice")
