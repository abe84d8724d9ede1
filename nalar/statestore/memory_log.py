"""What the ledger in memory keeps: records by key and by session, archived ones apart.

And who is told of what is stored; see `nalar.statestore.memory`.
"""

import asyncio
import bisect
import heapq
import math
from collections.abc import Callable
from itertools import takewhile
from typing import Any, Generic, TypeVar

from nalar.bus import subjects
from nalar.ids import Ref
from nalar.statestore.port import KeyValueEntry, LedgerEntry

#: The server's shortest time to live; shorter ones are rounded up.
TTL_MIN_S = 1.0

Stored = TypeVar("Stored", LedgerEntry, KeyValueEntry)


class Watches(Generic[Stored]):
    """Who wants to hear of what; told on the loop, soon, in the order of storing."""

    def __init__(self) -> None:
        self._open: dict[MemoryWatch, tuple[Callable[[Stored], bool], Callable[[Stored], None]]]
        self._open = {}

    def add(
        self, wanted: Callable[[Stored], bool], deliver: Callable[[Stored], None]
    ) -> "MemoryWatch":
        watch = MemoryWatch(self._open)
        self._open[watch] = (wanted, deliver)
        return watch

    def announce(self, entry: Stored) -> None:
        loop = asyncio.get_running_loop()
        for watch, (wanted, deliver) in self._open.items():
            if wanted(entry):
                loop.call_soon(self._tell, watch, deliver, entry)

    def _tell(self, watch: "MemoryWatch", deliver: Callable[[Stored], None], entry: Stored) -> None:
        if watch in self._open:
            deliver(entry)


class MemoryWatch:
    """`statestore.port.Watch` in memory."""

    def __init__(self, watches: dict["MemoryWatch", Any]) -> None:
        self._watches = watches

    def close(self) -> None:
        self._watches.pop(self, None)


class MemoryLog:
    """The records of one bucket: by key, by session, and what expires when."""

    def __init__(self) -> None:
        #: In the order of storing.
        self.entries: dict[str, LedgerEntry] = {}
        self.sessions: dict[str, list[LedgerEntry]] = {}
        self.watches: Watches[LedgerEntry] = Watches()
        #: Copies of records that left their session's log or are about to, by the ref's text.
        self.archived: dict[str, LedgerEntry] = {}
        #: When what expires, and where it stands.
        self._expiry: list[tuple[float, str, bool]] = []
        #: When each entry was stored, by the loop's clock, and its revision; oldest first.
        self._stored: list[tuple[float, int]] = []

    def revision_before(self, at_s: float) -> int:
        """Return the revision of the first entry stored at `at_s` or later."""
        at = bisect.bisect_left(self._stored, (at_s, 0))
        if at < len(self._stored):
            return self._stored[at][1]
        return self._stored[-1][1] + 1 if self._stored else 1

    def newest(self, ref: Ref) -> int:
        """Return the revision that a commit of `ref` is compared with."""
        self.expire()
        if ref.effect == "s":
            log = self.sessions.get(_fence(ref))
            return log[-1].revision if log else 0
        entry = self.entries.get(str(ref))
        return entry.revision if entry else 0

    def store(self, entry: LedgerEntry, ttl_s: float) -> None:
        ref = entry.ref
        self.entries[str(ref)] = entry
        self._stored.append((asyncio.get_running_loop().time(), entry.revision))
        if ref.effect == "s":
            self.sessions.setdefault(_fence(ref), []).append(entry)
        else:
            self._expires(str(ref), ttl_s, archived=False)
        self.watches.announce(entry)

    def archive(self, entry: LedgerEntry, ttl_s: float) -> None:
        """Keep a copy of `entry` unless there is one; nobody is told."""
        self.expire()
        if str(entry.ref) not in self.archived:
            self.archived[str(entry.ref)] = entry
            self._expires(str(entry.ref), ttl_s, archived=True)

    def get(self, ref: Ref) -> LedgerEntry | None:
        self.expire()
        return self.entries.get(str(ref)) or self.archived.get(str(ref))

    def histories(self) -> list[list[LedgerEntry]]:
        """Return all entries of each session, archived ones too, oldest first."""
        found: list[list[LedgerEntry]] = []
        for fence, log in self.sessions.items():
            archived = {it.revision: it for it in self.archived.values() if _fence(it.ref) == fence}
            whole = archived | {entry.revision: entry for entry in log}
            found.append([whole[revision] for revision in sorted(whole)])
        return found

    def matching(self, pattern: str, after: int) -> list[LedgerEntry]:
        """Return what matches and has a higher revision, oldest first."""
        self.expire()
        wanted = tuple(pattern.split("."))
        # They are in the order of storing; what is new stands at the end of many.
        newest_first = reversed(self.entries.values())
        newer = list(takewhile(lambda entry: entry.revision > after, newest_first))
        archived = [
            entry
            for key, entry in self.archived.items()
            if entry.revision > after and key not in self.entries
        ]
        return sorted(
            (
                entry
                for entry in newer + archived
                if subjects.matches(wanted, tuple(str(entry.ref).split(".")))
            ),
            key=lambda entry: entry.revision,
        )

    def _expires(self, key: str, ttl_s: float, *, archived: bool) -> None:
        until = asyncio.get_running_loop().time() + max(TTL_MIN_S, math.ceil(ttl_s))
        heapq.heappush(self._expiry, (until, key, archived))

    def expire(self) -> None:
        """Drop what has outlived its time; nobody is told."""
        now = asyncio.get_running_loop().time()
        while self._expiry and self._expiry[0][0] <= now:
            _, key, archived = heapq.heappop(self._expiry)
            (self.archived if archived else self.entries).pop(key, None)


def _fence(ref: Ref) -> str:
    return subjects.session_fence(ref.agent, ref.session)
