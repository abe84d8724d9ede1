"""The simulated cluster: real local controllers on a virtual clock, and figures that follow."""

from collections.abc import Iterator

import pytest

from nalar.bus.subjects import slot_of
from nalar.errors import UsageError
from nalar.ids import SessionId
from nalar.sim.metrics import Figures
from nalar.sim.simulate import simulate
from nalar.sim.strategies import ABLATIONS, STRATEGIES, chosen
from nalar.sim.workload import AgentModel, Arrival, Call, Calls, Pause, Program, Size, Turn, Work
from nalar.sim.workloads import WORKLOADS, workload_of
from nalar.sim.world import Costs

FREE = Costs(message_s=0.0, transfer_s=0.0)


class Simple:
    """Programs that each test names."""

    name = "simple"

    def __init__(self, agents: list[AgentModel], drivers: list[Arrival]) -> None:
        self._agents, self._drivers = agents, drivers

    def agents(self) -> list[AgentModel]:
        return self._agents

    def arrivals(self) -> Iterator[Arrival]:
        return iter(self._drivers)


def works(seconds: float) -> Program:
    yield Work(seconds)


def asks(*calls: Call) -> Program:
    for call in calls:
        yield Turn(call)


def calls_at_once(*calls: Call) -> Program:
    yield Calls(calls)


def test_calls_wait_for_a_slot_and_a_waiting_caller_holds_none() -> None:
    agents = [AgentModel("Worker", workers=1, concurrency=1)]
    inner = [Call("Worker", works(1.0)) for _ in range(3)]
    workload = Simple(agents, [Arrival(0.0, asks(Call("Worker", calls_at_once(*inner))))])
    figures = simulate(workload, chosen(["lanes"])[0], costs=FREE)
    assert (figures.futures, figures.requests) == (4, 1)
    assert figures.p50_s == pytest.approx(3.0), "one after the other, in the slot of their caller"


def test_one_call_of_a_session_runs_at_a_time_whatever_is_free() -> None:
    agents = [AgentModel("Holder", workers=4, concurrency=4, stateful=True)]
    inner = [Call("Holder", works(1.0), "one") for _ in range(3)]
    branch = Call(None, calls_at_once(*inner))
    figures = simulate(
        Simple(agents, [Arrival(0.0, asks(branch))]), chosen(["lanes"])[0], costs=FREE
    )
    assert figures.p50_s == pytest.approx(3.0)


def test_what_users_think_between_turns_is_not_latency() -> None:
    def user() -> Program:
        yield Turn(Call("Worker", works(1.0)))
        yield Pause(100.0)
        yield Turn(Call("Worker", works(1.0)))

    figures = simulate(
        Simple([AgentModel("Worker", 1)], [Arrival(0.0, user())]), chosen(["lanes"])[0], costs=FREE
    )
    assert (figures.requests, figures.p99_s) == (2, pytest.approx(1.0))


def test_an_agent_that_is_none_is_named_with_a_suggestion() -> None:
    workload = Simple([AgentModel("Worker", 1)], [Arrival(0.0, asks(Call("Woker", works(1.0))))])
    with pytest.raises(UsageError, match="Did you mean 'Worker'"):
        simulate(workload, chosen(["lanes"])[0])


@pytest.mark.parametrize("name", [*STRATEGIES, *ABLATIONS])
def test_a_run_is_repeated_exactly_by_its_seed(name: str) -> None:
    def run(seed: int) -> object:
        workload = workload_of("financial", Size(rate=2.0, workers=16, seed=seed))
        return simulate(workload, chosen([name])[0], seed=seed, futures_max=700)

    assert run(1) == run(1)
    assert run(1) != run(2)


@pytest.mark.parametrize("name", list(WORKLOADS))
def test_a_workload_ends_with_all_its_requests_answered(name: str) -> None:
    workload = workload_of(name, Size(rate=2.0, workers=16))
    figures = simulate(workload, chosen(["nalar"])[0], futures_max=500)
    assert figures.futures >= 500
    assert figures.requests > 0
    assert figures.unfinished == 0


def test_workers_go_to_the_agent_that_is_asked_for() -> None:
    def run(strategy: str) -> Figures:
        workload = workload_of("router", Size(rate=10.0, workers=16))
        return simulate(workload, chosen([strategy])[0], futures_max=5_000)

    lent, kept = run("nalar"), run("no_reassignment")
    assert kept.growth > 1.2, "the half that nearly all ask for cannot keep up"
    assert lent.p99_s < kept.p99_s / 2


def test_sessions_that_wait_are_moved_to_who_is_free_and_gain_by_it() -> None:
    agents = [AgentModel("Holder", workers=2, concurrency=1, stateful=True)]
    names = [f"s{number}" for number in range(200)]
    crowd = [name for name in names if slot_of(SessionId(name), 16) == 0][:6]

    def run(strategy: str) -> Figures:
        drivers = [Arrival(0.0, asks(Call("Holder", works(5.0), name))) for name in crowd]
        return simulate(Simple(agents, drivers), chosen([strategy])[0])

    still, moved = run("lanes"), run("relief")
    assert still.p99_s == pytest.approx(30.0, abs=0.1), "all in one worker, one after the other"
    assert moved.migrations > 0
    assert moved.p99_s < 21.0
    assert moved.requests == still.requests == 6
