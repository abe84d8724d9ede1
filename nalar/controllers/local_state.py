"""The local controller: what one worker holds, and what it does next. Pure.

`handle(event)` applies one event and returns the effects it causes, oldest first. The shell
(`controllers.worker`) feeds it and carries the effects out. Time comes in with the events.

A held call is *parked* while results it needs are missing, *queued* when it could run but for a
slot or its session, *running*, *waiting* (it runs, but has given its slot up for a future),
*returning* (the future is there, a slot is not), *settling* (its code has finished and its record
is being stored), or *leaving* (it will not start: it is failed or given back).
"""

import heapq
from dataclasses import dataclass, field
from enum import Enum, auto

from nalar.controllers.local_events import (
    Arrived,
    DrainBegan,
    Effect,
    Ended,
    Event,
    Expire,
    Fail,
    Finished,
    HandBack,
    LaneLost,
    Left,
    Rejoined,
    Resume,
    Returned,
    Settled,
    Start,
    Ticked,
)
from nalar.ids import Ref

#: Deadlines of calls gone since that may stay in the heap beside as many as are held.
_STALE_DEADLINES = 10_000


class State(Enum):
    """Where a held call stands."""

    PARKED = auto()
    QUEUED = auto()
    RUNNING = auto()
    WAITING = auto()
    RETURNING = auto()
    SETTLING = auto()
    LEAVING = auto()


@dataclass(slots=True)
class _Held:
    """One held call."""

    arrival: Arrived
    order: int
    state: State
    missing: set[Ref] = field(default_factory=set[Ref])

    @property
    def rank(self) -> tuple[int, int]:
        return (-self.arrival.priority, self.order)


@dataclass(slots=True)
class _Lock:
    """A session: who has it, and who is next."""

    holder: str
    queue: list[tuple[int, int, str]] = field(default_factory=list[tuple[int, int, str]])


class LocalState:
    """Everything a worker knows about the calls it holds."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._running = 0
        self._held: dict[str, _Held] = {}
        #: Queued calls that have their session; entries of calls gone since are skipped.
        self._ready: list[tuple[int, int, str]] = []
        self._ready_count = 0
        #: Waiting calls whose future is there, first come first served, ahead of new calls.
        self._returning: dict[str, None] = {}
        self._settling = 0
        self._locks: dict[str, _Lock] = {}
        self._awaited: dict[Ref, list[str]] = {}
        self._deadlines: list[tuple[float, str]] = []
        self._arrivals = 0
        self._now_s = 0.0
        self._draining = False

    # What the shell asks.

    @property
    def load(self) -> int:
        """Calls that run or could run now: what prefetching is bounded by."""
        return self._running + self._ready_count + len(self._returning)

    @property
    def settling(self) -> int:
        """Calls whose record is being stored."""
        return self._settling

    @property
    def idle(self) -> bool:
        """True when nothing is held."""
        return not self._held

    @property
    def deadlines_kept(self) -> int:
        """How many deadlines are remembered, those of calls gone since included."""
        return len(self._deadlines)

    def counts(self) -> dict[str, int]:
        """How many calls stand where; for reports."""
        counts = {state.name.lower(): 0 for state in State}
        for held in self._held.values():
            counts[held.state.name.lower()] += 1
        return counts

    def works(self, key: str) -> bool:
        """Say whether the call's code runs, or its record is being stored."""
        held = self._held.get(key)
        return held is not None and held.state in (State.RUNNING, State.SETTLING)

    def handle(self, event: Event) -> list[Effect]:  # noqa: C901 -- a closed union, one line each
        """Apply one event and return the effects it causes, oldest first."""
        effects: list[Effect] = []
        match event:
            case Arrived():
                self._arrive(event, effects)
            case Ended(key):
                self._forget(key)
            case Left(key):
                self._vacate(key, State.WAITING)
            case Returned(key):
                self._return(key)
            case Finished(key):
                self._vacate(key, State.SETTLING)
            case Rejoined(key):
                self._rejoin(key)
            case Settled():
                self._settle(event, effects)
            case Ticked(at_s):
                self._now_s = at_s
                self._expire(effects)
            case LaneLost(keys):
                self._give_back(keys, effects)
            case DrainBegan():
                self._draining = True
                self._give_back(self._held, effects)
        self._dispatch(effects)
        return effects

    # Transitions.

    def _arrive(self, event: Arrived, effects: list[Effect]) -> None:
        if event.key in self._held:
            return
        self._now_s = max(self._now_s, event.at_s)
        self._arrivals += 1
        held = _Held(event, self._arrivals, State.PARKED)
        self._held[event.key] = held
        if self._draining:
            held.state = State.LEAVING
            effects.append(HandBack(event.key))
        elif event.deadline <= self._now_s:
            held.state = State.LEAVING
            effects.append(Expire(event.key))
        elif event.missing:
            held.missing = set(event.missing)
            for ref in event.missing:
                self._awaited.setdefault(ref, []).append(event.key)
            self._remember_deadline(event)
        else:
            self._queue(held)

    def _queue(self, held: _Held) -> None:
        """Line the call up: at its session if another has it, else for a slot."""
        held.state = State.QUEUED
        key, lock = held.arrival.key, held.arrival.lock
        if not held.arrival.missing:
            self._remember_deadline(held.arrival)
        if lock is None:
            self._make_ready(held)
            return
        turn = self._locks.get(lock)
        if turn is None:
            self._locks[lock] = _Lock(key)
            self._make_ready(held)
        else:
            heapq.heappush(turn.queue, (*held.rank, key))

    def _make_ready(self, held: _Held) -> None:
        heapq.heappush(self._ready, (*held.rank, held.arrival.key))
        self._ready_count += 1

    def _settle(self, event: Settled, effects: list[Effect]) -> None:
        for key in self._awaited.pop(event.ref, ()):
            held = self._held.get(key)
            if held is None or held.state is not State.PARKED:
                continue
            if not event.ok and event.ref != held.arrival.after:
                held.state = State.LEAVING
                effects.append(Fail(key, event.ref))
                continue
            held.missing.discard(event.ref)
            if not held.missing:
                self._queue(held)

    def _vacate(self, key: str, state: State) -> None:
        """Free the slot of a call that has one, or asks for it again."""
        held = self._held[key]
        if held.state in (State.RUNNING, State.RETURNING, State.WAITING):
            self._running -= held.state is State.RUNNING
            self._returning.pop(key, None)
            held.state = state
            self._settling += state is State.SETTLING

    def _return(self, key: str) -> None:
        held = self._held[key]
        if held.state is State.WAITING:
            held.state = State.RETURNING
            self._returning[key] = None

    def _rejoin(self, key: str) -> None:
        held = self._held[key]
        if held.state in (State.WAITING, State.RETURNING, State.SETTLING):
            self._settling -= held.state is State.SETTLING
            self._returning.pop(key, None)
            held.state = State.RUNNING
            self._running += 1

    def _forget(self, key: str) -> None:
        held = self._held.pop(key, None)
        if held is None:
            return
        self._running -= held.state is State.RUNNING
        self._settling -= held.state is State.SETTLING
        self._returning.pop(key, None)
        self._release(held)

    def _release(self, held: _Held) -> None:
        """Take the call out of its session's line; pass the session on if it had it."""
        key, lock = held.arrival.key, held.arrival.lock
        turn = self._locks.get(lock) if lock is not None else None
        if held.state is State.QUEUED and (turn is None or turn.holder == key):
            self._ready_count -= 1
        if turn is None or turn.holder != key or lock is None:
            return
        while turn.queue:
            _, order, successor = heapq.heappop(turn.queue)
            following = self._held.get(successor)
            # A call that was given back and has come again left its old place behind.
            if following is None or following.order != order:
                continue
            if following.state is State.QUEUED:
                turn.holder = successor
                self._make_ready(following)
                return
        del self._locks[lock]

    def _remember_deadline(self, arrival: Arrived) -> None:
        heapq.heappush(self._deadlines, (arrival.deadline, arrival.key))
        if len(self._deadlines) > 2 * len(self._held) + _STALE_DEADLINES:
            # Deadlines lie days ahead: those of calls that have ended would pile up.
            self._deadlines = [(held.arrival.deadline, key) for key, held in self._held.items()]
            heapq.heapify(self._deadlines)

    def _expire(self, effects: list[Effect]) -> None:
        while self._deadlines and self._deadlines[0][0] <= self._now_s:
            _, key = heapq.heappop(self._deadlines)
            held = self._held.get(key)
            if held is not None and held.state in (State.PARKED, State.QUEUED):
                self._withdraw(held)
                effects.append(Expire(key))

    def _give_back(self, keys: tuple[str, ...] | dict[str, _Held], effects: list[Effect]) -> None:
        for key in list(keys):
            held = self._held.get(key)
            if held is not None and held.state in (State.PARKED, State.QUEUED):
                self._withdraw(held)
                effects.append(HandBack(key))

    def _withdraw(self, held: _Held) -> None:
        """Never start the call; it stays held until the shell reports that it has ended."""
        self._release(held)
        held.state = State.LEAVING

    def _dispatch(self, effects: list[Effect]) -> None:
        """Hand out free slots: first to calls that come back, then to the queue."""
        while self._running < self._concurrency:
            if self._returning:
                key = next(iter(self._returning))
                del self._returning[key]
                effects.append(Resume(key))
            elif (started := self._pop_ready()) is not None:
                key = started
                effects.append(Start(key))
            else:
                return
            self._held[key].state = State.RUNNING
            self._running += 1

    def _pop_ready(self) -> str | None:
        while self._ready:
            _, order, key = heapq.heappop(self._ready)
            held = self._held.get(key)
            if held is not None and held.state is State.QUEUED and held.order == order:
                self._ready_count -= 1
                return key
        return None

    def check(self) -> None:
        """Assert what must hold between events; tests call it after every one."""
        running = sum(held.state is State.RUNNING for held in self._held.values())
        assert running == self._running, "every running call is counted once"
        settling = sum(held.state is State.SETTLING for held in self._held.values())
        assert settling == self._settling, "every settling call is counted once"
        for lock, turn in self._locks.items():
            holder = self._held.get(turn.holder)
            assert holder is not None, f"{lock} is held by a call that is gone"
            assert holder.state not in (State.PARKED, State.LEAVING), f"{lock} is held idly"
        for held in self._held.values():
            if held.state is State.RUNNING and held.arrival.lock is not None:
                assert self._locks[held.arrival.lock].holder == held.arrival.key
        ready = sum(self._is_ready(held) for held in self._held.values())
        assert ready == self._ready_count, f"{ready} calls are ready, {self._ready_count} counted"

    def _is_ready(self, held: _Held) -> bool:
        lock = held.arrival.lock
        return held.state is State.QUEUED and (
            lock is None or self._locks[lock].holder == held.arrival.key
        )
