"""A simulated cluster: runs programs on workers, on a virtual clock.

The workers' local controllers, their credits, and the rule that gives a session its slot are those
of real ones. What takes time beside the programs is in `Costs`.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import assert_never

from nalar.controllers.local_events import (
    Arrived,
    Effect,
    Ended,
    Event,
    Expire,
    Fail,
    Finished,
    HandBack,
    Left,
    Resume,
    Returned,
    Start,
    Stop,
    Ticked,
)
from nalar.controllers.ranking import Traits
from nalar.directives import Shed
from nalar.errors import UsageError
from nalar.ids import AgentName
from nalar.sim.engine import Timeline
from nalar.sim.fabric import Fabric
from nalar.sim.gathering import Gathered
from nalar.sim.invocation import Invocation, Request
from nalar.sim.llm import Prompt
from nalar.sim.metrics import Figures, Metrics
from nalar.sim.placing import Placement
from nalar.sim.standing import Standing
from nalar.sim.worker import METHOD, SimWorker
from nalar.sim.workload import Arrival, Call, Calls, Pause, Turn, Work


@dataclass(frozen=True, slots=True)
class Costs:
    """What takes time beside the programs."""

    #: From publishing a message to its delivery.
    message_s: float = 0.0005
    #: Moving a session's state to another worker: to begin with, and per byte.
    transfer_s: float = 0.002
    transfer_bytes_per_s: float = 1e9


#: Later than any simulation ends, in seconds.
_NEVER_S = 1e9
#: Effects of a worker that are still to be carried out.
_Todo = tuple[SimWorker, Effect]


@dataclass(slots=True)
class World:
    """The cluster, and what runs in it."""

    timeline: Timeline
    fabric: Fabric
    placement: Placement
    costs: Costs = field(default_factory=Costs)
    metrics: Metrics = field(default_factory=Metrics)
    #: Whether no call has priority over another, whatever programs say.
    flat: bool = False
    #: The priority that a call has when it arrives; by default what it carries.
    rank: Callable[[Invocation], int] = lambda invocation: invocation.priority
    futures_max: int = 0
    #: Whether anybody looks at what workers report.
    metered: bool = False
    #: Users who are still to come, or to go on.
    users: int = 0
    #: Requests that have not ended, by root.
    requests: dict[str, Request] = field(default_factory=dict[str, Request])
    standing: Standing = field(default_factory=Standing)
    #: Agents that refuse requests.
    shedding: dict[str, Shed] = field(default_factory=dict[str, Shed])
    #: How busy workers were while users came: what follows is a long goodbye.
    _utilisation: float | None = None
    _todo: deque[_Todo] = field(default_factory=deque[_Todo])
    #: Workers that may have credits to spend.
    _asking: dict[str, SimWorker] = field(default_factory=dict[str, SimWorker])
    _enacting: bool = False
    #: Batches that calls have been started in, and that they have not joined.
    _gathered: dict[str, Gathered] = field(default_factory=dict[str, Gathered])
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    #: Where each session's state was last.
    _homes: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])

    # Requests come and go.

    def admit(self, arrivals: Iterator[Arrival]) -> None:
        """Let the next user come in time, and after them the rest."""
        arrival = next(arrivals, None)
        if arrival is None or self._is_late():
            return
        self.users += 1
        driver = Invocation(str(next(self._numbers)), arrival.driver)
        self.timeline.at(arrival.at_s, self._come, driver, arrivals)

    def _come(self, driver: Invocation, arrivals: Iterator[Arrival]) -> None:
        self.admit(arrivals)
        self._step(driver)

    def _begin(self, driver: Invocation, turn: Turn) -> None:
        """A user asks: a request begins."""
        now_s = self.timeline.now_s
        if self._is_late():
            self.users -= 1
            return  # It is late: nobody asks any more, and this user does not come back.
        shed = self.shedding.get(turn.call.agent or "")
        if shed is not None and turn.priority < shed.below:
            self.metrics.shed += 1
            self.timeline.after(0.0, self._step, driver)  # The user gives this one up.
            return
        deadline_s = now_s + turn.deadline_s if turn.deadline_s is not None else float("inf")
        self.metrics.begun += 1
        number = self.metrics.begun
        session = turn.call.session or f"s{number}"
        request = Request(f"r{number}", session, turn.tenant, turn.priority, now_s, deadline_s)
        driver.pending = 1
        self.requests[request.root] = request
        self._make(driver, turn.call, request, session)

    def _is_late(self) -> bool:
        """Say whether enough futures were made, so that nobody asks any more."""
        late = 0 < self.futures_max <= self.metrics.futures
        if late and self._utilisation is None:
            self._utilisation = self.fabric.utilised(self.timeline.now_s)
        return late

    def figures(self, strategy: str) -> Figures:
        """Return what it has come to so far."""
        used = self._utilisation
        return self.metrics.figures(
            strategy,
            virtual_s=self.metrics.last_s,
            utilisation=self.fabric.utilised(self.timeline.now_s) if used is None else used,
            cached=self.fabric.cached(),
        )

    # Programs go on.

    def _step(self, invocation: Invocation) -> None:
        """Let a program do its next step."""
        now_s = self.timeline.now_s
        invocation.step_s = now_s
        step = next(invocation.program, None)
        match step:
            case Work(seconds):
                self.timeline.after(seconds, self._worked, invocation)
            case Prompt():
                self._generate(invocation, step)
            case Calls(calls):
                self._call(invocation, calls)
            case Pause(seconds):
                self._pause(invocation, seconds)
            case Turn():
                self._begin(invocation, step)
            case None:
                self._finish(invocation)
            case _:
                assert_never(step)

    def _worked(self, invocation: Invocation) -> None:
        """A step that took a slot is done."""
        self._spend(invocation, self.timeline.now_s - invocation.step_s)
        self._step(invocation)

    def _spend(self, invocation: Invocation, spent_s: float) -> None:
        """A call has had a slot for so long, or its share of one."""
        invocation.busy_s += spent_s
        if invocation.request is not None:
            invocation.request.attained_s += spent_s
        if invocation.worker:
            self.fabric.workers[invocation.worker].busy_s += spent_s

    def _generate(self, invocation: Invocation, prompt: Prompt) -> None:
        worker = self.fabric.workers.get(invocation.worker)
        if worker is None or worker.engine is None:
            where = invocation.agent.name if invocation.agent else "a driver"
            raise UsageError(f"{where} has no LLM engine: only agents with an llm generate")
        worker.engine.submit(invocation.key, invocation.session, prompt, self.timeline.now_s)
        self._set_alarm(worker)

    def _set_alarm(self, worker: SimWorker) -> None:
        assert worker.engine is not None
        worker.alarm += 1
        due_s = worker.engine.next_s()
        if due_s < float("inf"):
            self.timeline.at(due_s, self._engine_due, worker, worker.alarm)

    def _engine_due(self, worker: SimWorker, alarm: int) -> None:
        if alarm != worker.alarm or worker.engine is None:
            return
        done = worker.engine.advance(self.timeline.now_s)
        self._set_alarm(worker)
        for key in done:
            self._worked(worker.held[key])

    def _call(self, caller: Invocation, calls: tuple[Call, ...]) -> None:
        if caller.request is None:
            raise UsageError("a driver asks by turns: only what a Turn begins makes Calls")
        if not calls:
            self.timeline.after(0.0, self._step, caller)
            return
        caller.pending = len(calls)
        for call in calls:
            self._make(caller, call, caller.request, call.session or caller.session)
        self._leave(caller)

    def _pause(self, invocation: Invocation, seconds: float) -> None:
        if invocation.request is not None and not invocation.worker:
            invocation.request.paused_s += seconds
        invocation.pending = 1
        self._leave(invocation)
        self.timeline.after(seconds, self._child_ended, invocation)

    def _leave(self, caller: Invocation) -> None:
        if caller.worker:
            self.feed(self.fabric.workers[caller.worker], Left(caller.key))

    def _make(self, caller: Invocation, call: Call, request: Request | None, session: str) -> None:
        """Make a call: a future, unless it is a branch of its caller."""
        priority = caller.priority if call.priority is None else call.priority
        if request is not None and caller.request is None:
            priority = request.priority
        if self.flat:
            priority = 0
        child = Invocation(
            str(next(self._numbers)), call.program, caller, None, request, session, priority,
            caller.depth, self.timeline.now_s,
        )  # fmt: skip
        if call.agent is None:
            self.timeline.after(0.0, self._step, child)
            return
        child.agent = self.fabric.agent(call.agent)
        child.depth = caller.depth + (caller.request is not None)
        self.metrics.futures += 1
        if request is not None:
            request.futures += 1
        self.timeline.after(self.costs.message_s, self.place, child)

    # Calls go to workers.

    def place(self, invocation: Invocation) -> None:
        """Give a call to a worker, or put it where workers ask for it."""
        worker = self.placement.place(invocation, self.fabric)
        if worker is not None:
            self._arrive(worker, invocation)
            return
        for name, delivered in self.fabric.publish(invocation):
            self._arrive(self.fabric.workers[name], delivered)

    def _arrive(self, worker: SimWorker, invocation: Invocation) -> None:
        assert invocation.agent is not None
        now_s = self.timeline.now_s
        agent = invocation.agent
        invocation.worker, invocation.arrived_s = worker.name, now_s
        worker.held[invocation.key] = invocation
        request = invocation.request
        assert request is not None
        request.workers.add(worker.name)
        for directed in self.standing.arriving(worker.name, request.root):
            self.feed(worker, directed)
        lock = f"{agent.name}/{invocation.session}" if agent.stateful and agent.exclusive else None
        traits = invocation.traits = Traits(
            AgentName(agent.name), invocation.session, request.root, request.tenant,
            invocation.depth, request.begun_s, METHOD,
        )  # fmt: skip
        # Deadlines order calls, but nothing expires here: what is late is done all the same.
        self.feed(worker, Arrived(
            invocation.key, lock, self.rank(invocation), request.deadline_s + _NEVER_S,
            frozenset(), None, now_s, request.deadline_s, traits,
            max(0, invocation.slot) if agent.stateful else None,
            None if invocation.given_back else agent.batch,
        ))  # fmt: skip

    def feed(self, worker: SimWorker, event: Event) -> None:
        """Tell a worker's local controller and do what it wants, oldest first."""
        for effect in worker.handle(event, self.timeline.now_s):
            self._todo.append((worker, effect))
        if (due_s := worker.take_due()) is not None:
            self.timeline.at(due_s, self._batch_due, worker, due_s)
        self._asking[worker.name] = worker
        if self._enacting:
            return
        self._enacting = True
        while self._todo or self._asking:
            if self._todo:
                self._enact(*self._todo.popleft())
                continue
            _, asker = self._asking.popitem()
            for name, delivered in self.fabric.ask(asker):
                self._arrive(self.fabric.workers[name], delivered)
        self._enacting = False

    def _batch_due(self, worker: SimWorker, due_s: float) -> None:
        if worker.due_s == due_s:
            worker.due_s = None
            self.feed(worker, Ticked(self.timeline.now_s))

    def _enact(self, worker: SimWorker, effect: Effect) -> None:
        match effect:
            case Start(key, batch):
                if batch and key == batch[0]:
                    gathered = Gathered([worker.held[it] for it in batch])
                    self._gathered.update(dict.fromkeys(batch, gathered))
                self._start(worker, worker.held[key])
            case Resume(key):
                self._step(worker.held[key])
            case HandBack(key):
                invocation = worker.held.pop(key)
                invocation.worker, invocation.given_back = "", True
                self.feed(worker, Ended(key))
                self.fabric.ended(worker, self.timeline.now_s)
                self.timeline.after(self.costs.message_s, self.place, invocation)
            case Expire() | Fail() | Stop():
                raise AssertionError("nothing in a simulation expires, fails or is stopped")
            case _:
                assert_never(effect)

    def _start(self, worker: SimWorker, invocation: Invocation) -> None:
        now_s = self.timeline.now_s
        invocation.started_s = invocation.step_s = now_s
        agent = invocation.agent
        assert agent is not None
        if agent.stateful:
            key = (agent.name, invocation.session)
            home = self._homes.get(key, worker.name)
            self._homes[key] = worker.name
            if home != worker.name:
                self.metrics.transfers += 1
                if agent.state_bytes:
                    delay_s = agent.state_bytes / self.costs.transfer_bytes_per_s
                    self.timeline.after(self.costs.transfer_s + delay_s, self._loaded, invocation)
                    return
        self._loaded(invocation)

    def _loaded(self, invocation: Invocation) -> None:
        """A call's state is there: its code runs, or that of its batch once it is the last."""
        gathered = self._gathered.pop(invocation.key, None)
        if gathered is None:
            self._worked(invocation)
        elif (run_s := gathered.join()) is not None:
            self.timeline.after(run_s, self._ran, gathered)

    def _ran(self, gathered: Gathered) -> None:
        """A batch is done: each of its calls has had a share of its slot."""
        for invocation in gathered.calls:
            spent_s = self.timeline.now_s - invocation.started_s
            self._spend(invocation, spent_s / len(gathered.calls))
            self._finish(invocation)

    def _finish(self, invocation: Invocation) -> None:
        """A program has ended."""
        invocation.ended = True
        if invocation.worker:
            worker = self.fabric.workers[invocation.worker]
            worker.measure(invocation, self.timeline.now_s)
            del worker.held[invocation.key]
            self.feed(worker, Finished(invocation.key))
            self.feed(worker, Ended(invocation.key))
            self.fabric.ended(worker, self.timeline.now_s)
        parent = invocation.parent
        if parent is None:
            self.users -= 1
            return
        if parent.request is None:  # The parent is a driver: the answer of a request.
            self._answer(invocation)
        delay_s = self.costs.message_s if invocation.agent else 0.0
        self.timeline.after(delay_s, self._child_ended, parent)

    def _answer(self, invocation: Invocation) -> None:
        request = invocation.request
        if request is not None:
            del self.requests[request.root]
            self.metrics.ended(request, self.timeline.now_s)
            if not self.requests and self._is_late():
                self.timeline.stop()
            self.fabric.forget(request)
            for directed in self.standing.forget(request.root):
                for name in sorted(request.workers & self.fabric.workers.keys()):
                    self.feed(self.fabric.workers[name], directed)

    def _child_ended(self, parent: Invocation) -> None:
        parent.pending -= 1
        if parent.pending:
            return
        if parent.worker:
            self.feed(self.fabric.workers[parent.worker], Returned(parent.key))
        else:
            self._step(parent)
