"""When calls that gather may start: as a full batch, or once one has waited long enough. Pure.

Which of them go first, and whether a limit holds them back, is the business of `ready`.
"""

import heapq
from dataclasses import dataclass, field
from typing import Final

from nalar.call_policy import Batch
from nalar.controllers.ranking import Traits
from nalar.ids import AgentName

#: Calls that stand in one queue: an agent's, or those of one method that gathers them.
Line = tuple[AgentName | None, str | None]

#: Times of calls gone since that may stay in a heap beside as many as stand in the line.
_STALE: Final = 64


@dataclass(slots=True)
class _Gathered:
    """A call that waits for others."""

    line: Line
    since_s: float
    due_s: float
    #: A limit holds it back: it stands in no line.
    aside: bool = False


@dataclass(slots=True)
class _Gathers:
    """A line whose calls start several at a time."""

    batch: Batch
    count: int = 0
    #: When each call is due, since when it waits, and its key; some are gone since.
    times: list[tuple[float, float, str]] = field(default_factory=list[tuple[float, float, str]])


class Batching:
    """The lines whose calls start several at a time: who stands there, and until when."""

    def __init__(self) -> None:
        self._calls: dict[str, _Gathered] = {}
        self._lines: dict[Line, _Gathers] = {}

    def line(self, key: str, traits: Traits) -> Line:
        """Return the line that a call stands in."""
        call = self._calls.get(key)
        return (traits.agent, None) if call is None else call.line

    def put(self, key: str, traits: Traits, batch: Batch, now_s: float, until_s: float) -> None:
        """A call is ready that must start by `until_s`; one that changes its place waits on.

        Less than half of the time that it has left is spent on waiting for others.
        """
        call = self._calls.get(key)
        if call is not None and not call.aside:
            return
        due_s = now_s + min(batch.linger_s, max(0.0, until_s - now_s) / 2)
        line = (traits.agent, traits.method)
        self._calls[key] = _Gathered(line, now_s, due_s)
        known = self._lines.setdefault(line, _Gathers(batch))
        known.batch = batch
        known.count += 1
        heapq.heappush(known.times, (due_s, now_s, key))

    def set_aside(self, key: str) -> None:
        """A limit holds the call back: nobody waits for it, and it waits anew when it is put."""
        call = self._calls.get(key)
        if call is not None and not call.aside:
            call.aside = True
            self._left(call.line)

    def discard(self, key: str) -> None:
        """A call is ready no longer."""
        call = self._calls.pop(key, None)
        if call is not None and not call.aside:
            self._left(call.line)

    def _left(self, line: Line) -> None:
        known = self._lines[line]
        known.count -= 1
        if not known.count:
            del self._lines[line]
        elif len(known.times) > 2 * known.count + _STALE:
            known.times = [entry for entry in known.times if self._stands(entry)]
            heapq.heapify(known.times)

    def _stands(self, entry: tuple[float, float, str]) -> bool:
        due_s, since_s, key = entry
        call = self._calls.get(key)
        return (
            call is not None
            and not call.aside
            and call.due_s == due_s
            and call.since_s == since_s
        )  # fmt: skip

    def is_ripe(self, line: Line, now_s: float) -> bool:
        """Say whether the first of a line may start: it gathers nothing, is full, or is due."""
        known = self._lines.get(line)
        if known is None or known.count >= known.batch.size:
            return True
        due_s, since_s = self._first(known)
        # One that waits since later than now: the clock was set back.
        return due_s <= now_s or since_s > now_s

    def due_s(self, now_s: float) -> float | None:
        """Return when the next line is due that is not ripe yet; None when all are."""
        unripe = [
            self._first(known)[0]
            for line, known in self._lines.items()
            if not self.is_ripe(line, now_s)
        ]
        return min(unripe, default=None)

    def _first(self, known: _Gathers) -> tuple[float, float]:
        while not self._stands(known.times[0]):
            heapq.heappop(known.times)
        return known.times[0][:2]

    @property
    def spared(self) -> int:
        """How many calls here count as no run of their own: all but one of each full batch.

        Nor does any of a batch that is not full: more may come at no cost, and are asked for.
        """
        return sum(known.count - known.count // known.batch.size for known in self._lines.values())
