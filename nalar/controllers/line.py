"""Calls that wait in one place, by their arrival. Pure."""

import heapq
from typing import Final

from nalar.controllers.local_call import LocalCall

#: Entries of calls that wait no longer which may stay in a line beside as many as wait.
_STALE_MAX: Final = 64


class Line:
    """A line of calls, as the meter counts them."""

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
            self._heap = [it for it in self._heap if _waits(it[2])]
            heapq.heapify(self._heap)

    def oldest_at(self) -> float:
        """Return when the oldest of them arrived; 0 with none."""
        while self._heap and not _waits(self._heap[0][2]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else 0.0


def _waits(call: LocalCall) -> bool:
    return call.counted is not None and call.counted.waits
