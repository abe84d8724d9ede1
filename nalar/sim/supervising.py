"""The supervisors of a simulation: as many workers of each agent as directives ask for.

Agents of one group share their nodes: a worker of one starts where one of another has left.
"""

from itertools import count

from nalar.sim.steering import drain, share_slots, tell, wake
from nalar.sim.worker import SimWorker
from nalar.sim.workload import AgentModel
from nalar.sim.world import World


class Supervising:
    """Starts workers and drains them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._numbers = {agent: count(1) for agent in world.fabric.agents}
        self._wanted = {agent.name: agent.workers for agent in world.fabric.agents.values()}
        self._starting = dict.fromkeys(self._wanted, 0)
        self._draining = dict.fromkeys(self._wanted, 0)
        #: How many of the workers that have left were taken into account.
        self._seen = 0
        #: Nodes of each group on which nothing runs.
        self._free: dict[str, int] = {}
        #: Workers that have come or gone by directive.
        self.changes = 0

    def begin(self) -> None:
        """Start what there is at the start, at once."""
        agents = self._world.fabric.agents.values()
        for agent in agents:
            for _ in range(agent.workers):
                self._join(agent)
        for agent in agents:
            if agent.stateful:
                share_slots(self._world, agent.name)

    def provision(self, agent: str, workers: int) -> None:
        """Keep so many workers of an agent alive, as far as there are nodes."""
        self._wanted[agent] = workers
        self.reconcile()

    def reconcile(self) -> None:
        """Look at what has left; drain what is too many, and start what is missing."""
        fabric = self._world.fabric
        for worker in fabric.left[self._seen :]:
            for name in worker.agents:
                self._draining[name] -= 1
                group = _group(fabric.agents[name])
                self._free[group] = self._free.get(group, 0) + 1
        self._seen = len(fabric.left)
        for name, wanted in sorted(self._wanted.items()):
            agent, serving = fabric.agents[name], fabric.serving[name]
            for _ in range(len(serving) - wanted):
                self._draining[name] += 1
                self.changes += 1
                drain(self._world, min(serving, key=lambda it: (len(it.held), it.name)))
            missing = wanted - len(serving) - self._starting[name]
            for _ in range(min(missing, self._free.get(_group(agent), 0))):
                self._free[_group(agent)] -= 1
                self._starting[name] += 1
                self._world.timeline.after(agent.start_s, self._started, agent)

    def _started(self, agent: AgentModel) -> None:
        self._starting[agent.name] -= 1
        self.changes += 1
        worker = self._join(agent)
        if agent.stateful:
            share_slots(self._world, agent.name)
        wake(self._world, worker)

    def _join(self, agent: AgentModel) -> SimWorker:
        name = f"{agent.name}-{next(self._numbers[agent.name])}"
        worker = SimWorker(
            name, [agent], window=self._world.costs.window, metered=self._world.metered
        )
        worker.since_s = self._world.timeline.now_s
        self._world.fabric.join(worker)
        tell(self._world, worker, self._world.standing.joining())
        wake(self._world, worker)
        return worker


def _group(agent: AgentModel) -> str:
    return agent.group or agent.name
