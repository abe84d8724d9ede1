"""The calls that could start but for an execution slot, and what holds them back. Pure.

Each agent has a queue of its own, so that one that is paused or at its limit is passed over at
once. A call whose tenant is at its limit is set aside until one of that tenant's has ended.
"""

import heapq
from collections import Counter, defaultdict

from nalar.controllers.ranking import Rank, Traits
from nalar.directives import Limit, Pause

_Place = tuple[Rank, str]


class ReadyQueues:
    """Calls by agent, in the order of their rank; counts what runs for the limits."""

    def __init__(self) -> None:
        self._queues: defaultdict[str | None, list[_Place]] = defaultdict(list)
        #: Where each call stands; entries of the heaps that say otherwise are stale.
        self._ranks: dict[str, Rank] = {}
        self._traits: dict[str, Traits] = {}
        self._aside: defaultdict[str, list[_Place]] = defaultdict(list)
        self._paused: set[str] = set()
        self._limits: dict[tuple[str, str | None], int] = {}
        self._running: Counter[tuple[str, str | None]] = Counter()

    def __len__(self) -> int:
        return len(self._ranks)

    def __contains__(self, key: object) -> bool:
        return key in self._ranks

    def put(self, key: str, traits: Traits, rank: Rank) -> None:
        """Line a call up, or change its place."""
        self._ranks[key] = rank
        self._traits[key] = traits
        heapq.heappush(self._queues[traits.agent], (rank, key))

    def discard(self, key: str) -> None:
        """Take a call out of the line, if it stands there."""
        self._ranks.pop(key, None)
        self._traits.pop(key, None)

    def pop(self) -> str | None:
        """Return the call that is to start now, and take it out of the line."""
        while self._ranks:
            heads = [head for agent in list(self._queues) if (head := self._head(agent))]
            if not heads:
                return None
            rank, key = min(heads)
            traits = self._traits[key]
            heapq.heappop(self._queues[traits.agent])
            if self._is_full("tenant", traits.tenant):
                heapq.heappush(self._aside[traits.tenant], (rank, key))
                continue
            self.discard(key)
            return key
        return None

    def _head(self, agent: str | None) -> _Place | None:
        """Return the first of an agent's queue, if it may start anything at all."""
        queue = self._queues[agent]
        while queue and self._ranks.get(queue[0][1]) != queue[0][0]:
            heapq.heappop(queue)
        if not queue:
            del self._queues[agent]
            return None
        if agent in self._paused or self._is_full("agent", agent):
            return None
        return queue[0]

    def _is_full(self, scope: str, name: str | None) -> bool:
        limit = self._limits.get((scope, name))
        return limit is not None and self._running[scope, name] >= limit

    # What runs, and what limits it.

    def began(self, traits: Traits) -> None:
        """A call takes a slot."""
        self._running["agent", traits.agent] += 1
        self._running["tenant", traits.tenant] += 1

    def ended(self, traits: Traits) -> None:
        """A call gives its slot up."""
        for counted in (("agent", traits.agent), ("tenant", traits.tenant)):
            self._running[counted] -= 1
            if not self._running[counted]:
                del self._running[counted]
        if traits.tenant in self._aside:
            self._take_back(traits.tenant)

    def _take_back(self, tenant: str) -> None:
        for rank, key in self._aside.pop(tenant, []):
            if self._ranks.get(key) == rank:
                heapq.heappush(self._queues[self._traits[key].agent], (rank, key))

    def pause(self, directive: Pause, *, withdrawn: bool = False) -> None:
        """Obey a directive, or no longer."""
        if withdrawn:
            self._paused.discard(directive.agent)
        else:
            self._paused.add(directive.agent)

    def limit(self, directive: Limit, *, withdrawn: bool = False) -> None:
        """Obey a directive, or no longer."""
        if withdrawn:
            self._limits.pop((directive.scope, directive.name), None)
        else:
            self._limits[directive.scope, directive.name] = directive.concurrency
        if directive.scope == "tenant":
            self._take_back(directive.name)
