"""The calls that could start but for an execution slot, and what holds them back. Pure.

Each agent has a queue of its own, so that one that is paused or at its limit is passed over at
once; so has each of its methods that gathers calls (`batching` says when those may start). A call
whose tenant is at its limit is set aside until one of that tenant's has ended; one that a rate
holds back, until time has passed. Limits count calls, however few runs those make.
"""

import heapq
import math
from collections import Counter, defaultdict
from typing import Final

from nalar.call_policy import Batch
from nalar.controllers.batching import Batching, Line
from nalar.controllers.ranking import Rank, Traits
from nalar.controllers.rates import LimitKey, Rates
from nalar.directives import Limit, LimitScope, Pause

_Place = tuple[Rank, str]

#: Calls that time lines up again for one limit at once, at the least.
_BACK_MIN: Final = 64


class ReadyQueues:
    """Calls by agent, in the order of their rank; counts what runs for the limits."""

    def __init__(self) -> None:
        self._queues: defaultdict[Line, list[_Place]] = defaultdict(list)
        #: What is known of those whose calls start several at a time.
        self.batching = Batching()
        #: Where each call stands; entries of the heaps that say otherwise are stale.
        self._ranks: dict[str, Rank] = {}
        self._traits: dict[str, Traits] = {}
        #: Of a call that gathers: how, and until when it must start.
        self._untils: dict[str, tuple[Batch, float]] = {}
        self.now_s = 0.0
        #: By the limit that holds them back.
        self._aside: defaultdict[LimitKey, list[_Place]] = defaultdict(list)
        self._paused: set[str] = set()
        self._limits: dict[LimitKey, int] = {}
        self.rates = Rates()
        self._running: Counter[LimitKey] = Counter()

    def __len__(self) -> int:
        return len(self._ranks)

    def __contains__(self, key: object) -> bool:
        return key in self._ranks

    @property
    def load(self) -> int:
        """How many runs the calls here make; those that gather count by batches that are full."""
        return len(self._ranks) - self.batching.spared

    def put(
        self,
        key: str,
        traits: Traits,
        rank: Rank,
        batch: Batch | None = None,
        until_s: float = math.inf,
    ) -> None:
        """Line a call up that must start by `until_s`, or change its place."""
        self._ranks[key] = rank
        self._traits[key] = traits
        self._untils.pop(key, None)
        if batch is not None:
            self._untils[key] = (batch, until_s)
        self._line_up(key, rank)

    def _line_up(self, key: str, rank: Rank) -> None:
        traits = self._traits[key]
        if (gathers := self._untils.get(key)) is not None:
            batch, until_s = gathers
            self.batching.put(key, traits, batch, self.now_s, until_s)
        heapq.heappush(self._queues[self.batching.line(key, traits)], (rank, key))

    def discard(self, key: str) -> None:
        """Take a call out of the line, if it stands there."""
        self._ranks.pop(key, None)
        self._traits.pop(key, None)
        self._untils.pop(key, None)
        self.batching.discard(key)

    def pop(self) -> str | None:
        """Return the call that is to start now, and take it out of the line."""
        while self._ranks:
            lines = [line for line in self._queues if self.batching.is_ripe(line, self.now_s)]
            heads = [head for line in lines if (head := self._head(line))]
            if not heads:
                return None
            if (key := self._take(*min(heads))) is not None:
                return key
        return None

    def pop_beside(self, traits: Traits) -> str | None:
        """Return the next call that starts in one batch with one like this, and take it out."""
        line = (traits.agent, traits.method)
        while line in self._queues and (head := self._head(line)):
            if (key := self._take(*head)) is not None:
                return key
        return None

    def _take(self, rank: Rank, key: str) -> str | None:
        """Take the first of a line out of it; return it unless a limit holds it back."""
        traits = self._traits[key]
        heapq.heappop(self._queues[self.batching.line(key, traits)])
        if (limit := self._held_back(traits)) is not None:
            heapq.heappush(self._aside[limit], (rank, key))
            self.batching.set_aside(key)
            return None
        self.discard(key)
        self.rates.reserve(key, traits)
        return key

    def _head(self, line: Line) -> _Place | None:
        """Return the first of a line, if its agent may start anything at all."""
        queue, agent = self._queues[line], line[0]
        while queue and self._ranks.get(queue[0][1]) != queue[0][0]:
            heapq.heappop(queue)
        if not queue:
            del self._queues[line]
            return None
        if agent in self._paused or self._is_full("agent", agent):
            return None
        if self.rates.is_empty(("agent", agent)):
            return None
        return queue[0]

    def _held_back(self, traits: Traits) -> LimitKey | None:
        """Return the limit that keeps such a call from starting now, if one does."""
        if self._is_full("tenant", traits.tenant):
            return ("tenant", traits.tenant)
        return self.rates.empty(traits)

    def _is_full(self, scope: LimitScope, name: str | None) -> bool:
        limit = self._limits.get((scope, name))
        return limit is not None and self._running[scope, name] >= limit

    # What runs, and what limits it.

    def began(self, traits: Traits) -> None:
        """A call takes a slot."""
        self._running["agent", traits.agent] += 1
        self._running["tenant", traits.tenant] += 1

    def ended(self, traits: Traits) -> None:
        """A call gives its slot up."""
        keys: tuple[LimitKey, LimitKey] = (("agent", traits.agent), ("tenant", traits.tenant))
        for counted in keys:
            self._running[counted] -= 1
            if not self._running[counted]:
                del self._running[counted]
        if ("tenant", traits.tenant) in self._aside:
            self._take_back(("tenant", traits.tenant), 1)

    def _take_back(self, limit: LimitKey, most: int) -> None:
        """Line the first calls up again that a limit has held back."""
        aside = self._aside[limit]
        while aside and most:
            rank, key = heapq.heappop(aside)
            if self._ranks.get(key) == rank:
                self._line_up(key, rank)
                most -= 1
        if not aside:
            del self._aside[limit]

    def at(self, now_s: float) -> None:
        """Time has passed: line those up again that rates may let start now."""
        self.now_s = now_s
        self.rates.at(now_s)
        for limit in list(self._aside):
            if not self._is_full(*limit) and not self.rates.is_empty(limit):
                self._take_back(limit, max(_BACK_MIN, self.rates.room(limit)))

    def pause(self, directive: Pause, *, withdrawn: bool = False) -> None:
        """Obey a directive, or no longer."""
        if withdrawn:
            self._paused.discard(directive.agent)
        else:
            self._paused.add(directive.agent)

    def limit(self, directive: Limit, *, withdrawn: bool = False) -> None:
        """Obey a directive, or no longer."""
        key: LimitKey = (directive.scope, directive.name)
        if withdrawn or directive.concurrency is None:
            self._limits.pop(key, None)
        else:
            self._limits[key] = directive.concurrency
        self.rates.limit(directive, withdrawn=withdrawn)
        if key in self._aside:
            self._take_back(key, len(self._aside[key]))
