"""Where the items of a changed list come from: a piece table, so a change costs what it changes.

Pure bookkeeping on positions; values are the caller's. "Base" is the list at the last commit.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import NamedTuple

#: Above this many pieces the list counts as rewritten: comparing once is cheaper then.
PIECES_MAX = 1024
#: Origin of a piece that is not part of the base.
_NEW = -1


class Edit(NamedTuple):
    """`base[start : start + remove]` became `items[at : at + insert]`."""

    at: int
    start: int
    remove: int
    insert: int


class Pieces:
    """The current list as runs of the base and of new items, left to right.

    Runs of the base stay in the base's order, so what an index of the base has become, and
    what has to be spliced, is found by walking a handful of runs.
    """

    __slots__ = ("_runs", "base_size", "size", "stale", "touched")

    def __init__(self, size: int) -> None:
        self.base_size = size
        self.size = size
        #: Base indices whose item was replaced or may have been changed in place.
        self.touched: set[int] = set()
        #: Base indices whose item is to be made again from JSON before anyone sees it.
        self.stale: set[int] = set()
        self._runs: list[tuple[int, int]] = [(0, size)] if size else []

    @property
    def crowded(self) -> bool:
        """Say whether `rewrite` is due."""
        return len(self._runs) > PIECES_MAX

    def origin(self, index: int) -> int | None:
        """Return the base index of the item at `index`, or None when it is new."""
        for start, size in self._runs:
            if index < size:
                return None if start == _NEW else start + index
            index -= size
        return None

    def kept(self, begin: int = 0, end: int | None = None) -> Iterator[tuple[int, int, int]]:
        """Yield (current index, base index, size) of each run of the base between the two."""
        at = 0
        stop = self.size if end is None else end
        for start, size in self._runs:
            low, high = max(begin, at), min(stop, at + size)
            if start != _NEW and low < high:
                yield low, start + low - at, high - low
            at += size

    def find(self, origins: set[int]) -> Iterator[tuple[int, int]]:
        """Yield (current index, base index) of those base indices that are still there."""
        if not origins:
            return
        ordered = sorted(origins)
        for at, start, size in self.kept():
            for place in range(bisect_left(ordered, start), bisect_left(ordered, start + size)):
                yield at + ordered[place] - start, ordered[place]

    def rewrite(self) -> None:
        """Forget what came from where: all items count as new."""
        self.touched.clear()
        self.stale.clear()
        self._runs = [(_NEW, self.size)] if self.size else []

    def splice(self, at: int, remove: int, insert: int) -> None:
        """Note that `remove` items at `at` were replaced by `insert` new ones."""
        runs = self._runs
        if remove == 0 and at == self.size and runs and runs[-1][0] == _NEW:
            runs[-1] = (_NEW, runs[-1][1] + insert)  # Consecutive appends: the usual case.
        else:
            first, before = self._locate(at)
            last, end = self._locate(at + remove)
            middle = [(_NEW, insert)]
            if before:
                middle.insert(0, (runs[first][0], before))
            if end:
                start, size = runs[last]
                middle.append((start if start == _NEW else start + end, size - end))
            # The neighbours take part, because they may continue what is now beside them.
            low, high = max(first - 1, 0), last + (2 if end else 1)
            runs[low:high] = _joined([*runs[low:first], *middle, *runs[last + bool(end) : high]])
        self.size += insert - remove

    def _locate(self, index: int) -> tuple[int, int]:
        """Return the run in which `index` lies, and how far into it; (runs, 0) for the end."""
        for place, (_, size) in enumerate(self._runs):
            if index < size:
                return place, index
            index -= size
        return len(self._runs), 0

    def edits(self, changed: Iterable[tuple[int, int]]) -> list[Edit]:
        """Return what turns the base into the current list, left to right, neighbours merged.

        `changed` are the (current index, base index) of items that changed in place. Done in
        this order, each edit's `at` is right when its turn comes.
        """
        found = [Edit(at, origin, 1, 1) for at, origin in changed]
        at = next_base = 0
        for start, size in [*self._runs, (self.base_size, 0)]:
            if start == _NEW:
                found.append(Edit(at, next_base, 0, size))
            else:
                found.append(Edit(at, next_base, start - next_base, 0))
                next_base = start + size
            at += size
        merged: list[Edit] = []
        for edit in sorted(edit for edit in found if edit.remove or edit.insert):
            last = merged[-1] if merged else None
            if last and (last.at + last.insert, last.start + last.remove) == edit[:2]:
                merged[-1] = Edit(
                    last.at, last.start, last.remove + edit.remove, last.insert + edit.insert
                )
            else:
                merged.append(edit)
        return merged

    def rebase(self, *, hand_back: bool) -> None:
        """Make the current list the base; with `hand_back`, what was out or new is stale."""
        if hand_back:
            if all(at == start for at, start, _ in self.kept()):
                if self.size < self.base_size:
                    self.stale = {origin for origin in self.stale if origin < self.size}
                stale = self.stale
            else:
                stale = {at for at, _ in self.find(self.stale)}
            stale.update(at for at, _ in self.find(self.touched))
            at = 0
            for start, size in self._runs:
                if start == _NEW:
                    stale.update(range(at, at + size))
                at += size
            self.stale = stale
        self.touched.clear()
        self.base_size = self.size
        self._runs = [(0, self.size)] if self.size else []


def _joined(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Drop empty runs and merge neighbours that continue each other."""
    joined: list[tuple[int, int]] = []
    for start, size in runs:
        if not size:
            continue
        last = joined[-1] if joined else None
        if last and (
            start == last[0] == _NEW
            or (start != _NEW and last[0] != _NEW and last[0] + last[1] == start)
        ):
            joined[-1] = (last[0], last[1] + size)
        else:
            joined.append((start, size))
    return joined
