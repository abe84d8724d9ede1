"""Sessions that calls have to themselves: who has each, and who is next. Pure."""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from nalar.controllers.ranking import Rank


@dataclass(slots=True)
class _Line:
    """A session: who has it, and who waits for it."""

    holder: str
    waiting: list[tuple[Rank, str]] = field(default_factory=list[tuple[Rank, str]])


class SessionLines:
    """The line of calls at each session; places that were left are skipped in their turn."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    def enter(self, lock: str, key: str, rank: Rank) -> bool:
        """Line a call up; return whether it has the session at once."""
        line = self._lines.get(lock)
        if line is None:
            self._lines[lock] = _Line(key)
            return True
        heapq.heappush(line.waiting, (rank, key))
        return False

    def move(self, lock: str, key: str, rank: Rank) -> None:
        """Give a call that waits another place; its old one counts as left."""
        heapq.heappush(self._lines[lock].waiting, (rank, key))

    def holder(self, lock: str) -> str | None:
        """Return the call that has the session."""
        line = self._lines.get(lock)
        return None if line is None else line.holder

    def leave(self, lock: str, key: str, waits: Callable[[str, Rank], bool]) -> str | None:
        """The call is gone: if it had the session, pass that on, and return who has it now.

        `waits` says whether a call still waits in the place with this rank.
        """
        line = self._lines.get(lock)
        if line is None or line.holder != key:
            return None
        while line.waiting:
            rank, successor = heapq.heappop(line.waiting)
            if waits(successor, rank):
                line.holder = successor
                return successor
        del self._lines[lock]
        return None

    def holders(self) -> Iterator[tuple[str, str]]:
        """Return each session with the call that has it."""
        return ((lock, line.holder) for lock, line in self._lines.items())
