"""Signals: sending one to a call, and the inbox that a call takes them from.

A signal is a record of its own under the call that it is for. So it is there before anybody waits
for it, is announced when it is stored, and outlives every process.
"""

import asyncio
import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Final

from nalar.backend import Backend
from nalar.bus.codec import decode_record
from nalar.bus.port import Watch
from nalar.calls.family import Family
from nalar.calls.once import commit_once
from nalar.calls.own_records import SENT, sent_record, sent_ref
from nalar.calls.waking import wake_for
from nalar.clock import Clock
from nalar.context import aside, current_call
from nalar.errors import ArgumentError, MalformedMessage, NalarError, NotData, UsageError
from nalar.futures import Future
from nalar.ids import FutureId, Ref, RootId, SessionId, child_id, encode_token, new_name
from nalar.messages import Payload
from nalar.settings import Settings
from nalar.statestore.port import Ledger, LedgerEntry
from nalar.values.wire import WireType, canonical, encode, reasons

log = logging.getLogger("nalar.calls.signals")

_ANYTHING = WireType.of(Any)
#: An inbox that is waited at is read again, in case an announcement was lost: first after this
#: long, then after twice that, and so on, in seconds.
_REREAD_FIRST_S: Final = 5.0
_REREAD_MAX_S: Final = 60.0
#: Pause before what got no answer is asked again, in seconds.
_AGAIN_S: Final = 1.0


class Signals:
    """Sends signals, for one process."""

    def __init__(
        self,
        backend: Backend,
        settings: Settings,
        clock: Clock,
        families: Mapping[FutureId, Family],
        start: Callable[[Callable[[], Coroutine[Any, Any, None]], Family | None], None],
    ) -> None:
        self._backend = backend
        self._settings = settings
        self._clock = clock
        self._families = families
        #: Does the work on the runtime's loop; a family's call does not end before it is done.
        self._start = start

    def send(self, to: Ref, name: str, value: object) -> Future[None]:
        """Send a signal from any thread; the future ends once it is stored.

        A call sends each of its signals once, however often it runs. Raises InvalidToken for what
        can be no name, ArgumentError for what can be no value.
        """
        token, text = SessionId(encode_token(name)), self._encoded(name, value)
        caller = current_call()
        family = None
        signal = new_name("", os.urandom(16))
        if caller is not None:
            caller.check()
            family = self._families.get(caller.ref.future)
        if family is not None:
            named = canonical({"to": to.future, "name": name, "value": text.decode()})
            signal = family.lineage.name(SENT, named, None)
        stored: Future[None] = Future()

        async def store() -> None:
            try:
                await self._store(sent_ref(to.root, to.future, token, signal), name, text)
            except NalarError as error:
                stored.fail(error)
            else:
                stored.resolve(None)

        self._start(store, family)
        return stored

    async def deliver(
        self, root: RootId, call: str, name: str, value: object, *, key: str | None = None
    ) -> None:
        """Send a signal, and return once it is stored; with one `key` it is sent once."""
        token, text = SessionId(encode_token(name)), self._encoded(name, value)
        signal = new_name("", os.urandom(16))
        if key is not None:
            signal = child_id(call, SENT, canonical({"name": name}), key)
        await self._store(sent_ref(root, call, token, signal), name, text)

    def _encoded(self, name: str, value: object) -> bytes:
        try:
            text = encode(_ANYTHING.dump(value), self._settings.depth_max)
        except (NotData, ValueError, TypeError, RecursionError) as error:
            raise ArgumentError(f"the value of signal {name!r} is no data: {error}") from error
        if len(text) > self._settings.value_max_bytes:
            raise ArgumentError(
                f"the value of signal {name!r} is {len(text):,} bytes as JSON, over the limit of "
                f"{self._settings.value_max_bytes:,} (setting value_max_bytes)"
            )
        return text

    async def _store(self, ref: Ref, name: str, text: bytes) -> None:
        now_s = self._clock.now_s()
        await self._refuse_ended(ref)
        record = sent_record(ref, name, Payload(text), now_s)
        # The call's own deadline is not known here: longer does no harm.
        until_s = now_s + self._settings.deadline_s
        await commit_once(self._backend, self._settings, record, until_s)
        await wake_for(self._backend, ref)

    async def _refuse_ended(self, ref: Ref) -> None:
        """Raise UsageError when the call has a record: nobody would take the signal."""
        found = await self._backend.ledger.find(f"call.*.*.*.{ref.root}.*.{ref.parent}")
        if not found:
            return
        with contextlib.suppress(MalformedMessage):
            record = decode_record(found[0].ref, found[0].body)
            what = f"run {ref.root}" if ref.parent == ref.root else f"call {ref.parent}"
            raise UsageError(f"{what} has ended ({record.status}) and takes no more signals")


class Inbox:
    """The signals of one name to one running call. One event loop."""

    def __init__(self, ledger: Ledger, pattern: str, taken: set[FutureId]) -> None:
        self._ledger = ledger
        self._pattern = pattern
        #: Signals that are spoken for.
        self._taken = taken
        self._waiters: deque[asyncio.Future[LedgerEntry]] = deque()
        #: Where the newest one that was read stands in the ledger.
        self.upto = 0
        #: Whether somebody wants one who was not there, or did not want it, when they were read:
        #: then one that is not newer than `upto` may be free.
        self.unread = False
        self._heard = asyncio.Event()
        self._watch: Watch | None = None
        self._reading: asyncio.Task[None] | None = None

    async def take(self) -> LedgerEntry:
        """Wait for the oldest signal that nobody has taken, and take it."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[LedgerEntry] = loop.create_future()
        self._waiters.append(waiter)
        self.unread = True
        self._heard.set()
        if self._reading is None:
            self._reading = loop.create_task(self._read_on(), context=aside())
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif not waiter.cancelled():
                self.give_back([waiter.result().ref.future])
            raise

    async def look(self) -> LedgerEntry | None:
        """Take the oldest signal that is there, if any is; ask until the server has answered."""
        while True:
            try:
                free = self._free(await self._ledger.find(self._pattern))
                break
            except NalarError:
                await asyncio.sleep(_AGAIN_S)
        if not free or self._waiters:
            return None
        self._taken.add(free[0].ref.future)
        return free[0]

    def give_back(self, signals: Iterable[FutureId]) -> None:
        """Signals that were handed out were not taken after all."""
        self._taken.difference_update(signals)
        self.unread = True
        self._heard.set()

    def settle(self, signals: Iterable[FutureId]) -> None:
        """Signals were taken, by this execution of the call or by another."""
        self._taken.update(signals)

    def _free(self, entries: list[LedgerEntry]) -> list[LedgerEntry]:
        free = [entry for entry in entries if entry.ref.future not in self._taken]
        return sorted(free, key=lambda entry: entry.revision)

    async def _read_on(self) -> None:
        """Hand out what is there, whenever more may be, while anybody waits."""
        if self._watch is None:
            self._watch = self._ledger.watch(self._pattern, lambda _: self._heard.set())
        pause_s = _REREAD_FIRST_S
        while self._waiters:
            self._heard.clear()
            with contextlib.suppress(NalarError):  # Without the server: at the next turn.
                self._hand_out(await self._ledger.find(self._pattern))
            if not self._waiters:
                break
            try:
                async with asyncio.timeout(pause_s):
                    await self._heard.wait()
                pause_s = _REREAD_FIRST_S
            except TimeoutError:
                pause_s = min(pause_s * 2, _REREAD_MAX_S)
        self._reading = None

    @property
    def waiting(self) -> int:
        """How many wait for a signal and have none."""
        return sum(not waiter.done() for waiter in self._waiters)

    def _hand_out(self, entries: list[LedgerEntry]) -> None:
        self.upto = max(self.upto, *(entry.revision for entry in entries), 0)
        self.unread = False
        for entry in self._free(entries):
            while self._waiters and self._waiters[0].done():
                self._waiters.popleft()  # It is about to give up.
            if not self._waiters:
                return
            waiter = self._waiters.popleft()
            self._taken.add(entry.ref.future)
            waiter.set_result(entry)

    def close(self) -> None:
        """Nobody waits here any more."""
        if self._reading is not None:
            self._reading.cancel()
        if self._watch is not None:
            self._watch.close()


def load_value(name: str, wire: WireType, text: bytes) -> Any:
    """Return a signal's value as the waiting code wants it; raises ArgumentError."""
    try:
        return wire.load(text)
    except ValueError as error:
        raise ArgumentError(f"the value of signal {name!r}: {reasons(error)}") from error
