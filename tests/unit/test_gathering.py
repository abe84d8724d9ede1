"""Calls that share a run in a simulation meet, and the worker's local controller decides when."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import pytest

from nalar.call_policy import Batch
from nalar.cluster.policy import Migrate, Suggestion
from nalar.cluster.view import ClusterView
from nalar.errors import UsageError
from nalar.ids import AgentName, SessionId, WorkerId
from nalar.sim.gathering import Gathered
from nalar.sim.invocation import Invocation
from nalar.sim.metrics import Figures
from nalar.sim.placing import Lanes
from nalar.sim.simulate import Strategy, simulate
from nalar.sim.strategies import chosen
from nalar.sim.workload import AgentModel, Arrival, Call, Pause, Program, Turn, Work
from nalar.sim.world import Costs

EMBED = AgentModel("Embed", 1, batch=Batch(size=8, linger_s=0.01))


class Crowd:
    """Users who ask an agent for a second of work, all at moments of their own."""

    name = "crowd"

    def __init__(self, agent: AgentModel, *users: tuple[float, str]) -> None:
        self._agent, self._users = agent, users

    def agents(self) -> list[AgentModel]:
        return [self._agent]

    def arrivals(self) -> Iterator[Arrival]:
        return (Arrival(at_s, self._ask(session)) for at_s, session in self._users)

    def _ask(self, session: str) -> Program:
        yield Turn(Call(self._agent.name, works(0.4, 0.6), session))


def works(*seconds: float) -> Program:
    yield from map(Work, seconds)


def run(crowd: Crowd, strategy: Strategy | None = None) -> Figures:
    return simulate(crowd, strategy or chosen(["lanes"])[0], costs=Costs(message_s=0.0))


def test_a_batch_begins_with_the_last_call_that_comes_and_takes_as_long_as_the_longest() -> None:
    calls = [Invocation(f"{n}", works(*seconds)) for n, seconds in enumerate([(1.0, 2.0), (2.5,)])]
    gathered = Gathered(calls)
    assert gathered.join() is None
    assert gathered.join() == 3.0


def test_code_that_waits_in_a_batch_is_refused_by_the_name_of_its_agent() -> None:
    def waits() -> Program:
        yield Pause(1.0)

    with pytest.raises(UsageError, match="Embed gathers calls, so that they do nothing but Work"):
        Gathered([Invocation("1", waits(), agent=EMBED)]).join()


@pytest.mark.parametrize("prefetch", [0.0, 1.0])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_workers_keep_up_by_full_batches_whatever_they_prefetch(
    concurrency: int, prefetch: float
) -> None:
    """They are asked for seven times what they could do call by call."""
    users = [(number / (7 * concurrency), "") for number in range(700)]
    agent = replace(EMBED, concurrency=concurrency, prefetch=prefetch)
    figures = run(Crowd(agent, *users))
    assert (figures.requests, figures.unfinished) == (700, 0)
    assert figures.p99_s < 4.0
    alone = run(Crowd(replace(agent, batch=None), *users))
    assert alone.p99_s > 50.0, "else this says nothing"


def test_calls_of_one_session_share_no_run() -> None:
    agent = replace(EMBED, stateful=True)
    apart = run(Crowd(agent, *((0.0, f"s{number}") for number in range(3))))
    assert apart.p99_s == pytest.approx(1.01)
    assert run(Crowd(agent, *((0.0, "s") for _ in range(3)))).p99_s == pytest.approx(3.03)


@dataclass(slots=True)
class Once:
    """Moves sessions once, when it is time."""

    name: ClassVar[str] = "once"
    at_s: float
    sessions: list[str] = field(default_factory=list[str])

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        due = self.sessions if view.now_s >= self.at_s else []
        for session in due:
            here = view.sessions[AgentName("Embed"), SessionId(session)].worker
            to = next(name for name in view.workers if name != here)
            yield Migrate(AgentName("Embed"), SessionId(session), WorkerId(to))
        self.sessions = [] if due else self.sessions


def test_a_call_that_was_given_back_runs_by_itself_as_live() -> None:
    """It may have been started before: live, a second delivery shares no run."""
    agent = replace(EMBED, workers=2, stateful=True, batch=Batch(size=8, linger_s=3.0))
    crowd = Crowd(agent, *((0.0, session) for session in ("one", "two", "ten")))
    assert run(crowd).p50_s == pytest.approx(4.0), "they linger"

    def moved(*sessions: str) -> Strategy:
        return Strategy("moved", "", lambda _: Lanes(), lambda _: [Once(1.0, list(sessions))])

    ended = run(crowd, moved("one", "two", "ten"))
    assert ended.p99_s < 3.9, "none of them lingers once more"


@dataclass(slots=True)
class Looks:
    """Suggests nothing, and remembers what it has seen."""

    name: ClassVar[str] = "looks"
    seen: list[tuple[int, int, float]] = field(default_factory=list[tuple[int, int, float]])

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        agent = AgentName("Embed")
        slots = sum(worker.running for worker in view.serving(agent))
        self.seen.append((view.load(agent).running, slots, view.demand(agent)))
        assert view.load(agent).methods["run"].batch == 8, "from the first report on"
        return ()


def test_policies_see_a_batch_as_the_one_slot_that_it_takes() -> None:
    looks = Looks()
    users = [(second + 0.1 + number / 1000, "") for second in range(20) for number in range(8)]
    run(Crowd(EMBED, *users), Strategy("looks", "", lambda _: Lanes(), lambda _: [looks]))
    assert max(looks.seen) == (8, 1, 1.0)
