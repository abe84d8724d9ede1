"""What a worker tells of its calls: counts, times, and what of them has changed. Pure.

Calls are counted when a report is made and not at each of their steps: one that came and went in
between costs its share of the totals and no more, and idle ones cost nothing. What is told of
single sessions and requests (`details`) is of calls that have been here for a while: most of the
others will have ended before a controller could say anything of them.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Final

from nalar.controllers.details import Details
from nalar.controllers.line import Line
from nalar.controllers.local_call import LocalCall, Place, SharedSlot, State
from nalar.controllers.spent import Spent
from nalar.ids import AgentName, RootId, WorkerId
from nalar.reports import AgentLoad, MethodLoad, Report, add_method

#: Weight of the newest time in a smoothed one.
_SMOOTHING: Final = 0.1
#: Sessions, and requests, in one report at the most; what is beyond comes in the next one.
ENTRIES_MAX: Final = 2000
#: How long a call has been here when its session and its request are told of, in seconds.
DETAILED_AFTER_S: Final = 0.5


@dataclass(slots=True)
class _Agent:
    #: Without what adds up over its methods.
    load: AgentLoad = field(default_factory=AgentLoad)
    line: Line = field(default_factory=Line)
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
        detailed_after_s: float = DETAILED_AFTER_S,
    ) -> None:
        self._worker = worker
        self._concurrency = concurrency
        entries = max(1, min(ENTRIES_MAX, entries_max))
        self._details = Details(requests_kept_s, requests_kept_max, entries)
        self._detailed_after_s = detailed_after_s
        #: Calls whose sessions and requests are not told of yet, by their arrival.
        self._young: deque[LocalCall] = deque()
        self._running = 0
        self._number = 0
        self._agents: dict[AgentName, _Agent] = {}
        self._tokens: dict[str, int] = {}

    @property
    def changed(self) -> bool:
        """Whether there is anything to report."""
        return self._details.changed or any(agent.changed for agent in self._agents.values())

    def is_due(self, now_s: float) -> bool:
        """Say whether a call has been here for so long that more is to be told of it."""
        return self.has_young and self._young[0].arrival.at_s <= now_s - self._detailed_after_s

    @property
    def has_young(self) -> bool:
        """Whether calls are here of which more is to be told once they have been here for long."""
        while self._young and self._young[0].counted is None:
            self._young.popleft()
        return bool(self._young)

    def say_less(self) -> None:
        """A report was too large to be told: name fewer sessions and requests in one."""
        self._details.entries_max = max(1, self._details.entries_max // 2)

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
        if whole:
            self.forget(RootId(traits.root))
        else:
            self._details.ended(traits, spent.deadline, spent.ended_s, busy_s)

    def _spend(self, load: AgentLoad, tokens: dict[str, int]) -> None:
        load.tokens += sum(tokens.values())
        for model, count in tokens.items():
            self._tokens[model] = self._tokens.get(model, 0) + count

    def forget(self, root: RootId) -> None:
        """A request has ended."""
        self._details.forget(root)

    def count(self, calls: Iterable[LocalCall], now_s: float) -> None:
        """Take in where calls stand now that stood elsewhere."""
        for call in calls:
            if call.counted is not None or call.state is not State.ENDED:  # Else it came and went.
                self._move(call, now_s)
        while self.is_due(now_s):
            call = self._young.popleft()
            call.detailed = True
            self._details.move(call, None, call.counted, now_s)

    def _move(self, call: LocalCall, now_s: float) -> None:
        """Count a call where it stands, and no longer where it stood."""
        was, place, shared = call.counted, call.place, call.counted_in
        if was is place and shared is call.shared:
            return
        call.counted, call.counted_in = place, call.shared
        if was is not None:
            self._add(call, was, -1, shared)
        if place is not None:
            self._add(call, place, 1, call.shared)
        if call.detailed:
            self._details.move(call, was, place, now_s)
        elif was is None and call.arrival.traits.agent is not None:
            self._young.append(call)

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
        self._details.forget_idle(now_s)
        if full:
            for agent in self._agents.values():
                agent.changed = True
            self._details.tell_all()
        self._number += 1
        report = Report(
            self._worker, self._number, now_s, full, self._concurrency, self._running, applied,
            memory_bytes, cpu, slots=slots, tokens=dict(self._tokens),
        )  # fmt: skip
        for name, agent in sorted(self._agents.items()):
            if agent.changed:
                report.agents[name] = self._told_agent(agent)
        self._details.put_into(report)
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

    # What is counted.

    def _add(self, call: LocalCall, place: Place, by: int, shared: SharedSlot | None) -> None:
        """Count a call where it stands, or (`by` -1) no longer where it stood.

        `shared` is the slot that it shares there.
        """
        name = call.arrival.traits.agent
        if name is None:
            return
        agent = self._agent(name)
        load = agent.load
        for count in place.counts:
            setattr(load, count, getattr(load, count) + by)
        if place.waits:
            agent.wait(call, by)
        elif place is Place.RUNNING:
            self._running += agent.run(shared, by)

    def _agent(self, name: AgentName) -> _Agent:
        agent = self._agents.get(name)
        if agent is None:
            agent = self._agents[name] = _Agent()
        agent.changed = True
        return agent
