"""The ledger test is worth what it notices: workers that break a rule on purpose."""

from pathlib import Path

import pytest

from tests.chaos.plan import WORKER_FREEZE, WORKER_KILL
from tests.chaos.run import Options, Run
from tests.chaos.servers import one_server

#: The rule, what its breach is called by, and which fault brings it out.
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
    """Entries take long, so that a fault meets some half-way."""
    options = Options(
        seed=1, transfers=30, faults=len(faults), kinds=faults, rate=60, workers=2, callers=1,
        lease_s=1.0, work_s=0.3, module="tests.chaos.sabotaged",
        environ={"CHAOS_SABOTAGE": rule}, patience_s=8.0,
    )  # fmt: skip
    async with one_server(tmp_path, sync_always=False) as server:
        outcome = await Run(options, server, tmp_path).go()
    print(outcome)  # noqa: T201
    assert kinds <= {one.kind for one in outcome.findings}
