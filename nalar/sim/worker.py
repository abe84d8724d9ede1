"""A simulated worker: a real one's local controller and credits, and perhaps an LLM engine."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Final

from nalar.controllers.lanes import Ask, Credits
from nalar.controllers.local_events import Effect, Event
from nalar.controllers.local_state import LocalState
from nalar.controllers.meter import Meter
from nalar.controllers.ranking import Traits
from nalar.ids import AgentName, WorkerId
from nalar.reports import Report
from nalar.sim.invocation import Invocation
from nalar.sim.llm import LlmEngine
from nalar.sim.workload import AgentModel

#: What all calls are called: an agent has one method here.
METHOD: Final = "run"


@dataclass(frozen=True, slots=True)
class _Ended:
    """`controllers.meter.Spent` of a simulated call."""

    traits: Traits
    deadline: float
    arrived_s: float
    started_s: float
    ended_s: float
    busy_s: float
    failed: bool = False
    tokens: dict[str, int] | None = None


class SimWorker:
    """What one worker holds. Time and messages are its owner's business."""

    def __init__(self, name: str, agents: Iterable[AgentModel], *, metered: bool = False) -> None:
        self.name = name
        self.agents = {agent.name: agent for agent in agents}
        self.concurrency = max(agent.concurrency for agent in self.agents.values())
        self.state = LocalState(self.concurrency, metered=metered)
        prefetch = min(agent.prefetch for agent in self.agents.values())
        self.credits = Credits(self.concurrency, int(self.concurrency * prefetch))
        #: None where nobody looks at reports. Here it is known when a request has ended.
        self.meter = (
            Meter(WorkerId(name), self.concurrency, requests_kept_s=inf, requests_kept_max=inf)
            if metered
            else None
        )
        self.held: dict[str, Invocation] = {}
        models = [agent.llm for agent in self.agents.values() if agent.llm is not None]
        self.engine = LlmEngine(models[0]) if models else None
        self._gathers = any(agent.batch is not None for agent in self.agents.values())
        #: When a batch is due that starts without being full, as `take_due` has returned it.
        self.due_s: float | None = None
        #: Counts the times at which the engine's next event was asked for: only the last holds.
        self.alarm = 0
        self.slots: dict[str, set[int]] = {name: set() for name in self.agents}
        self.draining = False
        #: From when to when it has been there.
        self.since_s, self.until_s = 0.0, float("inf")
        #: Time for which its slots ran code, in all, in slot seconds.
        self.busy_s = 0.0

    def utilisation(self, until_s: float) -> tuple[float, float]:
        """Return for how long its engine was busy, and could have been; without one, its slots."""
        there_s = max(0.0, min(until_s, self.until_s) - self.since_s)
        if self.engine is not None:
            return self.engine.counts.busy_s, there_s
        return self.busy_s, there_s * self.concurrency

    @property
    def outstanding(self) -> int:
        """Calls that it has and that have not ended."""
        return len(self.held)

    def handle(self, event: Event, at_s: float) -> list[Effect]:
        """Tell the local controller; return what it wants done."""
        return self.state.handle(event, at_s)

    def measure(self, invocation: Invocation, now_s: float) -> None:
        """A call has ended here."""
        if self.meter is not None:
            ended = _Ended(
                invocation.traits,
                0.0 if invocation.request is None else invocation.request.deadline_s,
                invocation.arrived_s, invocation.started_s, now_s, invocation.busy_s,
            )  # fmt: skip
            self.meter.ended(ended, whole=False)

    def take_due(self) -> float | None:
        """Return when time is to pass for a batch; None for never, or if it was returned before."""
        due_s = self.state.due_s if self._gathers else None
        taken_s, self.due_s = self.due_s, due_s
        return None if due_s == taken_s else due_s

    def has_news(self, now_s: float) -> bool:
        """Say whether there is anything to tell since its last report."""
        meter = self.meter
        if meter is None:
            return False
        return self.state.has_moved or meter.changed or meter.is_due(now_s)

    def reports(self, now_s: float, *, full: bool) -> Iterator[Report]:
        """Return what has changed, or all there is, in as many reports as it takes."""
        meter = self.meter
        assert meter is not None, "only who has a meter reports"
        if full:
            for name, agent in self.agents.items():
                sizes = {} if agent.batch is None else {METHOD: agent.batch.size}
                meter.serve(AgentName(name), sizes)
        meter.count(self.state.moved(), now_s)
        slots = {AgentName(name): sorted(own) for name, own in self.slots.items() if own}
        yield meter.report(now_s, slots=slots, full=full)
        while meter.changed:
            yield meter.report(now_s, slots=slots)

    def asks(self) -> list[Ask]:
        """Return what it asks its lanes for now."""
        return [] if self.draining else self.credits.asks(self.state.load)
