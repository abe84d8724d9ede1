"""How peers place calls live: callers send each to one worker, by what they know. Pure.

The simulator's own placements decide. There they see the whole cluster; here they see what this
process has sent where and has not heard the end of. In these workloads one process makes all
calls to engines, so that it knows of all of them, and is late by one message.
"""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from itertools import count

from nalar.sim.fabric import Fabric
from nalar.sim.invocation import Invocation
from nalar.sim.placing import Placement
from nalar.sim.worker import SimWorker
from nalar.sim.workload import AgentModel, Program


class Sent:
    """The calls that this process has under way, by worker, and the service of each request."""

    def __init__(self, models: Iterable[AgentModel], placement: Placement) -> None:
        self._placement = placement
        self._fabric = Fabric.of(models)
        self._numbers = count(1)
        self._attained_s: dict[str, float] = {}
        for model in self._fabric.agents.values():
            of = [it for it in self._fabric.agents.values() if it.host == model.name]
            for name in workers_of(model):
                self._fabric.join(SimWorker(name, of))

    @contextmanager
    def to(self, agent: str, session: str) -> Generator[str]:
        """Choose a worker for a call, and give its name; the call is under way in this block."""
        made = Invocation(
            str(next(self._numbers)), _nothing(), agent=self._fabric.agents[agent], session=session
        )
        worker = self._placement.place(made, self._fabric)
        assert worker is not None, "peers place calls when they are made"
        worker.held[made.key] = made
        try:
            yield worker.name
        finally:
            del worker.held[made.key]

    def attained_s(self, root: str) -> float:
        """Return the service that a request has had as far as it is known here, in seconds."""
        return self._attained_s.get(root, 0.0)

    def served(self, root: str, seconds: float) -> None:
        """A request has had so much more service."""
        self._attained_s[root] = self.attained_s(root) + seconds


def workers_of(model: AgentModel) -> list[str]:
    """Return the names of an agent's workers where callers choose among them."""
    return [f"{model.name}-{number}" for number in range(1, model.workers + 1)]


def _nothing() -> Program:
    yield from ()
