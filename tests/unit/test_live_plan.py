"""A live run as all its processes understand it, and the simulator."""

import pytest

from benchmarks.paper.live_plan import Plan
from nalar.sim.strategies import STRATEGIES


def test_a_plan_survives_the_way_to_a_child() -> None:
    plan = Plan("router", "las", 5.0, 10, 7.5, 3)
    assert Plan.of(plan.words) == plan


def test_the_controller_runs_the_policies_of_the_strategy_at_the_speed_of_the_run() -> None:
    plan = Plan("router", "nalar", 5.0, 10, 5.0, 1)
    affinity, reassign = plan.policies
    assert affinity.startswith("prefix_affinity,rebuild_s=0.4,")
    assert reassign.startswith("reassign,agents=Chat,Code,")
    assert not Plan("router", "las", 5.0, 10, 5.0, 1).policies


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_orders_and_places_calls_live_as_in_the_simulator(name: str) -> None:
    plan, simulated = Plan("financial", name, 0.3, 20, 20.0, 1), STRATEGIES[name]
    assert (plan.placement is None) == (name == "nalar")
    assert plan.ranks == (simulated.rank is not None)
    assert plan.priorities == (name == "nalar")
    assert plan.predict().requests == 20


def test_service_counts_for_as_much_as_at_full_length() -> None:
    fast, slow = (Plan("financial", "las", 0.3, 20, scale, 1) for scale in (20.0, 1.0))
    assert fast.level(0.5) == slow.level(10.0) == -3
