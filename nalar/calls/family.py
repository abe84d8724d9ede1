"""A running call with the calls it has made. One event loop, but for what its lineage allows."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nalar.agents.registry import REGISTRY
from nalar.bus.port import Watch
from nalar.calls.lineage import Lineage
from nalar.calls.order import Order
from nalar.calls.orphans import Orphans
from nalar.calls.results import Results
from nalar.context import Slot
from nalar.errors import NalarError, NonDeterminismError
from nalar.futures import Future
from nalar.ids import FutureId
from nalar.stopping import StopFlag


@dataclass(frozen=True, slots=True)
class Withheld:
    """A call that is not sent while earlier ones of its target are unclaimed."""

    target: str
    future: Future[Any]
    #: Sends it.
    send: Callable[[], None]
    #: Ends it unsent.
    refuse: Callable[[NalarError], None]

    @property
    def label(self) -> str:
        """Names it, for people."""
        ref = self.future.ref
        return f"{self.target} ({ref.future if ref is not None else 'combined'})"


class Family:
    """A running call, its children, and what becomes of them when it ends."""

    def __init__(
        self, lineage: Lineage, stop: StopFlag | None = None, order: Order | None = None
    ) -> None:
        self.lineage = lineage
        #: In which it hears of its children; None for a client, which is not resumed.
        self.order = order
        self._stop = stop
        #: Publishes not yet acknowledged: the caller's own commit waits for them.
        self.unstored: set[asyncio.Future[None]] = set()
        #: What an earlier attempt of the caller has made, and this one has not yet.
        self.orphans = Orphans(lineage.recorded.values())
        self._withheld: list[Withheld] = []
        self._refused: NonDeterminismError | None = None
        #: Children of a resumed caller that are on their way.
        self._sent: set[Future[Any]] = set()
        self._watch: Watch | None = None

    def cover(self, results: Results) -> None:
        """Watch for the children's records, from the first child on."""
        if self._watch is None:
            self._watch = results.cover(f"call.*.*.*.*.{self.lineage.parent}.*")

    @property
    def has_children(self) -> bool:
        """Whether it has made a call that may be on its way."""
        return self._watch is not None

    def check(self) -> None:
        """Raise what its calls are refused with, once its code was told to stop."""
        if self._stop is not None:
            self._stop.check()

    def hold(self, stored: asyncio.Future[None]) -> None:
        """The call is not to end before this is stored."""
        self.unstored.add(stored)
        stored.add_done_callback(self.unstored.discard)

    async def stored(self) -> None:
        """Wait until every child's invocation is stored, or has failed its future."""
        while self.unstored:
            await asyncio.wait(self.unstored)

    def close(self) -> None:
        """The call has ended: nobody awaits its children here."""
        if self.order is not None:
            self.order.close()
        self.refuse_withheld()
        if self._watch is not None:
            self._watch.close()

    # Calls of a resumed caller (see `nalar.calls.orphans`).

    def claim(self, target: str, name: FutureId) -> None:
        """The caller has made a recorded call again; send what was withheld for it."""
        if not self.orphans.claim(target, name):
            return
        due = [call for call in self._withheld if call.target == target]
        self._withheld = [call for call in self._withheld if call.target != target]
        for call in due:
            self._send(call.future, call.send)

    def begin(self, call: Withheld, *, ignores_orphans: bool) -> bool:
        """Send a new call, or withhold it; say whether it was withheld."""
        if ignores_orphans or not self.orphans.withholds(call.target):
            self._send(call.future, call.send)
            return False
        self._withheld.append(call)
        return True

    def _send(self, future: Future[Any], send: Callable[[], None]) -> None:
        if self.lineage.resumed:
            self._sent.add(future)
            future.add_done_callback(self._sent.discard)
        send()

    def expect(self, future: Future[Any]) -> None:
        """A timer, signal or step may make a resumed caller go on, as a child does."""
        if self.lineage.resumed and not future.done():
            self._sent.add(future)
            Future[Any].add_done_callback(future, self._sent.discard)

    @property
    def withholds(self) -> bool:
        """Whether any call is withheld."""
        return bool(self._withheld)

    def rests(self, slot: Slot) -> bool:
        """Say whether the caller waits, and nothing but withheld calls could make it go on."""
        return bool(self._withheld) and not self._sent and slot.waiting

    def refuse_withheld(self) -> None:
        """End what is withheld with an error that names it."""
        withheld, self._withheld = self._withheld, []
        if not withheld:
            return
        targets = dict.fromkeys(call.target for call in withheld)
        self._refused = self.orphans.error(targets, [call.label for call in withheld])
        for call in withheld:
            call.refuse(self._refused)

    def unclaimed(self) -> NonDeterminismError | None:
        """Return what is wrong with a caller that has ended, if anything is."""
        self.refuse_withheld()
        left = [target for target in self.orphans.targets if not _ignored(target)]
        return self._refused or (self.orphans.error(left) if left else None)


def _ignored(target: str) -> bool:
    """Say whether the method's declaration, where it is known here, waives the rule."""
    agent, _, _ = target.partition(".")
    try:
        return agent in REGISTRY and REGISTRY.method(target).on_orphan == "ignore"
    except NalarError:
        return False  # The method is gone from the code; its calls are not.
