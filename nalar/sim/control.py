"""The second level of control in a simulation: reports in, directives out, both a little late."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nalar.cluster.policy import Migrate, Policy, Suggestion, Withdraw
from nalar.cluster.view import ClusterView
from nalar.directives import Directive, Drain, Issued, Kill, Provision, Route, key_of
from nalar.ids import AgentName
from nalar.sim.steering import direct, drain, withdraw
from nalar.sim.supervising import Supervising
from nalar.sim.world import World


@dataclass(frozen=True, slots=True)
class Cadence:
    """When controllers act, in seconds."""

    #: Between two reports of a worker.
    report_s: float = 0.5
    #: Between two decisions.
    period_s: float = 0.5
    #: From a decision to its enforcement.
    delay_s: float = 0.02


class Control:
    """Runs policies over what workers report, for as long as there are users."""

    def __init__(
        self,
        world: World,
        supervising: Supervising,
        policies: Sequence[Policy],
        cadence: Cadence,
    ) -> None:
        self._world = world
        self._supervising = supervising
        self._policies = policies
        self._cadence = cadence
        self._moved_s: dict[tuple[str, str], float] = {}
        #: What was issued last under each key, and not withdrawn.
        self.view = ClusterView()
        #: Directives issued, and decisions made.
        self.issued = 0
        self.decisions = 0

    def begin(self) -> None:
        """Begin to report and decide."""
        if self._policies:
            self._report(first=True)
            self._decide()

    def _report(self, *, first: bool = False) -> None:
        now_s = self._world.timeline.now_s
        known = self.view.workers
        for worker in self._world.fabric.workers.values():
            new = worker.name not in known
            if new or first or worker.meter.changed:
                for agent in worker.agents if new else ():
                    worker.meter.serve(agent)
                slots = {AgentName(name): sorted(own) for name, own in worker.slots.items() if own}
                self.view.take(worker.meter.report(now_s, slots, full=new))
        for name in [name for name in known if name not in self._world.fabric.workers]:
            self.view.forget(name)
        if self._world.users:
            self._world.timeline.after(self._cadence.report_s, self._report)

    def _decide(self) -> None:
        timeline, view = self._world.timeline, self.view
        view.now_s = timeline.now_s
        view.backlog = {AgentName(name): it for name, it in self._world.fabric.backlog.items()}
        for policy in self._policies:
            for directive in self._filter(policy.decide(view)):
                self.issued += 1
                timeline.after(self._cadence.delay_s, self._apply, directive)
        view.settle()
        self.decisions += 1
        self._supervising.reconcile()
        if self._world.users:
            timeline.after(self._cadence.period_s, self._decide)

    def _filter(self, suggested: Iterable[Suggestion]) -> Iterable[Directive | Withdraw]:
        """Return what differs from what stands already."""
        for suggestion in suggested:
            match suggestion:
                case Migrate(agent, session, to):
                    slots = self.view.workers[to].slots.get(agent, [])
                    last_s = self._moved_s.get((agent, session), float("-inf"))
                    if slots and self.view.now_s - last_s >= _MOVE_EVERY_S:
                        self._moved_s[agent, session] = self.view.now_s
                        yield Route(agent, session, slots[0])
                case Withdraw(directive):
                    if self.view.standing.pop(key_of(directive), None) is not None:
                        yield suggestion
                case _:
                    key = key_of(suggestion)
                    stands = self.view.standing.get(key)
                    if stands is None or stands.directive != suggestion:
                        self.view.standing[key] = Issued(suggestion, "", "", self.view.now_s)
                        yield suggestion

    def _apply(self, asked: Directive | Withdraw) -> None:
        match asked:
            case Withdraw(directive):
                withdraw(self._world, directive)
            case Provision(agent, workers):
                self._supervising.provision(agent, workers)
            case Drain(worker) | Kill(worker):
                known = self._world.fabric.workers.get(worker)
                if known is not None and not known.draining:
                    drain(self._world, known)
            case _:
                direct(self._world, asked)


#: A session is moved at most this often.
_MOVE_EVERY_S = 5.0
