"""What directives do in a simulated cluster."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from nalar.cluster.policy import Suggestion, Withdraw
from nalar.cluster.view import ClusterView
from nalar.directives import Limit, Order, Pause, SetPriority, SetWeights, Shed
from nalar.ids import AgentName
from nalar.sim.metrics import Figures
from nalar.sim.placing import Lanes
from nalar.sim.simulate import Strategy, simulate
from nalar.sim.workload import AgentModel, Arrival, Call, Program, Turn, Work

AGENT = AgentName("Worker")


@dataclass(slots=True)
class Script:
    """Suggests what it is told to, at the times it is told."""

    name: ClassVar[str] = "script"
    lines: list[tuple[float, Suggestion]] = field(default_factory=list[tuple[float, Suggestion]])

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        due = [line for line in self.lines if line[0] <= view.now_s]
        self.lines = self.lines[len(due) :]
        return [suggestion for _, suggestion in due]


class Crowd:
    """One worker, and users who ask for the same at moments of their own."""

    name = "crowd"

    def __init__(
        self, *turns: tuple[float, str, float], concurrency: int = 1, stateful: bool = False
    ) -> None:
        self._turns, self._concurrency, self._stateful = turns, concurrency, stateful

    def agents(self) -> list[AgentModel]:
        # The worker holds all that wait: directives are about what is held.
        return [AgentModel("Worker", 1, self._concurrency, self._stateful, prefetch=10.0)]

    def arrivals(self) -> Iterator[Arrival]:
        return (Arrival(at_s, _ask(tenant, within_s)) for at_s, tenant, within_s in self._turns)


def _ask(tenant: str, within_s: float) -> Program:
    yield Turn(Call("Worker", _work()), tenant=tenant, deadline_s=within_s)


def _work() -> Program:
    yield Work(10.0)


def run(crowd: Crowd, *lines: tuple[float, Suggestion]) -> Figures:
    """Run with nobody steering but the script."""
    strategy = Strategy("script", "", lambda _: Lanes(), lambda _: [Script(list(lines))])
    return simulate(crowd, strategy)


#: The first runs for ten seconds; the others queue behind it.
QUEUE = ((0.0, "x", 100.0), (1.0, "x", 90.0), (2.0, "y", 20.0))


def test_a_priority_takes_a_tenants_call_ahead() -> None:
    plain = run(Crowd(*QUEUE))
    ahead = run(Crowd(*QUEUE), (0.0, SetPriority("tenant", "y", 5)))
    assert plain.in_time == pytest.approx(2 / 3), "the third waits for both before it"
    assert ahead.in_time == 1.0


def test_a_priority_set_for_a_request_holds_where_its_calls_are_and_where_they_come() -> None:
    ahead = run(Crowd(*QUEUE), (3.5, SetPriority("request", "r3", 5)))
    assert ahead.in_time == 1.0


def test_by_deadline_the_most_urgent_goes_first_and_the_late_is_done_all_the_same() -> None:
    urgent = run(Crowd(*QUEUE), (0.0, Order(AGENT, "deadline")))
    assert (urgent.in_time, urgent.unfinished) == (1.0, 0)
    back = run(
        Crowd(*QUEUE),
        (0.0, Order(AGENT, "deadline")),
        (3.0, Withdraw(Order(AGENT, "deadline"))),
    )
    assert back.in_time == pytest.approx(2 / 3), "withdrawn before it mattered"


def test_a_limit_holds_calls_back_that_a_slot_is_free_for() -> None:
    crowd = Crowd(*QUEUE, concurrency=3)
    assert run(crowd).p99_s == pytest.approx(10.0, abs=0.1)
    assert run(crowd, (0.0, Limit("agent", AGENT, 1))).p99_s == pytest.approx(28.0, abs=0.1)


def test_a_paused_agent_starts_nothing_until_the_pause_is_withdrawn() -> None:
    paused = run(Crowd((5.0, "x", 100.0)), (0.0, Pause(AGENT)), (20.0, Withdraw(Pause(AGENT))))
    assert paused.p50_s == pytest.approx(25.0, abs=0.6)


def test_who_is_refused_is_counted_and_keeps_nobody_waiting() -> None:
    shed = run(Crowd(*QUEUE), (0.0, Shed(AGENT, below=1, retry_after_s=1.0)))
    assert (shed.requests, shed.shed) == (1, 2)
    assert shed.p99_s == pytest.approx(10.0, abs=0.1)


def test_a_rate_lets_calls_start_as_time_passes() -> None:
    crowd = Crowd(*((1.0, "x", 40.0) for _ in range(4)), concurrency=8)
    assert run(crowd).in_time == 1.0, "else this says nothing"
    slow = run(crowd, (0.0, Limit("tenant", "x", None, 1.0)))
    assert slow.in_time == 0.25, "one is saved up, the next comes after a minute"
    assert slow.unfinished == 0


@pytest.mark.parametrize("stateful", [False, True])
def test_a_worker_of_weight_0_takes_nothing_until_that_is_withdrawn(stateful: bool) -> None:
    weights = SetWeights(AGENT, {"Worker-1": 0})
    crowd = Crowd((5.0, "x", 100.0), stateful=stateful)
    assert run(crowd).p50_s == pytest.approx(10.0, abs=0.1)
    idle = run(crowd, (0.0, weights), (20.0, Withdraw(weights)))
    assert idle.p50_s == pytest.approx(25.0, abs=0.6)
