"""What a simulated worker reports of itself: counts of its calls, and what has changed. Pure."""

from dataclasses import dataclass, field, replace

from nalar.ids import AgentName, RootId, SessionId, WorkerId
from nalar.reports import AgentLoad, Report, RequestLoad, SessionLoad
from nalar.sim.invocation import Invocation

#: Weight of the newest time in a smoothed one.
_SMOOTHING = 0.1


@dataclass(slots=True)
class Metering:
    """Counts; `report` tells what has changed since it was called last."""

    worker: WorkerId
    concurrency: int
    agents: dict[str, AgentLoad] = field(default_factory=dict[str, AgentLoad])
    applied: int = 0
    number: int = 0
    running: int = 0
    _changed: set[str] = field(default_factory=set[str])
    _sessions: dict[tuple[str, str], SessionLoad] = field(
        default_factory=dict[tuple[str, str], SessionLoad]
    )
    _requests: dict[str, RequestLoad] = field(default_factory=dict[str, RequestLoad])
    _changed_sessions: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    _changed_requests: set[str] = field(default_factory=set[str])
    #: Arrival of each queued call, by agent and by session: the first is the oldest.
    _queues: dict[tuple[str, str], dict[str, float]] = field(
        default_factory=dict[tuple[str, str], dict[str, float]]
    )

    @property
    def changed(self) -> bool:
        """Whether there is anything to report."""
        return bool(self._changed)

    def serve(self, agent: str) -> None:
        """The worker serves an agent."""
        self.agents.setdefault(agent, AgentLoad())

    def queued(self, invocation: Invocation, now_s: float) -> None:
        """A call has come and waits for a slot."""
        for key, load in self._loads(invocation):
            load.queued += 1
            line = self._queues.setdefault(key, {})
            line[invocation.key] = now_s
            load.oldest_at = next(iter(line.values()))
        self._touch(invocation).queued += 1

    def left_queue(self, invocation: Invocation) -> None:
        """A call does not wait any more."""
        for key, load in self._loads(invocation):
            load.queued -= 1
            line = self._queues[key]
            del line[invocation.key]
            load.oldest_at = next(iter(line.values()), 0.0)
            if not line:
                del self._queues[key]
        self._touch(invocation).queued -= 1

    def started(self, invocation: Invocation, now_s: float) -> None:
        """A call that waited for a slot runs."""
        self.left_queue(invocation)
        self._runs(invocation, 1)
        load = self._of(invocation)
        load.wait_s += _SMOOTHING * (now_s - invocation.arrived_s - load.wait_s)

    def left(self, invocation: Invocation) -> None:
        """A running call waits for others."""
        self._runs(invocation, -1)
        self._of(invocation).waiting += 1

    def resumed(self, invocation: Invocation) -> None:
        """A waiting call runs again."""
        self._runs(invocation, 1)
        self._of(invocation).waiting -= 1

    def finished(self, invocation: Invocation) -> None:
        """A running call has ended."""
        self._runs(invocation, -1)
        load = self._of(invocation)
        load.finished += 1
        load.busy_s += invocation.busy_s
        if load.finished == 1:
            load.service_s = invocation.busy_s
        load.service_s += _SMOOTHING * (invocation.busy_s - load.service_s)
        request = self._touch(invocation)
        request.finished += 1
        request.busy_s += invocation.busy_s

    def forget(self, root: str) -> None:
        """A request has ended."""
        if self._requests.pop(root, None) is not None:
            self._changed_requests.add(root)

    def report(self, now_s: float, slots: dict[AgentName, list[int]], *, full: bool) -> Report:
        """Return what has changed, or all there is."""
        self.number += 1
        agents = self.agents if full else self._changed
        sessions = self._sessions.keys() if full else self._changed_sessions
        requests = self._requests.keys() if full else self._changed_requests
        told: dict[AgentName, dict[SessionId, SessionLoad | None]] = {}
        for key in sorted(sessions):
            load = self._sessions.get(key)
            told.setdefault(AgentName(key[0]), {})[SessionId(key[1])] = load and replace(load)
            if load is not None and not load.queued and not load.running:
                del self._sessions[key]
        report = Report(
            self.worker, self.number, now_s, full, self.concurrency, self.running, self.applied,
            agents={AgentName(name): replace(self.agents[name]) for name in sorted(agents)},
            slots=slots,
            sessions=told,
            requests={
                RootId(root): (load := self._requests.get(root)) and replace(load)
                for root in sorted(requests)
            },
        )  # fmt: skip
        self._changed.clear()
        self._changed_sessions.clear()
        self._changed_requests.clear()
        return report

    def _of(self, invocation: Invocation) -> AgentLoad:
        assert invocation.agent is not None
        name = invocation.agent.name
        self._changed.add(name)
        load = self.agents.get(name)
        if load is None:
            load = self.agents[name] = AgentLoad()
        return load

    def _loads(
        self, invocation: Invocation
    ) -> list[tuple[tuple[str, str], AgentLoad | SessionLoad]]:
        assert invocation.agent is not None
        name = invocation.agent.name
        loads: list[tuple[tuple[str, str], AgentLoad | SessionLoad]] = [
            ((name, ""), self._of(invocation))
        ]
        if invocation.agent.stateful:
            loads.append(((name, invocation.session), self._session(invocation)))
        return loads

    def _session(self, invocation: Invocation) -> SessionLoad:
        assert invocation.agent is not None
        key = (invocation.agent.name, invocation.session)
        self._changed_sessions.add(key)
        load = self._sessions.get(key)
        if load is None:
            assert invocation.request is not None
            load = self._sessions[key] = SessionLoad(
                slot=max(0, invocation.slot),
                tenant=invocation.request.tenant,
                priority=invocation.priority,
            )
        return load

    def _runs(self, invocation: Invocation, by: int) -> None:
        self.running += by
        self._of(invocation).running += by
        self._touch(invocation).running += by
        assert invocation.agent is not None
        if invocation.agent.stateful:
            self._session(invocation).running += by

    def _touch(self, invocation: Invocation) -> RequestLoad:
        request = invocation.request
        assert request is not None
        self._changed_requests.add(request.root)
        load = self._requests.get(request.root)
        if load is None:
            load = self._requests[request.root] = RequestLoad(
                deadline=request.deadline_s, tenant=request.tenant
            )
        load.depth = max(load.depth, invocation.depth)
        return load
