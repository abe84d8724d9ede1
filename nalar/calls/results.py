"""Waiting for records: what futures of a client and parked calls of a worker share.

A record is expected by its ref. It comes by the ledger's announcement; should that be lost, it
is read: once for the race when nothing covered the ref before the call was published, again on
every reconnect, and every few seconds, in turns, for whatever is awaited.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from itertools import islice

from nalar.bus.port import Watch
from nalar.calls.seen import Seen
from nalar.errors import NalarError
from nalar.ids import Ref
from nalar.statestore.port import Ledger, LedgerEntry

log = logging.getLogger("nalar.calls.results")

Notify = Callable[[LedgerEntry], None]

#: Refs asked for in one read.
_READ_MAX = 256


class Results:
    """The records that this process awaits. All methods run on its event loop."""

    def __init__(self, ledger: Ledger, *, reread_s: float, chance: random.Random) -> None:
        self._ledger = ledger
        self._reread_s = reread_s
        self._chance = chance
        self.seen = Seen()
        #: In the order in which they are to be read again; new ones come last.
        self._expected: dict[Ref, list[Notify]] = {}
        self._watches: dict[Ref, Watch] = {}
        #: Refs whose record may have been stored before anyone watched, in order: a set's would
        #: differ from process to process, and a simulation could not be repeated.
        self._unread: dict[Ref, None] = {}
        self._wake = asyncio.Event()
        self._read_all = False

    def cover(self, pattern: str) -> Watch:
        """Watch a pattern of refs; expectations it covers need no watch of their own."""
        return self._ledger.watch(pattern, self.announce)

    def expect(self, ref: Ref, notify: Notify, *, covered: bool) -> None:
        """Call `notify` once, when the record of `ref` stands.

        `covered`: a watch that was opened before the call was published announces it.
        """
        listeners = self._expected.get(ref)
        if listeners is not None:
            listeners.append(notify)
            return
        self._expected[ref] = [notify]
        if not covered:
            self._watches[ref] = self._ledger.watch(str(ref), self.announce)
            self._unread[ref] = None
            self._wake.set()

    def forget(self, ref: Ref) -> None:
        """Expect `ref` no longer, whoever asked."""
        self._expected.pop(ref, None)
        self._unread.pop(ref, None)
        watch = self._watches.pop(ref, None)
        if watch is not None:
            watch.close()

    def abandon(self, ref: Ref, notify: Notify) -> None:
        """Call `notify` no more: who asked has ended. Others who expect `ref` still hear of it."""
        listeners = self._expected.get(ref)
        if listeners is None or notify not in listeners:
            return
        listeners.remove(notify)
        if not listeners:
            self.forget(ref)

    def read_soon(self, ref: Ref) -> None:
        """Read the record of an expected ref now rather than at the next turn."""
        if ref in self._expected:
            self._unread[ref] = None
            self._wake.set()

    def reconnected(self) -> None:
        """Read everything again: announcements were lost while the connection was down."""
        self._read_all = True
        self._wake.set()

    def __len__(self) -> int:
        return len(self._expected)

    async def run(self) -> None:
        """Read what may have been missed, until cancelled."""
        while True:
            pause_s = self._reread_s * (0.5 + self._chance.random())
            try:
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
                self._wake.clear()
                refs = self._due()
            except TimeoutError:
                refs = self._due() or self._next()
            for start in range(0, len(refs), _READ_MAX):
                await self._read(refs[start : start + _READ_MAX])

    def _next(self) -> list[Ref]:
        """Return what has not been read for longest, and put it last.

        The oldest alone would do only while they are few: calls that run for days would keep
        the others from ever being read.
        """
        refs = list(islice(self._expected, _READ_MAX))
        for ref in refs:
            self._expected[ref] = self._expected.pop(ref)
        return refs

    def _due(self) -> list[Ref]:
        if self._read_all:
            self._read_all = False
            self._unread.clear()
            return list(self._expected)
        refs = [ref for ref in self._unread if ref in self._expected]
        self._unread.clear()
        return refs

    async def _read(self, refs: list[Ref]) -> None:
        try:
            entries = await self._ledger.read(refs)
        except NalarError:
            # The connection is down or slow: they are due again at the next turn.
            self._unread.update(dict.fromkeys(refs))
            return
        for entry in entries.values():
            self.announce(entry)

    def announce(self, entry: LedgerEntry) -> None:
        """Tell whoever expects it that the record stands: the ledger said so, or we stored it."""
        listeners = self._expected.get(entry.ref)
        if listeners is None:
            return
        self.forget(entry.ref)
        self.seen.note(entry)
        for notify in listeners:
            try:
                notify(entry)
            except Exception:
                log.exception("a listener to the record of %s failed", entry.ref)
