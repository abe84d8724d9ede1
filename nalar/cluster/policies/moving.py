"""Policies that move sessions to other workers. Pure.

A session is worth moving while its worker has no slot free for it. One that waits for its own
running call would wait elsewhere as well: `stuck` leaves it out.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import ClassVar, Final

from nalar.cluster.policies.ranges import Priority, Seconds, Session, Sessions
from nalar.cluster.policy import Migrate, Suggestion
from nalar.cluster.view import ClusterView, SessionView, WorkerView
from nalar.cluster.waiting import SessionKey
from nalar.directives import SetPriority
from nalar.ids import AgentName, SessionId, WorkerId, encode_token

#: Sessions of an agent that are looked at in one decision.
LOOK_MAX: Final = 10_000


@dataclass(slots=True)
class HeadOfLine:
    """Moves sessions that wait behind others to workers with free slots, longest waiting first."""

    name: ClassVar[str] = "head_of_line"

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        """Return what to move."""
        for agent in view.agents():
            room = {worker.name: worker.room for worker in view.serving(agent)}
            for waiting in stuck(view, agent):
                to = max(room, key=room.__getitem__)
                if room[to] <= 0:
                    break
                room[to] -= waiting.load.queued
                yield Migrate(agent, waiting.session, to)


@dataclass(slots=True)
class LeastLoaded:
    """Routes sessions to the worker with the least work ahead, where that is less by a margin."""

    name: ClassVar[str] = "least_loaded"
    margin_s: Seconds = 1.0

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        """Return what to move."""
        for agent in view.agents():
            work_s = {worker.name: worker.work_s for worker in view.serving(agent)}
            for waiting in stuck(view, agent):
                here, to = waiting.worker, min(work_s, key=work_s.__getitem__)
                if max(work_s.values()) - work_s[to] <= self.margin_s:
                    break
                if work_s.get(here, 0.0) - work_s[to] > self.margin_s:
                    moved_s = work_of(view.workers[here], waiting)
                    work_s[here], work_s[to] = work_s[here] - moved_s, work_s[to] + moved_s
                    yield Migrate(agent, waiting.session, to)


@dataclass(slots=True)
class PrefixAffinity:
    """As head_of_line, once waiting costs more than reading a prefix anew; rather to a former home.

    A session leaves what an engine has cached of it behind when it moves.
    """

    name: ClassVar[str] = "prefix_affinity"
    #: What it takes to read a session's prefix again, in seconds.
    rebuild_s: Seconds = 2.0
    homes_max: Sessions = 100_000
    _homes: dict[SessionKey, WorkerId] = field(default_factory=dict[SessionKey, WorkerId])

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        """Return what to move."""
        for agent in view.agents():
            room = {worker.name: worker.room for worker in view.serving(agent)}
            for waiting in stuck(view, agent):
                key, patience_s = (agent, waiting.session), view.now_s - waiting.load.oldest_at
                home, most = self._homes.get(key), max(room, key=room.__getitem__)
                to = home if home is not None and room.get(home, 0) > 0 else most
                if room[to] <= 0 or patience_s <= self.rebuild_s:
                    break  # Those that follow have waited less.
                room[to] -= waiting.load.queued
                self._remember(key, waiting.worker)
                yield Migrate(agent, waiting.session, to)

    def _remember(self, key: SessionKey, home: WorkerId) -> None:
        self._homes.pop(key, None)
        self._homes[key] = home
        if len(self._homes) > self.homes_max:
            del self._homes[next(iter(self._homes))]


@dataclass(slots=True)
class HighPriority:
    """Takes one session first everywhere, and moves it to an idle worker wherever it waits."""

    name: ClassVar[str] = "high_priority"
    session: Session
    priority: Priority = 10

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        """Return its priority, and where to move it."""
        session = SessionId(encode_token(self.session))
        yield SetPriority("session", session, self.priority)
        for agent in view.agents():
            waiting = view.waiting.get((agent, session))
            idle = [it.name for it in view.serving(agent) if it.free and not it.queued]
            if waiting is not None and idle and is_stuck(view, waiting):
                yield Migrate(agent, session, idle[0])


def stuck(view: ClusterView, agent: AgentName) -> Iterator[SessionView]:
    """Yield sessions that wait for a slot of their worker, the one that waits longest first."""
    for waiting in islice(view.longest_waiting(agent), LOOK_MAX):
        if is_stuck(view, waiting):
            yield waiting


def is_stuck(view: ClusterView, waiting: SessionView) -> bool:
    """Say whether a session waits for a slot, and not for a call of its own."""
    worker = view.workers[waiting.worker]
    load = worker.agents.get(waiting.agent)
    serial = load is not None and load.blocked > 0
    return not worker.free and not (serial and waiting.load.running)


def work_of(worker: WorkerView, waiting: SessionView) -> float:
    """Return for how long a session's waiting calls keep its worker busy, in seconds."""
    load = worker.agents.get(waiting.agent)
    each_s = 0.0 if load is None else load.service_s
    return waiting.load.queued * each_s / max(1, worker.concurrency)
