"""Policies that say how many workers there are, and how much is let in. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from nalar.cluster.policies.ranges import Priority, Seconds, Share, Span, Times, Workers
from nalar.cluster.policy import Suggestion, Together, Withdraw
from nalar.cluster.view import ClusterView
from nalar.directives import Provision, Shed
from nalar.ids import AgentName

#: An agent has next to nothing to do when another has so many times its load.
_IDLE = 8


@dataclass(slots=True)
class Reassign:
    """Takes workers from the agent with the least load and gives them to that with the most.

    As many as make their loads equal, but a fifth of what the one has at a time: calls that were
    waited for move on to other agents, and a worker that changes serves nobody meanwhile. One that
    has next to nothing to do gives half.
    """

    name: ClassVar[str] = "reassign"
    #: Agents that take each other's place, with commas between; empty: all.
    agents: str = ""
    #: How many times the load of the one that gives the other's must be.
    ratio: Times = 2.0

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        """Return how many workers the two are to have; nothing while workers come and go."""
        named = [AgentName(name) for name in self.agents.split(",") if name] or view.agents()
        count = {agent: len(view.serving(agent)) for agent in named}
        if any(view.wanted(agent) != count[agent] for agent in named):
            return
        load = {agent: pressure(view, agent) for agent in named}
        gives = min((it for it in named if count[it] > 1), key=load.__getitem__, default=None)
        takes = max(named, key=load.__getitem__, default=None)
        if gives is None or takes is None or load[takes] <= max(1.0, self.ratio * load[gives]):
            return
        moved = surplus(view, gives, takes)
        less, more = Provision(gives, count[gives] - moved), Provision(takes, count[takes] + moved)
        yield Together((less, more))


@dataclass(slots=True)
class Autoscale:
    """Keeps as many workers of each agent as its calls need; fewer only after a quiet while."""

    name: ClassVar[str] = "autoscale"
    #: Share of the execution slots that are to be busy.
    target: Share = 0.8
    #: So long fewer must be enough before there are fewer, in seconds.
    quiet_s: Seconds = 30.0
    workers_min: Workers = 1
    _needed_s: dict[AgentName, float] = field(default_factory=dict[AgentName, float])

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        """Return how many workers each agent is to have; also one that has calls and no worker."""
        for agent in sorted({*view.agents(), *(it for it, calls in view.backlog.items() if calls)}):
            each = max(1.0, view.slots(agent) / max(1, len(view.serving(agent))))
            needs = math.ceil(view.demand(agent) / (each * self.target))
            needs, has = max(self.workers_min, needs), view.wanted(agent)
            if needs >= has:
                self._needed_s[agent] = view.now_s
            if needs > has or view.now_s - self._needed_s.setdefault(agent, view.now_s) > (
                self.quiet_s
            ):
                yield Provision(agent, needs)


@dataclass(slots=True)
class Admission:
    """Refuses new requests of low priority while a call would wait too long, and says for how long.

    Lets them in again when it would wait half as long.
    """

    name: ClassVar[str] = "admission"
    wait_max_s: Span = 30.0
    #: Requests of this priority and above are let in.
    below: Priority = 1

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        """Return which agents to shed requests for, and which no longer."""
        for agent in view.agents():
            shed = Shed(agent, self.below, self.wait_max_s)
            if view.ahead_s(agent) > self.wait_max_s:
                yield shed
            elif view.ahead_s(agent) < self.wait_max_s / 2:
                yield Withdraw(shed)


def surplus(view: ClusterView, gives: AgentName, takes: AgentName) -> int:
    """Return how many workers one agent is to give to the other: at least one."""
    count, demand = len(view.serving(gives)), view.demand(gives)
    both = count + len(view.serving(takes))
    fair = demand / (demand + view.demand(takes)) * both
    is_idle = _IDLE * pressure(view, gives) < pressure(view, takes)
    return max(1, min(int(count - fair), count // (2 if is_idle else 5)))


def pressure(view: ClusterView, agent: AgentName) -> float:
    """Return what an agent's calls take of its execution slots: above 1, more than there are."""
    return view.demand(agent) / max(1, view.slots(agent))
