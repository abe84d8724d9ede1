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
        hosts = [agent for agent in world.fabric.agents.values() if not agent.beside]
        self._numbers = {agent.name: count(1) for agent in hosts}
        self._wanted = {agent.name: agent.workers for agent in hosts}
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
        for name, workers in self._wanted.items():
            for _ in range(workers):
                self._join(self._world.fabric.agents[name])
        for name in self._world.fabric.slots:
            share_slots(self._world, name)

    def provision(self, agent: str, workers: int) -> None:
        """Keep so many workers of an agent alive, as far as there are nodes."""
        known = self._world.fabric.agents.get(agent)
        if known is not None:
            self._wanted[known.host] = workers
            self.reconcile()

    def reconcile(self) -> None:
        """Look at what has left; drain what is too many, and start what is missing."""
        fabric = self._world.fabric
        for worker in fabric.left[self._seen :]:
            agent = next(iter(worker.agents.values()))
            self._draining[agent.host] -= 1
            self._free[_group(agent)] = self._free.get(_group(agent), 0) + 1
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
        for name in worker.agents:
            if name in self._world.fabric.slots:
                share_slots(self._world, name)
        wake(self._world, worker)

    def _join(self, agent: AgentModel) -> SimWorker:
        name = f"{agent.name}-{next(self._numbers[agent.name])}"
        agents = self._world.fabric.agents.values()
        worker = SimWorker(
            name,
            [it for it in agents if it.host == agent.name],
            metered=self._world.metered,
        )
        worker.since_s = self._world.timeline.now_s
        self._world.fabric.join(worker)
        tell(self._world, worker, self._world.standing.joining())
        wake(self._world, worker)
        return worker


def _group(agent: AgentModel) -> str:
    return agent.group or agent.host
