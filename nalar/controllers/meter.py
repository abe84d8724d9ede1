"""What a worker tells of its calls: counts, times, and what of them has changed. Pure.

Calls are counted when a report is made and not at each of their steps: one that came and went in
between costs its share of the totals and no more, and idle ones cost nothing.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Final

from nalar.controllers.local_call import LocalCall, Place, SharedSlot, State
from nalar.controllers.local_events import Arrived
from nalar.controllers.ranking import Traits
from nalar.controllers.spent import Spent
from nalar.controllers.untold import take_next
from nalar.ids import AgentName, RootId, SessionId, WorkerId
from nalar.reports import AgentLoad, MethodLoad, Report, RequestLoad, SessionLoad, add_method

#: Weight of the newest time in a smoothed one.
_SMOOTHING: Final = 0.1
#: Sessions, and requests, in one report at the most; what is beyond comes in the next one.
ENTRIES_MAX: Final = 2000
#: Entries of calls that wait no longer which may stay in a line beside as many as wait.
_STALE_MAX: Final = 64

_WAITING: Final = (Place.QUEUED, Place.BLOCKED)

_SessionKey = tuple[AgentName, SessionId]


class _Line:
    """Calls that wait in one place, by their arrival."""

    __slots__ = ("_heap", "_waiting")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, LocalCall]] = []
        self._waiting = 0

    def change(self, call: LocalCall, by: int) -> None:
        """A call joins the line, or (`by` -1) has left it."""
        self._waiting += by
        if by > 0:
            heapq.heappush(self._heap, (call.arrival.at_s, call.order, call))
        elif len(self._heap) > 2 * self._waiting + _STALE_MAX:
            self._heap = [it for it in self._heap if it[2].counted in _WAITING]
            heapq.heapify(self._heap)

    def oldest_at(self) -> float:
        """Return when the oldest of them arrived; 0 with none."""
        while self._heap and self._heap[0][2].counted not in _WAITING:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else 0.0


@dataclass(slots=True)
class _Agent:
    #: Without what adds up over its methods.
    load: AgentLoad = field(default_factory=AgentLoad)
    line: _Line = field(default_factory=_Line)
    #: Of its methods that gather calls: how many wait.
    gathering: Counter[str] = field(default_factory=Counter[str])
    changed: bool = True

    def wait(self, call: LocalCall, by: int) -> None:
        """One more call waits, or (`by` -1) one less; those that gather will in full batches."""
        self.line.change(call, by)
        if (batch := call.arrival.batch) is not None:
            method = call.arrival.traits.method
            before = self.gathering[method]
            after = self.gathering[method] = before + by
            self.load.spared += batch.spares(after) - batch.spares(before)

    def run(self, shared: SharedSlot | None, by: int) -> int:
        """One more call runs, or (`by` -1) one less; return how many more slots that takes."""
        if shared is None or shared.count(by):
            return by
        self.load.sharing += by
        return 0


@dataclass(slots=True)
class _Session:
    load: SessionLoad = field(default_factory=SessionLoad)
    line: _Line = field(default_factory=_Line)
    #: Calls that are here, wherever they stand.
    held: int = 0
    #: Whether a report has named it.
    told: bool = False


@dataclass(slots=True)
class _Request:
    load: RequestLoad
    held: int = 0
    told: bool = False
    #: Its own call has ended.
    over: bool = False


class Meter:
    """Counts what happens to a worker's calls, and says what has changed."""

    def __init__(
        self,
        worker: WorkerId,
        concurrency: int,
        *,
        requests_kept_s: float = 60.0,
        requests_kept_max: float = 1000,
        entries_max: int = ENTRIES_MAX,
    ) -> None:
        self._worker = worker
        self._concurrency = concurrency
        #: For how long, and how many, requests are remembered without a call of theirs here.
        self._kept_s, self._kept_max = requests_kept_s, requests_kept_max
        self._entries_max = max(1, min(ENTRIES_MAX, entries_max))
        self._running = 0
        self._number = 0
        self._agents: dict[AgentName, _Agent] = {}
        self._sessions: dict[_SessionKey, _Session] = {}
        self._requests: dict[RootId, _Request] = {}
        self._tokens: dict[str, int] = {}
        #: Requests without a call here, and since when.
        self._idle: dict[RootId, float] = {}
        #: In the order in which they are told.
        self._changed_sessions: dict[_SessionKey, None] = {}
        self._changed_requests: dict[RootId, None] = {}
        #: What is still to be told of all there was when a full report was asked for.
        self._left_sessions: dict[_SessionKey, None] = {}
        self._left_requests: dict[RootId, None] = {}

    @property
    def changed(self) -> bool:
        """Whether there is anything to report."""
        return (
            bool(self._changed_sessions or self._changed_requests)
            or bool(self._left_sessions or self._left_requests)
            or any(agent.changed for agent in self._agents.values())
        )

    def say_less(self) -> None:
        """A report was too large to be told: name fewer sessions and requests in one."""
        self._entries_max = max(1, self._entries_max // 2)

    def serve(self, agent: AgentName, batches: Mapping[str, int] | None = None) -> None:
        """The worker serves an agent; of its methods that gather calls, `batches` are the sizes."""
        load = self._agent(agent).load
        for method, size in (batches or {}).items():
            load.methods.setdefault(method, MethodLoad()).batch = size

    def ended(self, spent: Spent, *, whole: bool) -> None:
        """A call has ended with a record; `whole` when its request has ended with it."""
        traits, busy_s = spent.traits, spent.busy_s
        assert traits.agent is not None, "a call is of an agent"
        load = self._agent(traits.agent).load
        method = load.methods.get(traits.method)
        if method is None:
            method = load.methods[traits.method] = MethodLoad()
        weight = _SMOOTHING if method.finished or method.failed else 1.0
        method.wait_s += weight * (spent.started_s - spent.arrived_s - method.wait_s)
        method.service_s += weight * (busy_s - method.service_s)
        if spent.failed:
            method.failed += 1
        else:
            method.finished += 1
        load.busy_s += busy_s
        if spent.tokens:
            self._spend(load, spent.tokens)
        root = RootId(traits.root)
        if whole:
            self.forget(root)
            return
        request = self._request(root, traits, spent.deadline)
        request.load.finished += 1
        request.load.busy_s += busy_s
        if not request.held:
            self._rest(root, request, spent.ended_s)

    def _spend(self, load: AgentLoad, tokens: dict[str, int]) -> None:
        load.tokens += sum(tokens.values())
        for model, count in tokens.items():
            self._tokens[model] = self._tokens.get(model, 0) + count

    def forget(self, root: RootId) -> None:
        """A request has ended."""
        request = self._requests.get(root)
        if request is not None:
            request.over = True
            if not request.held:
                self._drop_request(root)

    def count(self, calls: Iterable[LocalCall], now_s: float) -> None:
        """Take in where calls stand now that stood elsewhere."""
        for call in calls:
            was = call.counted
            if was is None and call.state is State.ENDED:
                continue  # It came and went.
            place, shared = call.place, call.counted_in
            if was is place and shared is call.shared:
                continue
            call.counted, call.counted_in = place, call.shared
            if was is not None:
                self._add(call, was, -1, now_s, shared)
            if place is not None:
                self._add(call, place, 1, now_s, call.shared)

    def report(
        self,
        now_s: float,
        *,
        slots: dict[AgentName, list[int]],
        full: bool = False,
        applied: int = 0,
        memory_bytes: int = 0,
        cpu: float = 0.0,
    ) -> Report:
        """Return what has changed, or the first part of all there is."""
        self._forget_idle(now_s)
        if full:
            for agent in self._agents.values():
                agent.changed = True
            self._left_sessions = dict.fromkeys(self._sessions)
            self._left_requests = dict.fromkeys(self._requests)
        self._number += 1
        report = Report(
            self._worker, self._number, now_s, full, self._concurrency, self._running, applied,
            memory_bytes, cpu, slots=slots, tokens=dict(self._tokens),
        )  # fmt: skip
        for name, agent in sorted(self._agents.items()):
            if agent.changed:
                report.agents[name] = self._told_agent(agent)
        for key in take_next(self._changed_sessions, self._left_sessions, self._entries_max):
            report.sessions.setdefault(key[0], {})[key[1]] = self._told_session(key)
        for root in take_next(self._changed_requests, self._left_requests, self._entries_max):
            report.requests[root] = self._told_request(root)
        return report

    # What is told.

    @staticmethod
    def _told_agent(agent: _Agent) -> AgentLoad:
        agent.load.oldest_at = agent.line.oldest_at()
        agent.changed = False
        told = copy(agent.load)
        told.methods = {name: copy(load) for name, load in told.methods.items()}
        for method in told.methods.values():
            add_method(told, method)
        return told

    def _told_session(self, key: _SessionKey) -> SessionLoad | None:
        session = self._sessions.get(key)
        if session is None:
            return None
        session.told = True
        session.load.oldest_at = session.line.oldest_at()
        return copy(session.load)

    def _told_request(self, root: RootId) -> RequestLoad | None:
        request = self._requests.get(root)
        if request is None:
            return None
        request.told = True
        return copy(request.load)

    # What is counted.

    def _add(
        self, call: LocalCall, place: Place, by: int, now_s: float, shared: SharedSlot | None
    ) -> None:
        """Count a call where it stands, or (`by` -1) no longer where it stood.

        `shared` is the slot that it shares there.
        """
        arrival = call.arrival
        traits = arrival.traits
        if traits.agent is None:
            return
        agent = self._agent(traits.agent)
        _count(agent.load, place, by)
        root = RootId(traits.root)
        request = self._request(root, traits, arrival.stop_at)
        request.held += by
        waits, runs = place in _WAITING, place is Place.RUNNING
        request.load.queued += by * waits
        request.load.running += by * runs
        if waits:
            agent.wait(call, by)
        if runs:
            self._running += agent.run(shared, by)
        if arrival.slot is not None:
            session = self._session(traits.agent, arrival)
            session.held += by
            session.load.queued += by * waits
            session.load.running += by * runs
            if waits:
                session.line.change(call, by)
            if call.counted is None and not session.held:
                self._drop_session((traits.agent, SessionId(traits.session)), session)
        if call.counted is None and not request.held:
            self._rest(root, request, now_s)

    def _agent(self, name: AgentName) -> _Agent:
        agent = self._agents.get(name)
        if agent is None:
            agent = self._agents[name] = _Agent()
        agent.changed = True
        return agent

    def _session(self, agent: AgentName, arrival: Arrived) -> _Session:
        key = (agent, SessionId(arrival.traits.session))
        self._changed_sessions[key] = None
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = _Session()
        load = session.load
        load.slot, load.tenant = arrival.slot or 0, arrival.traits.tenant
        load.priority = arrival.priority
        return session

    def _drop_session(self, key: _SessionKey, session: _Session) -> None:
        del self._sessions[key]
        if not session.told:
            del self._changed_sessions[key]

    # Requests stay for a while when no call of theirs is here: others may come.

    def _request(self, root: RootId, traits: Traits, deadline: float) -> _Request:
        self._changed_requests[root] = None
        request = self._requests.get(root)
        if request is None:
            load = RequestLoad(tenant=traits.tenant, deadline=deadline)
            request = self._requests[root] = _Request(load)
        request.load.depth = max(request.load.depth, traits.depth)
        return request

    def _rest(self, root: RootId, request: _Request, now_s: float) -> None:
        """No call of the request is here now."""
        if request.over:
            self._drop_request(root)
        else:
            self._idle.pop(root, None)
            self._idle[root] = now_s

    def _forget_idle(self, now_s: float) -> None:
        while self._idle:
            root, since_s = next(iter(self._idle.items()))
            if len(self._idle) <= self._kept_max and now_s - since_s < self._kept_s:
                return
            if self._requests[root].held:
                del self._idle[root]  # Others have come.
            else:
                self._drop_request(root)

    def _drop_request(self, root: RootId) -> None:
        request = self._requests.pop(root)
        self._idle.pop(root, None)
        if request.told:
            self._changed_requests[root] = None
        else:
            self._changed_requests.pop(root, None)


def _count(load: AgentLoad, place: Place, by: int) -> None:
    match place:
        case Place.PARKED:
            load.parked += by
        case Place.QUEUED:
            load.queued += by
        case Place.BLOCKED:
            load.queued += by
            load.blocked += by
        case Place.RUNNING:
            load.running += by
        case Place.WAITING:
            load.waiting += by
        case Place.ELSEWHERE:
            pass
