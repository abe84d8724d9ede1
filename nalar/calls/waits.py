"""The durable waits of one running call: the shell of `nalar.calls.durable`.

Each is found by its id among the records of an earlier execution, or begins here; when it has come
to its end a record of that is stored, and only then does the call hear of it. Whichever execution
of a call stores first has decided for all of them.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator, Mapping
from concurrent.futures import Executor as Threads
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import orjson

from nalar.backend import Backend
from nalar.bus.codec import decode_record
from nalar.calls.durable import Durable, Own
from nalar.calls.family import Family
from nalar.calls.once import commit_once
from nalar.calls.own_records import (
    SIGNAL,
    STEP,
    TIMED_OUT,
    TIMER,
    own_record,
    own_ref,
    sent_pattern,
    timed_out,
    until_ref,
)
from nalar.calls.signals import Inbox, load_value
from nalar.calls.steps import NoCalls, Step, kept_in
from nalar.clock import Clock
from nalar.context import Call, aside, current_call, entered
from nalar.errors import CallTimeout, MalformedMessage, UsageError, ValueTooLarge
from nalar.ids import FutureId, Ref, encode_token
from nalar.messages import Invocation, Payload, Record
from nalar.settings import Settings
from nalar.statestore.port import LedgerEntry
from nalar.values.wire import WireType, canonical

#: The wall clock is looked at this often during a long sleep, in seconds: it may be set.
_LOOK_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Wait:
    """One of them: its future, how its record comes about, and how its value is read."""

    future: Durable[Any]
    work: Callable[[], Coroutine[Any, Any, Record]]
    load: Callable[[bytes], Any]

    @property
    def ref(self) -> Ref:
        assert self.future.ref is not None, "a durable wait has an address"
        return self.future.ref


class RunningWaits:
    """`nalar.context.Waits` for one execution of a call."""

    def __init__(
        self,
        backend: Backend,
        settings: Settings,
        clock: Clock,
        family: Family,
        invocation: Invocation,
        threads: Threads,
    ) -> None:
        self._backend = backend
        self._settings = settings
        self._clock = clock
        self._family = family
        self._invocation = invocation
        self._threads = threads
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._tasks: dict[Durable[Any], asyncio.Task[None]] = {}
        self._inboxes: dict[str, Inbox] = {}
        #: Those that nothing but time or a signal goes on with -> the signal's encoded name.
        self._idle: dict[Durable[Any], str] = {}
        self._closed = False

    # What the call's code asks for: any thread.

    def sleep(self, seconds: float, key: str | None) -> Durable[None]:
        tree = {"seconds": float(seconds)}
        future: Durable[None] = Durable(self._name(TIMER, tree, key))
        return self._begin(_Wait(future, partial(self._sleep, future, tree), lambda _: None))

    def wait_for(
        self, name: str, kind: Any, timeout_s: float | None, key: str | None
    ) -> Durable[Any]:
        token = encode_token(name)
        wire = WireType.of(kind)
        wire.compile()
        # Without the limit: who changes it still waits for the same signal.
        future: Durable[Any] = Durable(self._name(SIGNAL, {"name": name}, key))
        work = partial(self._take, future, name, token, timeout_s)
        return self._begin(_Wait(future, work, partial(load_value, name, wire)))

    def step(self, step: Step) -> Durable[Any]:
        call = current_call()
        assert call is not None, "steps begin in a call"
        future: Durable[Any] = Own(self._name(STEP, step.identity, None))
        return self._begin(_Wait(future, partial(self._step, future, step, call), step.load))

    def _name(self, agent: Any, tree: dict[str, Any], key: str | None) -> Ref:
        if self._closed:
            raise UsageError(
                f"{self._invocation.target} has ended: await what a method starts before it returns"
            )
        self._family.check()
        name = self._family.lineage.name(agent, canonical(tree), key)
        return own_ref(self._invocation.ref, agent, name)

    def _begin(self, wait: _Wait) -> Durable[Any]:
        wait.future.on_cancel(partial(self._call_off, wait.future))
        self._run(partial(self._start, wait))
        return wait.future

    def _run(self, act: Callable[[], None]) -> None:
        if threading.get_ident() == self._thread:
            act()
        else:
            self._loop.call_soon_threadsafe(act)

    def _call_off(self, future: Durable[Any]) -> bool:
        """The call's code waits no longer; nothing is stored of that: it will do the same again."""
        self._run(partial(self._drop, future))
        return True

    def _drop(self, future: Durable[Any]) -> None:
        task = self._tasks.pop(future, None)
        if task is not None:
            task.cancel()
        future.fail(UsageError("this wait was called off"))

    # On the event loop.

    def _start(self, wait: _Wait) -> None:
        if self._closed:
            return
        target, name = wait.ref.agent, wait.ref.future
        recorded = self._family.lineage.recorded.get(name)
        self._family.claim(target, name)
        self._family.expect(wait.future)
        self._tasks[wait.future] = self._loop.create_task(
            self._guarded(wait, recorded), context=aside()
        )

    async def _guarded(self, wait: _Wait, recorded: LedgerEntry | None) -> None:
        try:
            await (self._finish(wait) if recorded is None else self._settle(wait, recorded))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            wait.future.fail(RuntimeError("the step raised CancelledError"))
        except BaseException as error:  # noqa: BLE001 -- whatever a step raises, SystemExit too
            wait.future.fail(error)
        finally:
            self._tasks.pop(wait.future, None)

    async def _finish(self, wait: _Wait) -> None:
        record = await wait.work()
        entry = await self._commit(record)
        if wait.ref.agent == SIGNAL:
            self._reconcile(record, entry)
        await self._settle(wait, entry)

    def _reconcile(self, record: Record, entry: LedgerEntry) -> None:
        """Another execution may have taken another signal for this wait: then that is the one."""
        taken = set(_taken_by(entry))
        for inbox in self._inboxes.values():
            inbox.settle(taken)
            inbox.give_back(sent.future for sent in record.dependencies if sent.future not in taken)

    async def _settle(self, wait: _Wait, entry: LedgerEntry) -> None:
        """End the wait as what stands says."""
        record = decode_record(entry.ref, entry.body)
        if record.error is not None:
            kind = CallTimeout if record.error.code == TIMED_OUT else MalformedMessage
            wait.future.fail(kind(record.error.message), revision=entry.revision)
            return
        try:
            value = wait.load(await self._text(record.result))
        except UsageError as error:
            wait.future.fail(error, revision=entry.revision)
        else:
            wait.future.resolve(value, revision=entry.revision)

    async def _text(self, payload: Payload | None) -> bytes:
        if payload is None or payload.blob is None:
            return b"null" if payload is None or payload.text is None else payload.text
        return await self._backend.blobs.get(payload.blob)

    async def _commit(self, record: Record) -> LedgerEntry:
        deadline = self._invocation.deadline
        return await commit_once(self._backend, self._settings, record, deadline)

    def _record(self, ref: Ref, tree: dict[str, Any], result: Any, created: float) -> Record:
        now_s = self._clock.now_s()
        return own_record(self._invocation, ref, tree, result, created=created, finished=now_s)

    # Timers.

    async def _until(self, of: Ref, seconds: float) -> float:
        """Return when `of` ends: it was written down when it began."""
        ref = until_ref(of)
        entry = self._family.lineage.recorded.get(ref.future)
        if entry is None:
            now_s = self._clock.now_s()
            at = Payload(orjson.dumps(now_s + seconds))
            entry = await self._commit(self._record(ref, {"seconds": seconds}, at, now_s))
        record = decode_record(entry.ref, entry.body)
        try:
            return float(orjson.loads(await self._text(record.result)))
        except (ValueError, TypeError) as error:
            raise MalformedMessage(f"{ref} does not say when its timer ends") from error

    async def _sleep_until(self, at_s: float) -> None:
        while (left_s := at_s - self._clock.now_s()) > 0:  # noqa: ASYNC110 -- of a clock
            await asyncio.sleep(min(left_s, _LOOK_S))

    async def _sleep(self, future: Durable[None], tree: dict[str, Any]) -> Record:
        assert future.ref is not None, "a timer has an address"
        began = self._clock.now_s()
        future.until_s = await self._until(future.ref, tree["seconds"])
        with self._idling(future, ""):
            await self._sleep_until(future.until_s)
        return self._record(future.ref, tree, Payload(b"null"), began)

    # Signals.

    def _inbox(self, token: str) -> Inbox:
        inbox = self._inboxes.get(token)
        if inbox is None:
            me = self._invocation.ref
            recorded = self._family.lineage.recorded.values()
            taken = {sent for entry in recorded for sent in _taken_by(entry)}
            pattern = sent_pattern(me.root, me.future, token)
            inbox = self._inboxes[token] = Inbox(self._backend.ledger, pattern, taken)
        return inbox

    async def _take(
        self, future: Durable[Any], name: str, token: str, timeout_s: float | None
    ) -> Record:
        assert future.ref is not None, "a wait has an address"
        began = self._clock.now_s()
        sent = await self._taken(token, future, timeout_s)
        tree = {"name": name} if timeout_s is None else {"name": name, "timeout_s": timeout_s}
        if sent is None:
            assert timeout_s is not None, "only a limit ends a wait without a signal"
            return self._record(future.ref, tree, timed_out(name, timeout_s), began)
        value = decode_record(sent.ref, sent.body).result
        record = self._record(future.ref, tree, value, began)
        return replace(record, dependencies=(sent.ref,))

    async def _taken(
        self, token: str, future: Durable[Any], timeout_s: float | None
    ) -> LedgerEntry | None:
        """Take the next signal that can be read; None when it took too long."""
        if timeout_s is not None and future.ref is not None:
            future.until_s = await self._until(future.ref, timeout_s)
        inbox = self._inbox(token)
        while True:
            with self._idling(future, token):
                entry = await self._next(inbox, future.until_s)
            if entry is None or _has_value(entry):
                return entry

    async def _next(self, inbox: Inbox, until_s: float) -> LedgerEntry | None:
        left_s = until_s - self._clock.now_s()
        limit_s = left_s if left_s < _FOR_EVER_S else None
        try:
            async with asyncio.timeout(limit_s):
                return await inbox.take()
        except TimeoutError:
            return await inbox.look()  # One that has come in time is not to be missed.

    # Steps.

    async def _step(self, future: Durable[Any], step: Step, call: Call) -> Record:
        assert future.ref is not None, "a step has an address"
        began = self._clock.now_s()
        # To its code the step is a call of its own, that may make none.
        within = replace(call, ref=future.ref, waits=None, runtime=NoCalls(step.name))
        text = step.dump(await self._run_step(step, within))
        if len(text) > self._settings.value_max_bytes:
            raise ValueTooLarge(
                f"what step {step.name} returned is {len(text):,} bytes as JSON, over the limit of "
                f"{self._settings.value_max_bytes:,} (setting value_max_bytes)"
            )
        return self._record(future.ref, step.identity, Payload(text), began)

    async def _run_step(self, step: Step, within: Call) -> Any:
        context = entered(within)
        if step.is_async:
            value = context.run(step.fn, *step.args, **step.kwargs)
        else:
            run = partial(context.run, partial(step.fn, *step.args, **step.kwargs))
            value = await self._loop.run_in_executor(self._threads, kept_in(run))
        if not hasattr(value, "__await__"):
            return value
        task = self._loop.create_task(_awaited(value), context=entered(within))
        try:
            return await task
        finally:
            task.cancel()

    # Being at rest: what the call waits for stands in the ledger, or will.

    @contextmanager
    def _idling(self, future: Durable[Any], token: str) -> Generator[None]:
        self._idle[future] = token
        try:
            yield
        finally:
            del self._idle[future]

    def idle(self) -> Mapping[Durable[Any], str] | None:
        """Return the waits, with the signals' encoded names; None while one is being settled."""
        if self._tasks.keys() != self._idle.keys():
            return None
        for token, inbox in self._inboxes.items():
            # A signal that was handed out and not taken yet has come; so may one not looked at.
            waiting = sum(name == token for name in self._idle.values())
            if inbox.waiting != waiting or (waiting and inbox.unread):
                return None
        return self._idle

    def seen(self, token: str) -> int:
        """Return where the newest signal of that name stands in the ledger that is known here."""
        return self._inboxes[token].upto

    def close(self) -> None:
        """The call's code has ended: nobody waits here any more."""
        self._closed = True
        for task in list(self._tasks.values()):
            task.cancel()
        for inbox in self._inboxes.values():
            inbox.close()


#: Beyond this a limit is none: no timer of an event loop reaches so far.
_FOR_EVER_S: Final = 1e9


async def _awaited(value: Any) -> Any:
    return await value


def _taken_by(entry: LedgerEntry) -> list[FutureId]:
    """Return the signal that the record of a wait says was taken."""
    if entry.ref.agent != SIGNAL:
        return []
    try:
        return [sent.future for sent in decode_record(entry.ref, entry.body).dependencies]
    except MalformedMessage:
        return []  # Whoever waits for it is told.


def _has_value(entry: LedgerEntry) -> bool:
    """Say whether a signal can be read: who wrote the record may not have been one of us."""
    try:
        return decode_record(entry.ref, entry.body).result is not None
    except MalformedMessage:
        return False
