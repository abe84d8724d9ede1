"""The second level of control in a simulation: reports in, directives out, both a little late."""

from collections.abc import Sequence
from dataclasses import dataclass

from nalar.cluster.arbiter import Arbiter, Granted
from nalar.cluster.bounds import Bounds
from nalar.cluster.containment import fault_of, suggestions_of
from nalar.cluster.policy import Policy, Suggestion
from nalar.cluster.view import ClusterView
from nalar.directives import Drain, Issued, Kill, Provision, key_of
from nalar.errors import UsageError
from nalar.ids import AgentName
from nalar.sim.steering import direct, drain, pass_time, withdraw
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
        bounds: Bounds | None = None,
    ) -> None:
        self._world = world
        self._supervising = supervising
        self._policies = policies
        self._cadence = cadence
        self._arbiter = Arbiter(bounds)
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
        if self._world.standing.has_rates:
            pass_time(self._world)
        for worker in self._world.fabric.workers.values():
            new = first or worker.name not in known
            if new or worker.has_news(now_s):
                for report in worker.reports(now_s, full=new):
                    self.view.take(report)
        for name in [name for name in known if name not in self._world.fabric.workers]:
            self.view.forget(name)
        if self._world.users:
            self._world.timeline.after(self._cadence.report_s, self._report)

    def _decide(self) -> None:
        timeline, view = self._world.timeline, self.view
        view.now_s = timeline.now_s
        view.backlog = {AgentName(name): it for name, it in self._world.fabric.backlog.items()}
        asked = [(policy.name, self._asked(policy)) for policy in self._policies]
        for granted in self._arbiter.judge(view, asked).granted:
            self.issued += 1
            self._stand(granted)
            timeline.after(self._cadence.delay_s, self._apply, granted)
        view.settle()
        self.decisions += 1
        self._supervising.reconcile()
        if self._world.users:
            timeline.after(self._cadence.period_s, self._decide)

    def _asked(self, policy: Policy) -> list[Suggestion]:
        """Return what a policy suggests; raises UsageError, not to simulate what would not run."""
        try:
            return suggestions_of(policy, self.view, self._arbiter.bounds.suggestions_max)
        except Exception as error:
            raise UsageError(f"policy {policy.name} {fault_of(error)}") from error

    def _stand(self, granted: Granted) -> None:
        key = key_of(granted.directive)
        if granted.withdrawn:
            self.view.standing.pop(key, None)
        else:
            now_s = self.view.now_s
            issued = Issued(granted.directive, granted.policy, granted.reason, now_s)
            self.view.standing[key] = issued

    def _apply(self, granted: Granted) -> None:
        if granted.withdrawn:
            withdraw(self._world, granted.directive)
            return
        match granted.directive:
            case Provision(agent, workers):
                self._supervising.provision(agent, workers)
            case Drain(worker) | Kill(worker):
                known = self._world.fabric.workers.get(worker)
                if known is not None and not known.draining:
                    drain(self._world, known)
            case directive:
                direct(self._world, directive)
