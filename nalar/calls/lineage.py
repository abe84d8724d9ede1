"""The calls that one caller has made: what names them and in which order they must run. Pure."""

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from nalar.bus.codec import decode_record
from nalar.errors import MalformedMessage
from nalar.futures import Future
from nalar.ids import FutureId, Ref, again_id, child_id
from nalar.statestore.port import LedgerEntry


class Lineage:
    """The children of one running call, or the requests of one client.

    Safe to use from several threads: synchronous code may call from its own.
    """

    def __init__(
        self,
        parent: str,
        recorded: Mapping[FutureId, LedgerEntry] | None = None,
        *,
        failed_upto: int = 0,
    ) -> None:
        #: The future that makes the calls, or the client's name.
        self.parent = parent
        #: Records of children that an earlier attempt of this caller had finished.
        self.recorded = recorded or {}
        #: True when an earlier attempt may have made the same calls already.
        self.resumed = recorded is not None
        #: Children whose error stands up to here in the ledger had failed before this attempt of
        #: the caller began: it makes them again.
        self._failed_upto = failed_upto
        self._lock = threading.Lock()
        self._occurrences: Counter[tuple[str, bytes]] = Counter()
        #: The last state-changing call at each `agent/session`, while it is pending.
        self._latest: dict[str, Future[Any]] = {}

    def name(self, target: str, canonical: bytes, key: str | None) -> FutureId:
        """Return the id of the next call of `target` with these arguments.

        Identical calls are numbered; a call with a `key` has the key for a number.
        """
        if key is not None:
            return self._generation(child_id(self.parent, target, canonical, key))
        with self._lock:
            occurrence = self._occurrences[target, canonical]
            self._occurrences[target, canonical] += 1
        return self._generation(child_id(self.parent, target, canonical, occurrence))

    def _generation(self, child: FutureId) -> FutureId:
        """Return the id under which a retried caller makes `child`: anew if it had failed.

        What an error of this very attempt was keeps its id, so that a caller that is resumed
        sees it again.
        """
        name, generation = child, 1
        while self._failed_before(name):
            generation += 1
            name = again_id(child, generation)
        return name

    def _failed_before(self, name: FutureId) -> bool:
        entry = self.recorded.get(name) if self._failed_upto else None
        if entry is None or entry.revision > self._failed_upto:
            return False
        try:
            return decode_record(entry.ref, entry.body).error is not None
        except MalformedMessage:
            return False  # Whoever reads its result is told.

    def follow(self, future: Future[Any], place: str, *, writes: bool) -> Ref | None:
        """Return this caller's last state-changing call at `place` (`agent/session`), if any.

        None when its record is known to stand. `writes`: `future` is now that last call.
        """
        with self._lock:
            before = self._latest.get(place)
            if writes:
                self._latest[place] = future
        if writes:
            future.add_done_callback(lambda done: self._forget(place, done))
        return before.ref if before is not None and not before.done() else None

    def _forget(self, place: str, done: Future[Any]) -> None:
        with self._lock:
            if self._latest.get(place) is done:
                del self._latest[place]
