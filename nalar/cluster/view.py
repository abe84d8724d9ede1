"""The cluster as controllers see it: the sum of all workers' reports, kept up to date. Pure.

Taking a report in costs what the report says has changed. What policies need in a hurry is
indexed: sessions and requests with calls that wait, and what has changed since the last decision.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from nalar.cluster.quota import StandingDirectives
from nalar.cluster.waiting import SessionKey, WaitingSessions
from nalar.directives import Provision, key_of
from nalar.ids import AgentName, RootId, SessionId, WorkerId
from nalar.reports import AgentLoad, MethodLoad, Report, RequestLoad, SessionLoad, add_method

#: Tenants that are remembered beyond this are those of whom nothing is there any more.
TENANTS_MAX = 10_000


@dataclass(slots=True)
class WorkerView:
    """One live worker."""

    name: WorkerId
    #: Execution slots, and how many of them are taken.
    concurrency: int
    running: int = 0
    applied: int = 0
    memory_bytes: int = 0
    cpu: float = 0.0
    agents: dict[AgentName, AgentLoad] = field(default_factory=dict[AgentName, AgentLoad])
    slots: dict[AgentName, list[int]] = field(default_factory=dict[AgentName, list[int]])
    #: Time of its last report, Unix time.
    at_s: float = 0.0
    number: int = 0
    sessions: set[SessionKey] = field(default_factory=set[SessionKey])
    requests: set[RootId] = field(default_factory=set[RootId])

    @property
    def free(self) -> int:
        """Execution slots that are free."""
        return max(0, self.concurrency - self.running)

    @property
    def room(self) -> int:
        """Execution slots that stay free if all that is queued here starts; below 0, that lack."""
        return self.free - sum(load.queued - load.spared for load in self.agents.values())

    @property
    def queued(self) -> int:
        """Calls here that could run but for a slot or their session."""
        return sum(load.queued for load in self.agents.values())

    @property
    def work_s(self) -> float:
        """What running and queued calls will take, by what such calls have taken, in seconds."""
        return sum(
            (load.queued + load.running) * load.service_s for load in self.agents.values()
        ) / max(1, self.concurrency)


@dataclass(slots=True)
class SessionView:
    """A session with calls somewhere."""

    agent: AgentName
    session: SessionId
    worker: WorkerId
    load: SessionLoad


@dataclass(slots=True)
class RequestView:
    """A request with calls in any worker."""

    root: RootId
    parts: dict[WorkerId, RequestLoad] = field(default_factory=dict[WorkerId, RequestLoad])

    @property
    def queued(self) -> int:
        return sum(part.queued for part in self.parts.values())

    @property
    def running(self) -> int:
        return sum(part.running for part in self.parts.values())

    @property
    def finished(self) -> int:
        """Calls of it that have ended: how far it has come."""
        return sum(part.finished for part in self.parts.values())

    @property
    def busy_s(self) -> float:
        """The service that it has had."""
        return sum(part.busy_s for part in self.parts.values())

    @property
    def depth(self) -> int:
        return max(part.depth for part in self.parts.values())

    @property
    def deadline(self) -> float:
        return max(part.deadline for part in self.parts.values())

    @property
    def tenant(self) -> str:
        return next(iter(self.parts.values())).tenant


@dataclass(slots=True)
class TenantView:
    """What is done on behalf of a tenant, in all workers."""

    queued: int = 0
    running: int = 0
    #: Time that its code has run, in seconds, for as long as the tenant has been known.
    busy_s: float = 0.0
    #: Parts of requests that are in some worker.
    parts: int = 0


class ClusterView:
    """All that policies may look at; they must not change it."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.workers: dict[WorkerId, WorkerView] = {}
        #: Calls of each agent that wait in its queue and that no worker holds; names every agent
        #: that has a queue, whether it is served or not.
        self.backlog: dict[AgentName, int] = {}
        #: Directives that stand, by key.
        self.standing = StandingDirectives()
        self.sessions: dict[SessionKey, SessionView] = {}
        self.requests: dict[RootId, RequestView] = {}
        self.tenants: dict[str, TenantView] = {}
        #: Sessions with calls that wait.
        self.waiting: dict[SessionKey, SessionView] = {}
        #: What has changed since `settle` was called last.
        self.changed_sessions: set[SessionKey] = set()
        self.changed_requests: set[RootId] = set()
        self._by_age = WaitingSessions()
        #: Workers of each agent, by name; empty once one of them has come, gone or changed.
        self._serving: dict[AgentName, list[WorkerView]] = {}

    def serving(self, agent: AgentName) -> list[WorkerView]:
        """Return the workers that serve `agent`, by name."""
        return self._index().get(agent, [])

    def _index(self) -> dict[AgentName, list[WorkerView]]:
        if not self._serving:
            for _, worker in sorted(self.workers.items()):
                for agent in worker.agents:
                    self._serving.setdefault(agent, []).append(worker)
        return self._serving

    def load(self, agent: AgentName) -> AgentLoad:
        """Return an agent's calls over all workers; times are means by calls finished."""
        total = AgentLoad()
        for part in (worker.agents[agent] for worker in self.serving(agent)):
            total.queued += part.queued
            total.parked += part.parked
            total.running += part.running
            total.waiting += part.waiting
            total.blocked += part.blocked
            total.sharing += part.sharing
            total.spared += part.spared
            total.finished += part.finished
            total.failed += part.failed
            total.busy_s += part.busy_s
            total.tokens += part.tokens
            total.wait_s += part.wait_s * part.finished
            total.service_s += part.service_s * part.finished
            for name, method in part.methods.items():
                add_method(total.methods.setdefault(name, MethodLoad(batch=method.batch)), method)
            oldest = (at for at in (total.oldest_at, part.oldest_at) if at)
            total.oldest_at = min(oldest, default=0.0)
        if total.finished:
            total.wait_s /= total.finished
            total.service_s /= total.finished
        return total

    def agents(self) -> list[AgentName]:
        """Return the names of all agents that are served."""
        return sorted(self._index())

    def slots(self, agent: AgentName) -> int:
        """Return how many execution slots the workers of an agent have."""
        return sum(worker.concurrency for worker in self.serving(agent))

    def demand(self, agent: AgentName) -> float:
        """Return how many execution slots an agent's calls take, and will that wait anywhere."""
        load = self.load(agent)
        return load.runs + self.backlog.get(agent, 0) * load.share

    def ahead_s(self, agent: AgentName) -> float:
        """Return how long a call made now would wait, by what such calls have taken, in seconds."""
        load = self.load(agent)
        calls = load.queued + self.backlog.get(agent, 0)
        return calls * load.service_s / max(1, self.slots(agent))

    def wanted(self, agent: AgentName) -> int:
        """Return how many workers of an agent there are to be: as directed, else as there are."""
        issued = self.standing.get(key_of(Provision(agent, 0)))
        if issued is not None and isinstance(issued.directive, Provision):
            return issued.directive.workers
        return len(self.serving(agent))

    def longest_waiting(self, agent: AgentName) -> Iterator[SessionView]:
        """Yield the agent's sessions with calls that wait, the one that waits longest first.

        Costs what is read of it.
        """
        for session in self._by_age.oldest_first(agent):
            yield self.waiting[agent, session]

    def owner(self, agent: AgentName, slot: int) -> WorkerView | None:
        """Return the worker that owns a slot."""
        return next((it for it in self.workers.values() if slot in it.slots.get(agent, ())), None)

    # Keeping it up to date.

    def take(self, report: Report) -> bool:
        """Take a worker's report in; False when one before it was lost and a full one is needed."""
        known = self.workers.get(report.worker)
        if known is None:
            if not report.full:
                return False
            known = self.workers[report.worker] = WorkerView(report.worker, concurrency=1)
            self._serving.clear()
        elif report.number <= known.number and not (report.full and report.at_s > known.at_s):
            return True  # It came twice, or late. A newer full one: its worker began anew.
        elif report.full:
            if report.number != known.number + 1:  # Else it follows, and nothing was missed.
                self._drop_unnamed(known, report)
        elif report.number > known.number + 1:
            return False
        self._take_worker(known, report)
        return True

    def _take_worker(self, known: WorkerView, report: Report) -> None:
        known.number, known.at_s, known.applied = report.number, report.at_s, report.applied
        known.concurrency, known.running = report.concurrency, report.running
        known.memory_bytes, known.cpu = report.memory_bytes, report.cpu
        known.slots = report.slots
        if not report.agents.keys() <= known.agents.keys():
            self._serving.clear()
        known.agents.update(report.agents)
        for agent, sessions in report.sessions.items():
            for session, load in sessions.items():
                self._take_session(known, (agent, session), load)
        for root, part in report.requests.items():
            self._take_request(known, root, part)

    def forget(self, worker: WorkerId) -> None:
        """A worker is gone."""
        gone = self.workers.pop(worker, None)
        if gone is not None:
            self._serving.clear()
            for key in list(gone.sessions):
                self._take_session(gone, key, None)
            for root in list(gone.requests):
                self._take_request(gone, root, None)

    def settle(self) -> None:
        """A decision was made on all that had changed."""
        self.changed_sessions.clear()
        self.changed_requests.clear()

    def _drop_unnamed(self, worker: WorkerView, report: Report) -> None:
        """Forget what a worker had and a full report does not name."""
        for key in [it for it in worker.sessions if it[1] not in report.sessions.get(it[0], {})]:
            self._take_session(worker, key, None)
        for root in [root for root in worker.requests if root not in report.requests]:
            self._take_request(worker, root, None)
        for agent in [name for name in worker.agents if name not in report.agents]:
            del worker.agents[agent]
            self._serving.clear()

    def _take_session(self, worker: WorkerView, key: SessionKey, load: SessionLoad | None) -> None:
        known = self.sessions.get(key)
        here = known is not None and known.worker == worker.name
        if load is None:
            worker.sessions.discard(key)
            if here:
                self.changed_sessions.add(key)
                del self.sessions[key]
                self._waits(key, None)
            return
        worker.sessions.add(key)
        if known is not None:
            if here and known.load == load:
                return
            if not here and not load.running and not load.queued:
                return  # It has moved on; what is left there says nothing.
        self.changed_sessions.add(key)
        view = self.sessions[key] = SessionView(*key, worker.name, load)
        self._waits(key, view if load.queued else None)

    def _waits(self, key: SessionKey, view: SessionView | None) -> None:
        if view is not None:
            self.waiting[key] = view
            self._by_age.put(key, view.load.oldest_at)
        elif self.waiting.pop(key, None) is not None:
            self._by_age.discard(key)

    def _take_request(self, worker: WorkerView, root: RootId, part: RequestLoad | None) -> None:
        known = self.requests.get(root)
        before = None if known is None else known.parts.get(worker.name)
        if before == part:
            return
        self.changed_requests.add(root)
        self._take_tenant(before, part)
        if part is not None:
            worker.requests.add(root)
            if known is None:
                known = self.requests[root] = RequestView(root)
            known.parts[worker.name] = part
            return
        worker.requests.discard(root)
        if known is not None:
            known.parts.pop(worker.name, None)
            if not known.parts:
                del self.requests[root]

    def _take_tenant(self, before: RequestLoad | None, after: RequestLoad | None) -> None:
        """Count a part of a request as it is, in place of as it was.

        What a part has had that is gone, its tenant has had.
        """
        for part, sign in ((before, -1), (after, 1)):
            if part is None:
                continue
            tenant = self.tenants.get(part.tenant)
            if tenant is None:
                self._forget_tenants()
                tenant = self.tenants[part.tenant] = TenantView()
            tenant.queued += sign * part.queued
            tenant.running += sign * part.running
            tenant.parts += sign
        if after is not None:
            had_s = after.busy_s - (0.0 if before is None else before.busy_s)
            self.tenants[after.tenant].busy_s += max(0.0, had_s)

    def _forget_tenants(self) -> None:
        if len(self.tenants) >= TENANTS_MAX:
            for name in [name for name, tenant in self.tenants.items() if not tenant.parts]:
                del self.tenants[name]
