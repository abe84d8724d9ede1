"""A workload that is run live: small, fast, and the same for the simulator."""

import pytest

from benchmarks.paper.compressed import Compressed
from nalar.sim.simulate import simulate
from nalar.sim.strategies import STRATEGIES
from nalar.sim.workloads import WORKLOADS


@pytest.mark.parametrize("name", WORKLOADS)
def test_live_and_simulated_users_ask_the_same(name: str) -> None:
    drawn = Compressed(name, 0.5, 20, 10.0, seed=3)
    assert sum(len(user.requests) for user in drawn.users) == 20
    assert drawn.users == Compressed(name, 0.5, 20, 10.0, seed=3).users
    figures = simulate(drawn, STRATEGIES["pinned"])
    assert (figures.requests, figures.unfinished) == (20, 0)


@pytest.mark.parametrize("name", WORKLOADS)
def test_at_ten_times_the_speed_all_takes_a_tenth(name: str) -> None:
    slow, fast = (
        simulate(Compressed(name, 0.01, 10, scale, seed=3), STRATEGIES["pinned"]).mean_s * scale
        for scale in (1.0, 10.0)
    )
    # Messages alone take as long as before.
    assert slow < fast < 1.02 * slow


def test_nobody_asks_once_there_were_enough_requests() -> None:
    users = Compressed("financial", 0.5, 20, 10.0, seed=3).users
    assert max(time_s for user in users for time_s in user.times_s) <= users[-1].at_s
