"""How many messages a worker asks for, and from which lane. Pure.

A worker's capacity is its execution slots plus a window for prefetching; what is held and what
is asked for share it. Every lane keeps one ask open so that work is heard of, a private lane a few,
since nobody else could take what comes of them; the rest goes to the highest lane that has a
backlog, and one ask in eight to the lowest, so that none starves.

An ask says how busy its worker is: of all that are open, the server answers those of the idlest
first. A worker whose calls end asks once more, for what it said before is no longer true.
One that is to have a smaller share of an agent's calls says that it is busier than it is.
"""

from collections import Counter
from dataclasses import dataclass, field
from math import ceil

from nalar.bus.subjects import LEVELS

#: One ask in this many goes to the lowest lane that has work (DESIGN.md, section 3).
LOWEST_EVERY = 8
#: Asks that a private lane keeps open: one for each call would be a message to the server for each.
PRIVATE_ASKS = 16
#: And one for so many calls that the worker may hold, at the most.
_PRIVATE_SHARE = 8
#: Levels for a worker with free slots; the others are for those that prefetch.
_FREE_LEVELS = LEVELS - 2


@dataclass(slots=True)
class _Lane:
    name: str
    #: Higher is served first.
    rank: int
    #: Asks to keep open while nothing is known to wait.
    listening: int
    #: Served by this worker alone, whose level then says nothing.
    private: bool
    #: Of the calls that come, beside a worker of share 1; above 0.
    share: float = 1.0
    #: Asked for and not yet delivered or lapsed.
    asked: int = 0
    #: The same, by the level that was said.
    levels: list[int] = field(default_factory=lambda: [0] * LEVELS)
    #: What was asked for came, and did not lapse: more will.
    active: bool = False
    #: What the server said was still waiting when it last delivered.
    backlog: int = 0
    #: Nothing of it may start: nothing is asked for.
    muted: bool = False
    #: What was asked for beyond listening, as far as something waits that could come: asks stay
    #: open at the server long after a lane has run dry, and must not use up what others could have.
    charged: int = 0

    def lacks(self, level: int, room: int) -> int:
        """Return how many more to ask for: too few are open, or none says how idle its worker is.

        Where calls come, as many as keep the worker at its level: an ask is a message.
        """
        if self.muted:
            return 0
        if self.private:
            return max(0, self.listening - self.asked)
        is_full = level >= _FREE_LEVELS  # Then it is in no hurry.
        if self.asked >= self.listening and (is_full or any(self.levels[: level + 1])):
            return 0
        return room if self.active and not is_full else 1

    def answered(self, count: int) -> None:
        """So many asks are open no longer: those of the lowest level, since they go first."""
        self.asked -= count
        for level, open_ in enumerate(self.levels):
            gone = min(count, open_)
            self.levels[level] -= gone
            count -= gone
            if not count:
                return


@dataclass(frozen=True, slots=True)
class Ask:
    """Request `count` more messages from a lane."""

    lane: str
    count: int
    #: How busy the worker is, from 0 to LEVELS - 1.
    level: int = 0


def _felt(load: int, share: float) -> float:
    """Return as how many calls a worker of a share of less than 1 feels its own.

    The next one counts: idle workers would be alike otherwise, whatever their shares.
    """
    return (load + 1) / share - 1


class Credits:
    """The books of what was asked for, over all lanes of a worker."""

    def __init__(self, slots: int, window: int = 0) -> None:
        self._slots = slots
        self._capacity = slots + window
        #: Freed credits are spent together: an ask is a message to the server.
        self._batch = max(1, self._capacity // 4)
        #: The level that was last said, by the share of a lane.
        self._levels = {1.0: 0}
        self._lanes: dict[str, _Lane] = {}
        #: Those that other workers serve, too.
        self._shared: dict[str, _Lane] = {}
        #: Lanes with too few asks open.
        self._hungry: dict[str, _Lane] = {}
        #: Lanes where more waits than was asked for.
        self._behind: dict[str, _Lane] = {}
        #: What is charged, over all lanes.
        self._charged = 0
        self._asks = 0
        self._turn = 0

    def open(self, lane: str, rank: int, *, private: bool = False, share: float = 1.0) -> None:
        """Serve `lane` from now on; lanes of one rank take turns.

        A `private` lane is served by this worker alone. Of another, the worker is to get `share`
        times as many calls as one of share 1.
        """
        listening = max(1, min(PRIVATE_ASKS, self._capacity // _PRIVATE_SHARE)) if private else 1
        opened = _Lane(lane, rank, listening, private, share)
        self._lanes[lane] = self._hungry[lane] = opened
        if not private:
            self._shared[lane] = opened
        self._heed_shares()

    def close(self, lane: str) -> None:
        """Ask nothing more of `lane`."""
        for lanes in (self._hungry, self._behind, self._shared):
            lanes.pop(lane, None)
        gone = self._lanes.pop(lane, None)
        if gone is not None:
            self._charged -= gone.charged
            self._heed_shares()

    def mute(self, prefix: str, *, muted: bool) -> None:
        """Ask nothing of the lanes whose name begins so for a while, or listen to them again."""
        for name, lane in self._lanes.items():
            if name.startswith(prefix):
                lane.muted = muted
                self._hungry[name] = lane

    def delivered(self, lane: str, backlog: int) -> None:
        """One message asked of `lane` has come; `backlog` more wait behind it."""
        if (known := self._lanes.get(lane)) is not None:
            known.backlog = backlog
            known.active = True
            self._answered(known, 1)

    def lapsed(self, lane: str, count: int) -> None:
        """The server gave up on `count` messages asked of `lane`."""
        if (known := self._lanes.get(lane)) is not None:
            known.active = False
            self._answered(known, count)

    def asks(self, load: int) -> list[Ask]:
        """Return what to ask for now that `load` calls run or could run."""
        if load >= self._capacity:
            return []
        levels = self._levels
        hungry, self._hungry = self._hungry, {}
        for share, said in levels.items():
            levels[share] = self._level_of(load, share)
            if levels[share] < said:
                hungry |= self._shared  # What they were told is true no longer.
        wanted = [
            self._ask(lane, count, 0 if lane.private else level)
            for lane in hungry.values()
            if (count := lane.lacks(level := levels[lane.share], self._room(load, lane.share)))
        ]
        # An idle lane's asks are not charged: they only listen.
        spare = self._capacity - load - self._charged
        if spare >= self._batch and (lane := self._next()) is not None:
            wanted += self._ask_many(lane, spare, load)
        return wanted

    def _ask_many(self, lane: _Lane, count: int, load: int) -> list[Ask]:
        """Ask for each at the level that those before it will bring the worker to."""
        if lane.private:
            return [self._ask(lane, count, 0)]
        first = load + lane.asked
        levels = Counter(self._level_of(first + number, lane.share) for number in range(count))
        return [self._ask(lane, alike, level) for level, alike in levels.items()]

    def _level_of(self, load: int, share: float) -> int:
        """Return how busy so many calls make the worker, for asks of what others serve, too."""
        felt = load if share == 1 else _felt(load, share)
        if felt < self._slots:
            return int(felt * _FREE_LEVELS // self._slots)
        if load < self._slots:
            return _FREE_LEVELS - 1  # No call waits in another worker while a slot is free here.
        return _FREE_LEVELS + (2 * felt >= self._slots + self._capacity)

    def _room(self, load: int, share: float) -> int:
        """Return for how many more calls there is room at the worker's level."""
        level = self._levels[share]
        end = -(-(level + 1) * self._slots // _FREE_LEVELS)
        if share < 1 and level < _FREE_LEVELS - 1:
            end = ceil((end + 1) * share) - 1  # So many feel like `end`.
        return max(1, min(end, self._capacity - self._charged) - load)

    def _heed_shares(self) -> None:
        """Keep one level for each share that a lane has."""
        shares = {1.0, *(lane.share for lane in self._shared.values())}
        self._levels = {share: self._levels.get(share, 0) for share in shares}

    def _ask(self, lane: _Lane, count: int, level: int) -> Ask:
        lane.asked += count
        lane.levels[level] += count
        self._weigh(lane)
        return Ask(lane.name, count, level)

    def _answered(self, lane: _Lane, count: int) -> None:
        lane.answered(min(count, lane.asked))
        self._weigh(lane)
        if not lane.private or lane.asked <= lane.listening // 2:
            self._hungry[lane.name] = lane

    def _weigh(self, lane: _Lane) -> None:
        """Enter what a lane has asked for, and what waits there, into the books."""
        charged = min(max(0, lane.asked - lane.listening), lane.backlog)
        self._charged += charged - lane.charged
        lane.charged = charged
        if lane.backlog > lane.asked:
            self._behind[lane.name] = lane
        else:
            self._behind.pop(lane.name, None)

    def _next(self) -> _Lane | None:
        """Choose the lane that gets the spare credits, or None when no lane has a backlog."""
        waiting = [lane for lane in self._behind.values() if not lane.muted]
        if not waiting:
            return None
        self._asks += 1
        ranks = [lane.rank for lane in waiting]
        rank = min(ranks) if self._asks % LOWEST_EVERY == 0 else max(ranks)
        candidates = [lane for lane in waiting if lane.rank == rank]
        self._turn += 1
        return candidates[self._turn % len(candidates)]
