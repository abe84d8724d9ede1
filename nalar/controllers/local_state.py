"""The local controller: what one worker holds, and what it does next. Pure.

`handle(event)` applies one event and returns the effects it causes, oldest first. The shell
(`controllers.worker`) feeds it and carries the effects out. Time comes in with the events.

A held call is *parked* while results it needs are missing, *queued* when it could run but for a
slot or its session, *running*, *waiting* (it runs, but has given its slot up for a future),
*returning* (the future is there, a slot is not), *settling* (its code has finished and its record
is being stored), or *leaving* (it will not start: it is failed or given back).
"""

import heapq
import math
from collections.abc import Iterable

from nalar.controllers.local_call import LocalCall, SharedSlot, State
from nalar.controllers.local_events import (
    Arrived,
    Directed,
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
    PeersChanged,
    Rejoined,
    Resume,
    Returned,
    Settled,
    Start,
    Stop,
    StopRequested,
    Ticked,
    Why,
)
from nalar.controllers.ranking import Rank, Ranking
from nalar.controllers.ready import ReadyQueues
from nalar.controllers.session_lines import SessionLines
from nalar.directives import Limit, Order, Pause, SetPriority
from nalar.ids import Ref

#: Deadlines of calls gone since that may stay in the heap beside as many as are held.
_STALE_DEADLINES = 10_000


class LocalState:
    """Everything a worker knows about the calls it holds."""

    def __init__(self, concurrency: int, *, metered: bool = False) -> None:
        self._concurrency = concurrency
        self._metered = metered
        self._running = 0
        self._held: dict[str, LocalCall] = {}
        self._ranking = Ranking()
        #: Queued calls that have their session.
        self._ready = ReadyQueues()
        #: Waiting calls whose future is there, first come first served, ahead of new calls.
        self._returning: dict[str, None] = {}
        self._settling = 0
        self._sessions = SessionLines()
        self._awaited: dict[Ref, list[str]] = {}
        self._deadlines: list[tuple[float, str]] = []
        self._arrivals = 0
        self._now_s = 0.0
        self._draining = False
        #: Where there is a meter: what stands elsewhere than when it asked last.
        self._moved: list[LocalCall] = []

    # What the shell asks.

    @property
    def load(self) -> int:
        """Calls that run or could run now: what prefetching is bounded by."""
        return self._running + self._ready.load + len(self._returning)

    @property
    def due_s(self) -> float | None:
        """When calls that wait for others to join them are to start: then time is to pass."""
        return self._ready.batching.due_s(self._now_s)

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
        counts = {state.name.lower(): 0 for state in State if state is not State.ENDED}
        for held in self._held.values():
            counts[held.state.name.lower()] += 1
        return counts

    @property
    def has_moved(self) -> bool:
        """Whether any call stands elsewhere than when `moved` was called last."""
        return bool(self._moved)

    def moved(self) -> list[LocalCall]:
        """Return the calls that stand elsewhere than when this was called last."""
        moved, self._moved = self._moved, []
        for held in moved:
            held.moved = False
        return moved

    def works(self, key: str) -> bool:
        """Say whether the call's code runs, or its record is being stored."""
        held = self._held.get(key)
        return held is not None and held.state in (State.RUNNING, State.SETTLING)

    def handle(  # noqa: C901 -- a closed union, one line each
        self, event: Event, at_s: float = 0.0
    ) -> list[Effect]:
        """Apply one event, of `at_s` if that is known; return its effects, oldest first."""
        effects: list[Effect] = []
        self._ready.now_s = self._now_s = max(self._now_s, at_s)
        match event:
            case Arrived():
                self._arrive(event, effects)
            case Ended(key, tokens):
                self._ready.rates.settle(key, tokens)
                self._forget(key)
            case Left(key):
                self._vacate(key, State.WAITING)
            case Returned(key):
                self._return(key, effects)
            case Finished(key):
                self._vacate(key, State.SETTLING)
            case Rejoined(key):
                self._rejoin(key, effects)
            case Settled():
                self._settle(event, effects)
            case Ticked(at_s):
                self._now_s = at_s
                self._ready.at(at_s)
                self._expire(effects)
            case LaneLost(keys):
                self._give_back(keys, effects)
            case StopRequested(key, why):
                self._stop(key, why, effects)
            case Directed() | PeersChanged():
                self._obey(event)
            case DrainBegan():
                self._draining = True
                self._give_back(self._held, effects)
        self._dispatch(effects)
        return effects

    # Transitions.

    def _move(self, held: LocalCall, state: State) -> None:
        held.state = state
        if not held.moved:
            held.moved = True
            self._moved.append(held)

    def _arrive(self, event: Arrived, effects: list[Effect]) -> None:
        if event.key in self._held:
            return
        self._ready.now_s = self._now_s = max(self._now_s, event.at_s)
        self._arrivals += 1
        held = LocalCall(event, self._arrivals, State.PARKED, moved=True)
        self._held[event.key] = held
        if self._metered:
            self._moved.append(held)
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

    def _queue(self, held: LocalCall) -> None:
        """Line the call up: at its session if another has it, else for a slot."""
        self._move(held, State.QUEUED)
        key, lock = held.arrival.key, held.arrival.lock
        held.rank = self._rank(held)
        if not held.arrival.missing:
            self._remember_deadline(held.arrival)
        if lock is None or self._sessions.enter(lock, key, held.rank):
            self._make_ready(held)
        else:
            held.blocked = True

    def _rank(self, held: LocalCall) -> Rank:
        arrival = held.arrival
        return self._ranking.rank(arrival.traits, arrival.priority, arrival.deadline, held.order)

    def _make_ready(self, held: LocalCall) -> None:
        arrival = held.arrival
        self._ready.put(arrival.key, arrival.traits, held.rank, arrival.batch, arrival.deadline)

    def _obey(self, event: Directed | PeersChanged) -> None:
        if isinstance(event, PeersChanged):
            self._ready.rates.share(event.workers, event.serving)
            return
        match event.directive:
            case Pause() as pause:
                self._ready.pause(pause, withdrawn=event.withdrawn)
            case Limit() as limit:
                self._ready.limit(limit, withdrawn=event.withdrawn)
            case SetPriority() as priority:
                self._ranking.set_priority(priority, withdrawn=event.withdrawn)
                self._rank_again()
            case Order() as order:
                self._ranking.set_order(order, withdrawn=event.withdrawn)
                self._rank_again()
            case _:
                pass  # The shell's business.

    def _rank_again(self) -> None:
        for held in self._held.values():
            if held.state is State.QUEUED and (rank := self._rank(held)) != held.rank:
                held.rank = rank
                if held.arrival.key in self._ready:
                    self._make_ready(held)
                elif held.arrival.lock is not None:
                    self._sessions.move(held.arrival.lock, held.arrival.key, rank)

    def _settle(self, event: Settled, effects: list[Effect]) -> None:
        for key in self._awaited.pop(event.ref, ()):
            held = self._held.get(key)
            if held is None or held.state is not State.PARKED:
                continue
            if not event.ok and event.ref != held.arrival.after:
                self._move(held, State.LEAVING)
                effects.append(Fail(key, event.ref))
                continue
            held.missing.discard(event.ref)
            if not held.missing:
                self._queue(held)

    def _vacate(self, key: str, state: State) -> None:
        """Free the slot of a call that has one, or asks for it again."""
        held = self._held[key]
        if held.state in (State.RUNNING, State.RETURNING, State.WAITING):
            self._leave_slot(held)
            self._returning.pop(key, None)
            self._move(held, state)
            self._settling += state is State.SETTLING

    def _return(self, key: str, effects: list[Effect]) -> None:
        held = self._held[key]
        if held.state is not State.WAITING:
            return
        self._move(held, State.RETURNING)
        self._returning[key] = None
        if held.stopped is not None:
            self._resume(key, effects)

    def _resume(self, key: str, effects: list[Effect]) -> None:
        """Let a call go on at once, even beyond the limit: it was told to stop."""
        self._rejoin(key, effects)
        effects.append(Resume(key))

    def _rejoin(self, key: str, effects: list[Effect]) -> None:
        held = self._held[key]
        if held.state in (State.WAITING, State.RETURNING, State.SETTLING):
            if held.state is State.SETTLING and held.stopped is not None:
                # It was to stop while its record was on its way, and that is not to be.
                effects.append(Stop(key, held.stopped))
            self._settling -= held.state is State.SETTLING
            self._returning.pop(key, None)
            held.shared = None  # It runs again, and alone.
            self._take_slot(held)

    def _take_slot(self, held: LocalCall) -> None:
        self._move(held, State.RUNNING)
        self._running += held.shared is None or held.shared.take()
        self._ready.began(held.arrival.traits)

    def _leave_slot(self, held: LocalCall) -> None:
        if held.state is State.RUNNING:
            self._running -= held.shared is None or held.shared.leave()
            self._ready.ended(held.arrival.traits)

    def _forget(self, key: str) -> None:
        held = self._held.pop(key, None)
        if held is None:
            return
        self._leave_slot(held)
        self._settling -= held.state is State.SETTLING
        self._returning.pop(key, None)
        self._release(held)
        self._move(held, State.ENDED)

    def _release(self, held: LocalCall) -> None:
        """Take the call out of its session's line; pass the session on if it had it."""
        key, lock = held.arrival.key, held.arrival.lock
        self._ready.discard(key)
        if lock is not None:
            successor = self._sessions.leave(lock, key, self._waits)
            if successor is not None:
                following = self._held[successor]
                following.blocked = False
                self._move(following, State.QUEUED)
                self._make_ready(following)

    def _waits(self, key: str, rank: Rank) -> bool:
        # One that was ranked again, or given back and has come again, left its place behind.
        held = self._held.get(key)
        return held is not None and held.rank == rank and held.state is State.QUEUED

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
            if held is None:
                continue
            if held.state in (State.PARKED, State.QUEUED):
                self._withdraw(held)
                effects.append(Expire(key))
            elif held.arrival.stop_at <= self._now_s:
                self._stop(key, "expired", effects)
            elif held.arrival.stop_at < math.inf:
                heapq.heappush(self._deadlines, (held.arrival.stop_at, key))

    def _stop(self, key: str, why: Why, effects: list[Effect]) -> None:
        """End a call before it has a result; one that is on its way out already is left alone."""
        held = self._held.get(key)
        if held is None or held.stopped is not None or held.state is State.LEAVING:
            return
        held.stopped = why
        if held.state is State.SETTLING:
            return  # A record is on its way: it decides, unless it is refused.
        if held.state in (State.PARKED, State.QUEUED):
            self._withdraw(held)
        elif held.state is State.RETURNING:
            self._resume(key, effects)
        effects.append(Stop(key, why))

    def _give_back(self, keys: Iterable[str], effects: list[Effect]) -> None:
        for key in list(keys):
            held = self._held.get(key)
            if held is not None and held.state in (State.PARKED, State.QUEUED):
                self._withdraw(held)
                effects.append(HandBack(key))

    def _withdraw(self, held: LocalCall) -> None:
        """Never start the call; it stays held until the shell reports that it has ended."""
        self._release(held)
        self._move(held, State.LEAVING)

    def _dispatch(self, effects: list[Effect]) -> None:
        """Hand out free slots: first to calls that come back, then to the queue."""
        while self._running < self._concurrency:
            if self._returning:
                key = next(iter(self._returning))
                del self._returning[key]
                effects.append(Resume(key))
                self._take_slot(self._held[key])
            elif (started := self._ready.pop()) is not None:
                self._start(self._held[started], effects)
            else:
                return

    def _start(self, first: LocalCall, effects: list[Effect]) -> None:
        """Start a call, and in the same slot those that make a batch with it."""
        arrival, keys = first.arrival, [first.arrival.key]
        if arrival.batch is None:
            effects.append(Start(keys[0]))
            self._take_slot(first)
            return
        shared = first.shared = SharedSlot()
        self._take_slot(first)
        while len(keys) < arrival.batch.size:
            if (key := self._ready.pop_beside(arrival.traits)) is None:
                break
            keys.append(key)
            self._held[key].shared = shared
            self._take_slot(self._held[key])
        effects.extend(Start(key, tuple(keys)) for key in keys)
