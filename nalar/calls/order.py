"""In which order a running call hears of its children: that of the ledger, also when it matters.

Records are heard by announcements, by reads and from this very process, so a newer one may be
heard first. Code that acts on what ends first (`nalar.as_completed`) must see the same order when
it is resumed, and then it sees the ledger's. So before it is handed a record while others are
still out, the ledger is asked for older ones that nobody here has heard of. One question at a
time, for what was stored since the last: it costs by what is new, however many are out.
"""

import asyncio
import contextlib
import threading

from nalar.calls.results import Results
from nalar.context import aside
from nalar.errors import NalarError
from nalar.futures import Future
from nalar.ids import Ref
from nalar.statestore.port import Ledger

#: Pause before a question that got no answer is asked again, in seconds.
_AGAIN_S = 1.0


class Order:
    """The records of one call's children. Asked from any thread; all else on the event loop."""

    def __init__(self, ledger: Ledger, results: Results, parent: Ref) -> None:
        self._ledger = ledger
        self._results = results
        self._parent = parent
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        #: Every record up to here has been told to whoever expects it.
        self._upto = 0
        self._wanted: list[tuple[int, Future[None]]] = []
        self._asking: asyncio.Task[None] | None = None
        #: Values that are being fetched for records that have been told.
        self._fetching: set[asyncio.Task[None]] = set()

    def reached(self, revision: int) -> Future[None]:
        """Return a future that ends once every record up to `revision` has ended its future."""
        future: Future[None] = Future()
        if threading.get_ident() == self._thread:
            self._want(revision, future)
        else:
            # After what this thread asked for before: it is done in order.
            self._loop.call_soon_threadsafe(self._want, revision, future)
        return future

    def fetches(self, fetch: asyncio.Task[None]) -> None:
        """A record has been told whose value `fetch` brings."""
        self._fetching.add(fetch)
        fetch.add_done_callback(self._fetching.discard)

    def close(self) -> None:
        """The call has ended: nobody waits any more."""
        if self._asking is not None:
            self._asking.cancel()

    def _want(self, revision: int, future: Future[None]) -> None:
        self._wanted.append((revision, future))
        if self._asking is None:
            self._asking = self._loop.create_task(self._ask(), context=aside())

    async def _ask(self) -> None:
        while self._wanted:
            with contextlib.suppress(NalarError):
                await self._catch_up(max(revision for revision, _ in self._wanted))
                continue
            await asyncio.sleep(_AGAIN_S)  # The server is away; the call waits, as it would.
        self._asking = None

    async def _catch_up(self, upto: int) -> None:
        if upto > self._upto:
            children = f"call.*.*.*.{self._parent.root}.{self._parent.future}.*"
            entries = await self._ledger.find(children, after=self._upto, upto=upto)
            for entry in entries:
                self._results.announce(entry)
            self._upto = max(upto, entries[-1].revision if entries else 0)
        if self._fetching:
            await asyncio.wait(self._fetching)
        due = [future for revision, future in self._wanted if revision <= self._upto]
        self._wanted = [want for want in self._wanted if want[0] > self._upto]
        for future in due:
            future.resolve(None)
