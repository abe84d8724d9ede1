"""What is between callers and workers: lanes, slots and their owners, who joins and who leaves."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from nalar.bus.subjects import SHARED_LANES, lane_for_priority, slot_of
from nalar.controllers.slots import plan_slots
from nalar.controllers.weights import Weights
from nalar.errors import UsageError, suggest
from nalar.ids import AgentName, RootId, SessionId
from nalar.sim.invocation import Invocation, Request
from nalar.sim.mailbox import Mailbox
from nalar.sim.worker import SimWorker
from nalar.sim.workload import AgentModel

#: Slots of a stateful agent for each worker that it has at the start.
SLOTS_PER_WORKER = 4
_SLOTS_MIN = 16
#: As live: the higher the sooner.
_RANKS = {lane: rank for rank, lane in enumerate(reversed(SHARED_LANES))}


@dataclass(slots=True)
class Fabric:
    """The agents, their queues, and the workers that serve them."""

    agents: dict[str, AgentModel]
    workers: dict[str, SimWorker] = field(default_factory=dict[str, SimWorker])
    #: Sessions that a directive has sent to another slot than their hash says.
    routes: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    #: Workers that serve each agent, in order of joining.
    serving: dict[str, list[SimWorker]] = field(default_factory=dict[str, list[SimWorker]])
    #: Calls in each agent's queue that no worker has.
    backlog: dict[str, int] = field(default_factory=dict[str, int])
    slots: dict[str, int] = field(default_factory=dict[str, int])
    owners: dict[str, dict[int, str]] = field(default_factory=dict[str, dict[int, str]])
    weights: Weights = field(default_factory=Weights)
    #: All workers that have left.
    left: list[SimWorker] = field(default_factory=list[SimWorker])
    _lanes: dict[str, Mailbox] = field(default_factory=dict[str, Mailbox])

    @classmethod
    def of(cls, agents: Iterable[AgentModel]) -> "Fabric":
        """Return a fabric with the queues of these agents, and no worker."""
        fabric = cls({agent.name: agent for agent in agents})
        for agent in fabric.agents.values():
            fabric.serving[agent.name] = []
            fabric.backlog[agent.name] = 0
            if agent.stateful:
                slots = max(_SLOTS_MIN, SLOTS_PER_WORKER * fabric.agents[agent.host].workers)
                fabric.slots[agent.name] = slots
                fabric.owners[agent.name] = {}
                for slot in range(slots):
                    name = f"{agent.name}/{slot}"
                    fabric._lanes[name] = Mailbox(name, 1, private=True, agent=agent.name)
            else:
                for lane, rank in _RANKS.items():
                    name = f"{agent.name}/{lane}"
                    fabric._lanes[name] = Mailbox(name, rank, agent=agent.name)
        return fabric

    def agent(self, name: str) -> AgentModel:
        """Return an agent; raises UsageError when there is none."""
        known = self.agents.get(name)
        if known is None:
            raise UsageError(f"no agent is named {name!r}.{suggest(name, list(self.agents))}")
        return known

    # Messages.

    def slot(self, agent: str, session: str) -> int:
        """Return the slot of a session."""
        routed = self.routes.get((agent, session))
        return self.own_slot(agent, session) if routed is None else routed

    def own_slot(self, agent: str, session: str) -> int:
        """Return the slot that a session has unless a directive says otherwise."""
        return slot_of(SessionId(session), self.slots[agent])

    def route(self, agent: str, session: str, slot: int | None) -> None:
        """Give a session another slot; None: its own again."""
        if slot is None:
            self.routes.pop((agent, session), None)
        else:
            self.routes[(agent, session)] = slot

    def publish(self, invocation: Invocation) -> list[tuple[str, Invocation]]:
        """Put a call into its lane; return what is delivered, and to which worker."""
        agent = invocation.agent
        assert agent is not None
        if agent.stateful:
            invocation.slot = self.slot(agent.name, invocation.session)
            lane = self._lanes[f"{agent.name}/{invocation.slot}"]
        else:
            lane = self._lanes[f"{agent.name}/{lane_for_priority(invocation.priority)}"]
        self.backlog[agent.name] += 1
        return self._note(lane, lane.put(invocation))

    def ask(self, worker: SimWorker) -> list[tuple[str, Invocation]]:
        """Ask for what a worker has credit for; return what is delivered at once."""
        delivered: list[tuple[str, Invocation]] = []
        for ask in worker.asks():
            lane = self._lanes[ask.lane]
            delivered += self._note(lane, lane.ask(worker.name, ask.count, ask.level))
        return delivered

    def take_out(self, agent: str, session: str) -> list[Invocation]:
        """Take a session's calls out of its lane; return them in order."""
        lane = self._lanes[f"{agent}/{self.slot(agent, session)}"]
        taken = [invocation for invocation in lane.waiting if invocation.session == session]
        if taken:
            lane.waiting = type(lane.waiting)(it for it in lane.waiting if it.session != session)
            self.backlog[agent] -= len(taken)
        return taken

    def _note(
        self, lane: Mailbox, delivered: list[tuple[str, Invocation]]
    ) -> list[tuple[str, Invocation]]:
        backlog = len(lane.waiting)
        for name, _ in delivered:
            self.backlog[lane.agent] -= 1
            self.workers[name].credits.delivered(lane.name, backlog)
        return delivered

    # Workers.

    def join(self, worker: SimWorker) -> None:
        """A worker begins to serve."""
        self.workers[worker.name] = worker
        for agent in worker.agents:
            self.serving[agent].append(worker)
            if agent not in self.slots:
                self._open(worker, agent)

    def weighed(self, agent: str) -> None:
        """The weights of a stateless agent have changed: its workers ask anew."""
        for worker in self.serving[agent]:
            for lane in _RANKS:
                self._lanes[f"{agent}/{lane}"].leave(worker.name)
                worker.credits.close(f"{agent}/{lane}")
            self._open(worker, agent)

    def _open(self, worker: SimWorker, agent: str) -> None:
        if share := self.weights.share(AgentName(agent), worker.name):
            for lane, rank in _RANKS.items():
                worker.credits.open(f"{agent}/{lane}", rank, share=share)

    def leave(self, worker: SimWorker) -> None:
        """A worker takes nothing more in."""
        for agent in worker.agents:
            self.serving[agent].remove(worker)
            for lane in _RANKS if agent not in self.slots else ():
                self._lanes[f"{agent}/{lane}"].leave(worker.name)
            for slot in list(worker.slots[agent]):
                self._release(agent, slot)

    def ended(self, worker: SimWorker, now_s: float) -> None:
        """A call of a worker has ended: one that drains is gone with its last."""
        if worker.draining and not worker.held and self.workers.pop(worker.name, None):
            worker.until_s = now_s
            self.left.append(worker)

    def utilised(self, now_s: float) -> float:
        """Return how busy workers were so far: where there are engines, they are what is scarce."""
        workers = [*self.workers.values(), *self.left]
        scarce = [worker for worker in workers if worker.engine is not None] or workers
        busy = [worker.utilisation(now_s) for worker in scarce]
        there_s = sum(there for _, there in busy)
        return sum(used for used, _ in busy) / there_s if there_s else 0.0

    def cached(self) -> float:
        """Return the share of all prompts that engines had read before."""
        workers = [*self.workers.values(), *self.left]
        engines = [worker.engine.counts for worker in workers if worker.engine is not None]
        read = sum(counts.prompt_tokens for counts in engines)
        return sum(counts.cached_tokens for counts in engines) / read if read else 0.0

    def share_slots(self, agent: str) -> dict[str, set[int]]:
        """Give each worker its share of an agent's slots; return what each has lost."""
        owners, alive = self.owners[agent], [worker.name for worker in self.serving[agent]]
        lost: dict[str, set[int]] = {}
        moved = bool(alive)
        while moved:
            moved = False
            for name in alive:
                weights = self.weights.of(AgentName(agent))
                plan = plan_slots(self.slots[agent], owners, alive, name, weights)
                for slot in plan.release:
                    lost.setdefault(name, set()).add(slot)
                    self._release(agent, slot)
                for slot in plan.claim:
                    self._claim(agent, slot, name)
                moved = moved or bool(plan.release or plan.claim)
        return lost

    def _claim(self, agent: str, slot: int, name: str) -> None:
        self.owners[agent][slot] = name
        worker, lane = self.workers[name], self._lanes[f"{agent}/{slot}"]
        worker.slots[agent].add(slot)
        worker.credits.open(lane.name, lane.rank, private=True)

    def _release(self, agent: str, slot: int) -> None:
        name = self.owners[agent].pop(slot)
        lane = self._lanes[f"{agent}/{slot}"]
        lane.leave(name)
        worker = self.workers[name]
        worker.slots[agent].discard(slot)
        worker.credits.close(lane.name)

    def forget(self, request: Request) -> None:
        """A request has ended."""
        for name in request.workers:
            worker = self.workers.get(name)
            if worker is not None and worker.meter is not None:
                worker.meter.forget(RootId(request.root))
