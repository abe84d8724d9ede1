"""Sessions with calls that wait, by agent, the one that has waited longest first. Pure.

Putting one in or taking it out costs the logarithm of how many there are; reading the first few
costs only those few. So a decision pays for what it looks at, however many wait.
"""

import heapq
from collections.abc import Iterator

from nalar.ids import AgentName, SessionId

#: A session of an agent.
SessionKey = tuple[AgentName, SessionId]
#: Since when a session waits, and which.
_Place = tuple[float, SessionId]
#: A heap may hold so many stale places for each live one before it is built anew.
_STALE_SHARE = 2
_STALE_MIN = 64


class WaitingSessions:
    """Keeps sessions in the order of how long they have waited."""

    def __init__(self) -> None:
        self._since: dict[AgentName, dict[SessionId, float]] = {}
        #: Heaps; a place that does not agree with `_since` is stale.
        self._heaps: dict[AgentName, list[_Place]] = {}

    def put(self, key: SessionKey, since_s: float) -> None:
        """A session waits since then."""
        agent, session = key
        since = self._since.setdefault(agent, {})
        if since.get(session) == since_s:
            return
        since[session] = since_s
        heap = self._heaps.setdefault(agent, [])
        heapq.heappush(heap, (since_s, session))
        if len(heap) > _STALE_SHARE * len(since) + _STALE_MIN:
            heap[:] = [(at, name) for name, at in since.items()]
            heapq.heapify(heap)

    def discard(self, key: SessionKey) -> None:
        """A session does not wait, or no longer."""
        agent, session = key
        since = self._since.get(agent)
        if since is not None and since.pop(session, None) is not None and not since:
            del self._since[agent], self._heaps[agent]

    def oldest_first(self, agent: AgentName) -> Iterator[SessionId]:
        """Yield an agent's sessions that wait; they must not change meanwhile."""
        since, heap = self._since.get(agent, {}), self._heaps.get(agent, [])
        last: _Place | None = None
        # Places of the heap whose parents have been yielded: the least of them is next.
        front = [(heap[0], 0)] if heap else []
        while front:
            place, index = heapq.heappop(front)
            for child in (2 * index + 1, 2 * index + 2):
                if child < len(heap):
                    heapq.heappush(front, (heap[child], child))
            if since.get(place[1]) == place[0] and place != last:
                last = place  # The same place may be there twice: a session that came back.
                yield place[1]
