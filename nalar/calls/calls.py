"""Making calls: publishing what a stub drafted, and resolving its future.

One per process and backend. `call` may be used from any thread; everything else happens on the
event loop that started it.
"""

import asyncio
import contextlib
import dataclasses
import os
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from nalar.agents.spec import MethodSpec
from nalar.backend import Backend
from nalar.bus.codec import decode_record
from nalar.calls.admission import Admission
from nalar.calls.cancel import commit_end, ended, put_notice
from nalar.calls.directive_watch import DirectiveWatch
from nalar.calls.draft import (
    ANYONE,
    address,
    begin,
    draft,
    inherit,
    keyed,
    named,
    other_arguments,
    repeats,
)
from nalar.calls.family import Family, Withheld
from nalar.calls.lineage import Lineage
from nalar.calls.order import Order
from nalar.calls.resolving import resolve
from nalar.calls.results import Results
from nalar.calls.routes import Routes
from nalar.calls.signals import Signals
from nalar.calls.streams import Streams
from nalar.clock import Clock
from nalar.context import DEFAULT_OPTIONS, Call, CallOptions, Runtime, Slot, aside, current_call
from nalar.directives import Shed, prefix_of
from nalar.errors import (
    CommitUnknown,
    NalarError,
    Unavailable,
    UsageError,
    ValueTooLarge,
)
from nalar.futures import Future
from nalar.ids import FutureId, Ref, new_name, new_root
from nalar.messages import BlobRef, Invocation, Payload, Record
from nalar.settings import Settings
from nalar.statestore.port import LedgerEntry
from nalar.stopping import StopFlag
from nalar.values.signature import Bound

#: Pause before what got no answer is tried again, in seconds.
_AGAIN_S = 1.0
#: How often a caller with withheld calls is looked at, in seconds.
_REST_LOOK_S = 0.25
#: How often a large result is read before its future fails: the server may be away.
_BLOB_TRIES = 30
#: What a dependency adds to a body at the most, where siblings stand together, in bytes.
_REF_BYTES = 40


class Calls:
    """The runtime behind every stub of one process (see `nalar.context.Runtime`)."""

    def __init__(
        self, backend: Backend, results: Results, settings: Settings, clock: Clock
    ) -> None:
        self._backend = backend
        self._results = results
        self._settings = settings
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._streams = Streams(backend, self._loop)
        self._own = Family(Lineage(new_name("c", os.urandom(10))))
        self._own.cover(results)
        self._families: dict[FutureId, Family] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.routes = Routes(settings.slots)
        #: What workers would refuse.
        self._admission = Admission()
        self.admission_watch = DirectiveWatch(backend, self._admission.obey, prefix_of(Shed))
        self.signals = Signals(backend, settings, clock, self._families, self._store_for)
        #: Where calls made by running calls go: here, or to what was wrapped around this.
        self.runtime: Runtime = self

    # Making a call: any thread.

    def call(
        self,
        spec: MethodSpec,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: CallOptions = DEFAULT_OPTIONS,
    ) -> Future[Any]:
        """Publish one call and return its future at once.

        Raises ArgumentError, ReentrantCall, InvalidToken, UsageError or ValueTooLarge before
        anything is published.
        """
        bound = spec.signature.bind(args, kwargs)
        self._check_size(spec, bound)
        caller = current_call()
        now_s = self._clock.now_s()
        if caller is None:
            family, parent = self._own, self._own.lineage.parent
            root = keyed(spec, options)
            if root is not None:
                parent = ANYONE
            else:
                root = new_root(int(now_s * 1000), os.urandom(10))
            name = FutureId(root)
            heritage = begin(root, options, now_s=now_s, deadline_s=self._settings.deadline_s)
        else:
            family = self._family_of(caller, spec)
            parent = family.lineage.parent
            heritage = inherit(caller, options, now_s=now_s)
            name = family.lineage.name(named(spec, heritage), bound.canonical, options.key)
        future = self._future(spec, address(spec, heritage, parent, name))
        if caller is None:
            refusal = self._admission.refusal(spec.agent, heritage.priority, spec.label)
            if refusal is not None:  # Nothing follows it, for it is not sent.
                future.fail(refusal)
                return future
        recorded = family.lineage.recorded.get(name)
        if recorded is not None and recorded.ref == future.ref:
            self._run(partial(family.claim, spec.target, name))
            self._run(partial(self._settle, spec, future, recorded))
            return future
        invocation = draft(spec, bound, heritage, future, family.lineage, self._results.seen)
        # Before the loop sees it: this thread may cancel as soon as it has the future.
        future.on_cancel(partial(self._cancel, invocation))
        send = partial(self._send, spec, future, invocation, family)
        if caller is None or not family.orphans.targets:
            self._run(send)
        else:
            refuse = partial(self._refuse, future, invocation)
            new = Withheld(spec.target, future, send, refuse)
            self._run(partial(self._begin, spec, new, family, caller.slot))
        return future

    def attach(self, spec: MethodSpec | None, ref: Ref) -> Future[Any]:
        """Return a future for a call made elsewhere, for instance by an earlier process.

        Without a `spec` its value is plain JSON.
        """
        future = self._future(spec, ref)
        notify = partial(self._settle, spec, future)
        self._run(partial(self._results.expect, ref, notify, covered=False))
        return future

    def _family_of(self, caller: Call, spec: MethodSpec) -> Family:
        caller.check()
        family = self._families.get(caller.ref.future)
        if family is None:
            raise UsageError(
                f"{spec.label} was called by code that outlived its own call, {caller.path}: "
                "await what a method starts before it returns"
            )
        return family

    def _check_size(self, spec: MethodSpec, bound: Bound) -> None:
        size, limit = len(bound.text), self._settings.value_max_bytes
        if size > limit:
            name, part = bound.largest()
            raise ValueTooLarge(
                f"the arguments of {spec.target} are {size:,} bytes as JSON, over the limit of "
                f"{limit:,} (setting value_max_bytes); the largest is {name!r} with {part:,}"
            )

    def _run(self, act: Callable[[], None]) -> None:
        """Do `act` on the event loop: now when we are on it, else soon and in order."""
        if threading.get_ident() == self._thread:
            act()
        else:
            self._loop.call_soon_threadsafe(act)

    # Families: the worker opens one for each call it runs.

    def open_family(
        self, name: FutureId, lineage: Lineage, stop: StopFlag, order: Order | None = None
    ) -> Family:
        """Count calls made by the running call `name` as its children, until `stop` is set."""
        family = self._families[name] = Family(lineage, stop, order)
        return family

    def has_children(self, name: FutureId) -> bool:
        """Say whether the running call `name` has made calls."""
        family = self._families.get(name)
        return family is not None and family.has_children

    def close_family(self, name: FutureId) -> None:
        """The running call `name` has ended."""
        family = self._families.pop(name, None)
        if family is not None:
            family.close()

    # Sending and settling: the event loop.

    def _send(
        self, spec: MethodSpec, future: Future[Any], invocation: Invocation, family: Family
    ) -> None:
        try:
            family.check()
        except NalarError as refusal:  # Told to stop since: nobody would cancel it with its caller.
            future.fail(refusal)
            return
        family.cover(self._results)
        own = invocation.ref.parent == family.lineage.parent
        settle = partial(self._settle, spec, future)
        if not own:
            settle = partial(self._settle_repeated, settle, future, invocation)
        self._results.expect(invocation.ref, settle, covered=own)
        self._store(self._publish(spec, invocation), spec, future, invocation, family)

    def _begin(self, spec: MethodSpec, new: Withheld, family: Family, slot: Slot) -> None:
        """Send a new call of a resumed caller, unless recorded ones of its method come first."""
        if family.begin(new, ignores_orphans=spec.on_orphan == "ignore"):
            self._owned(self._watch_rest(family, slot))

    async def _watch_rest(self, family: Family, slot: Slot) -> None:
        """Refuse what is withheld once its caller has rested on it for long enough."""
        rested_s = 0.0
        while rested_s < self._settings.orphan_patience_s:
            await asyncio.sleep(_REST_LOOK_S)
            rested_s = rested_s + _REST_LOOK_S if family.rests(slot) else 0.0
            if not family.withholds:
                return
        family.refuse_withheld()

    def _refuse(self, future: Future[Any], invocation: Invocation, error: BaseException) -> None:
        """End a call that is never sent; calls that follow it wait for a record of it."""
        future.fail(error)
        self._owned(self._commit_end(invocation, error))

    def _store(
        self,
        stored: asyncio.Future[None],
        spec: MethodSpec,
        future: Future[Any],
        invocation: Invocation,
        family: Family,
    ) -> None:
        family.hold(stored)
        stored.add_done_callback(partial(self._stored, spec, future, invocation, family))

    def _publish(self, spec: MethodSpec, invocation: Invocation) -> asyncio.Future[None]:
        text = invocation.arguments.text
        around = len(invocation.path) * 6 + len(invocation.dependencies) * _REF_BYTES
        if text is not None and len(text) + around > self._backend.inline_max_bytes:
            return self._owned(self._spill(spec, invocation, text))
        lane = self.routes.lane(invocation, stateful=spec.stateful)
        return self._backend.queue.publish(lane, invocation)

    async def _spill(self, spec: MethodSpec, invocation: Invocation, text: bytes) -> None:
        blob = await self._backend.blobs.put(text)
        await self._publish(spec, dataclasses.replace(invocation, arguments=Payload(None, blob)))

    async def _publish_again(self, spec: MethodSpec, invocation: Invocation) -> None:
        await asyncio.sleep(_AGAIN_S)
        await self._publish(spec, invocation)

    def _stored(
        self,
        spec: MethodSpec,
        future: Future[Any],
        invocation: Invocation,
        family: Family,
        stored: asyncio.Future[None],
    ) -> None:
        if stored.cancelled():
            return
        error = stored.exception()
        if isinstance(error, Unavailable) and self._clock.now_s() < invocation.deadline:
            # No answer is no failure: it may be stored, and then a second copy is harmless.
            resent = dataclasses.replace(invocation, resent=True)
            again = self._owned(self._publish_again(spec, resent))
            self._store(again, spec, future, resent, family)
        elif isinstance(error, Unavailable):
            # Too late to be stored, if it is not: what the ledger says now is final.
            self._owned(self._commit_end(invocation))
        elif error is not None:
            self._results.forget(invocation.ref)
            self._refuse(future, invocation, error)
        elif invocation.resent:
            # An earlier attempt may have finished it before anyone here watched.
            self._results.read_soon(invocation.ref)

    def _settle(self, spec: MethodSpec | None, future: Future[Any], entry: LedgerEntry) -> None:
        try:
            record = decode_record(entry.ref, entry.body)
            if record.result is not None and record.result.blob is not None:
                fetch = self._owned(self._settle_blob(spec, future, entry, record))
                family = self._families.get(FutureId(entry.ref.parent))
                if family is not None and family.order is not None:
                    family.order.fetches(fetch)
                return
            resolve(spec, future, record, entry.revision)
        except NalarError as error:
            future.fail(error, revision=entry.revision)

    def _settle_repeated(
        self,
        settle: Callable[[LedgerEntry], None],
        future: Future[Any],
        invocation: Invocation,
        entry: LedgerEntry,
    ) -> None:
        """Settle a request with an idempotency key, unless the key stands for another one."""
        try:
            same = repeats(decode_record(entry.ref, entry.body), invocation)
        except NalarError:
            same = True  # Settling says what is wrong with the record.
        if same:
            settle(entry)
        else:
            told = UsageError(other_arguments(invocation.path))
            future.fail(told, revision=entry.revision)

    async def _settle_blob(
        self, spec: MethodSpec | None, future: Future[Any], entry: LedgerEntry, record: Record
    ) -> None:
        try:
            assert record.result is not None
            assert record.result.blob is not None
            text = await self._blob(record.result.blob)
            inlined = dataclasses.replace(record, result=Payload(text))
            resolve(spec, future, inlined, entry.revision)
        except NalarError as error:
            future.fail(error, revision=entry.revision)

    async def _blob(self, blob: BlobRef) -> bytes:
        for _ in range(_BLOB_TRIES - 1):
            with contextlib.suppress(Unavailable):
                return await self._backend.blobs.get(blob)
            await asyncio.sleep(_AGAIN_S)
        return await self._backend.blobs.get(blob)

    def _cancel(self, invocation: Invocation) -> bool:
        """Tell the workers; let the first to commit decide: the call's result or its end."""
        self._run(partial(self._start_cancelling, invocation))
        return True

    def _start_cancelling(self, invocation: Invocation) -> None:
        self._owned(self._commit_end(invocation, notice=True))

    async def _commit_end(
        self, invocation: Invocation, cause: BaseException | None = None, *, notice: bool = False
    ) -> None:
        """Commit that the call has no result, or find its record, until the server answers."""
        ref, until_s = invocation.ref, invocation.deadline
        while True:
            try:
                if notice:
                    await put_notice(
                        self._backend, ref.root, ref.future, self._clock.now_s(), until_s
                    )
                record = ended(invocation, self._clock.now_s(), cause)
                await commit_end(self._backend, self._settings, record, invocation.deadline)
                break
            except (CommitUnknown, Unavailable):
                await asyncio.sleep(_AGAIN_S)
        self._results.read_soon(invocation.ref)

    def _future(self, spec: MethodSpec | None, ref: Ref) -> Future[Any]:
        future: Future[Any] = Future(ref)
        future.on_stream(partial(self._streams.open, spec))
        future.on_signal(partial(self.signals.send, ref))
        return future

    def _store_for(
        self, store: Callable[[], Coroutine[Any, Any, None]], family: Family | None
    ) -> None:
        """Have something stored, from any thread; the caller does not end before."""
        self._run(lambda: (family or self._own).hold(self._owned(store())))

    def _owned(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start `work` as a task of this runtime: kept alive, cancelled at close."""
        task = self._loop.create_task(work, context=aside())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stored(self) -> None:
        """Wait until every request made by this process is stored."""
        await self._own.stored()

    async def close(self) -> None:
        """Cancel what is still being sent; pending futures stay pending."""
        self._own.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
