"""The cluster as controllers see it: the sum of all workers' reports, kept up to date. Pure.

Taking a report in costs what the report says has changed. What policies need in a hurry is
indexed: sessions and requests with calls that wait, and what has changed since the last decision.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from nalar.ids import AgentName, RootId, SessionId, WorkerId
from nalar.reports import AgentLoad, Report, RequestLoad, SessionLoad

#: A session of an agent.
SessionKey = tuple[AgentName, SessionId]


@dataclass(slots=True)
class WorkerView:
    """One live worker."""

    name: WorkerId
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
        """Calls it could start at once."""
        return max(0, self.concurrency - self.running)

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


class ClusterView:
    """All that policies may look at; they must not change it."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.workers: dict[WorkerId, WorkerView] = {}
        #: Calls of each agent that wait in its queue and that no worker holds.
        self.backlog: dict[AgentName, int] = {}
        self.sessions: dict[SessionKey, SessionView] = {}
        self.requests: dict[RootId, RequestView] = {}
        #: Sessions with calls that wait.
        self.waiting: dict[SessionKey, SessionView] = {}
        #: What has changed since `settle` was called last.
        self.changed_sessions: set[SessionKey] = set()
        self.changed_requests: set[RootId] = set()

    def serving(self, agent: AgentName) -> list[WorkerView]:
        """Return the workers that serve `agent`, by name."""
        return sorted(
            (worker for worker in self.workers.values() if agent in worker.agents),
            key=lambda worker: worker.name,
        )

    def load(self, agent: AgentName) -> AgentLoad:
        """Return an agent's calls over all workers; times are means by calls finished."""
        total = AgentLoad()
        for part in (worker.agents[agent] for worker in self.serving(agent)):
            total.queued += part.queued
            total.parked += part.parked
            total.running += part.running
            total.waiting += part.waiting
            total.blocked += part.blocked
            total.finished += part.finished
            total.failed += part.failed
            total.busy_s += part.busy_s
            total.tokens += part.tokens
            total.wait_s += part.wait_s * part.finished
            total.service_s += part.service_s * part.finished
            oldest = (at for at in (total.oldest_at, part.oldest_at) if at)
            total.oldest_at = min(oldest, default=0.0)
        if total.finished:
            total.wait_s /= total.finished
            total.service_s /= total.finished
        return total

    def agents(self) -> list[AgentName]:
        """Return the names of all agents that are served."""
        return sorted({agent for worker in self.workers.values() for agent in worker.agents})

    def owner(self, agent: AgentName, slot: int) -> WorkerView | None:
        """Return the worker that owns a slot."""
        return next((it for it in self.workers.values() if slot in it.slots.get(agent, ())), None)

    # Keeping it up to date.

    def take(self, report: Report) -> bool:
        """Take a worker's report in; False when one before it was lost and a full one is needed."""
        known = self.workers.get(report.worker)
        if report.full:
            known = self._begin(report.worker)
        elif known is None or report.number > known.number + 1:
            return False
        elif report.number <= known.number:
            return True  # It came twice, or late.
        known.number, known.at_s, known.applied = report.number, report.at_s, report.applied
        known.concurrency, known.running = report.concurrency, report.running
        known.memory_bytes, known.cpu = report.memory_bytes, report.cpu
        known.slots = report.slots
        known.agents.update(report.agents)
        for agent, sessions in report.sessions.items():
            for session, load in sessions.items():
                self._take_session(known, (agent, session), load)
        for root, part in report.requests.items():
            self._take_request(known, root, part)
        return True

    def forget(self, worker: WorkerId) -> None:
        """A worker is gone."""
        gone = self.workers.pop(worker, None)
        if gone is not None:
            for key in list(gone.sessions):
                self._take_session(gone, key, None)
            for root in list(gone.requests):
                self._take_request(gone, root, None)

    def settle(self) -> None:
        """A decision was made on all that had changed."""
        self.changed_sessions.clear()
        self.changed_requests.clear()

    def _begin(self, name: WorkerId) -> WorkerView:
        """Begin a worker's part anew."""
        self.forget(name)
        begun = self.workers[name] = WorkerView(name, concurrency=1)
        return begun

    def _take_session(self, worker: WorkerView, key: SessionKey, load: SessionLoad | None) -> None:
        known = self.sessions.get(key)
        self.changed_sessions.add(key)
        if load is None:
            worker.sessions.discard(key)
            if known is not None and known.worker == worker.name:
                del self.sessions[key]
                self.waiting.pop(key, None)
            return
        if (
            known is not None
            and known.worker != worker.name
            and not load.running
            and not load.queued
        ):
            return  # It has moved on; what is left there says nothing.
        worker.sessions.add(key)
        view = self.sessions[key] = SessionView(*key, worker.name, load)
        if load.queued:
            self.waiting[key] = view
        else:
            self.waiting.pop(key, None)

    def _take_request(self, worker: WorkerView, root: RootId, part: RequestLoad | None) -> None:
        known = self.requests.get(root)
        self.changed_requests.add(root)
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


def oldest_first(sessions: Iterable[SessionView]) -> list[SessionView]:
    """Return sessions with calls that wait, the one that has waited longest first."""
    return sorted(sessions, key=lambda view: (view.load.oldest_at, view.agent, view.session))
