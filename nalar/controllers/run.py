"""Running one held call from start to settlement.

Reads as the life of a call: has it been done? whose state does it change? run it; commit; and
only then say so. What may fail half-way is answered in ARCHITECTURE.md, arrow by arrow.
"""

import asyncio
import contextlib
import os
import random

import orjson

from nalar.agents.executor import Executor, Outcome, describe_error, failed
from nalar.backend import Backend
from nalar.bus.codec import decode_record
from nalar.calls.calls import Calls
from nalar.calls.lineage import Lineage
from nalar.calls.order import Order
from nalar.calls.results import Results
from nalar.calls.waits import RunningWaits
from nalar.calls.waking import wake_for
from nalar.clock import Clock
from nalar.context import Call
from nalar.controllers.dead import bury
from nalar.controllers.emitting import Emitter
from nalar.controllers.held import Held
from nalar.controllers.instances import Instances
from nalar.controllers.living import Living
from nalar.controllers.outcomes import crashed, unreadable, within_limits
from nalar.controllers.recording import changed, kept_s, record_of
from nalar.controllers.rejection import end_unread
from nalar.controllers.retries import Retries
from nalar.controllers.settle import Settled, Settlement, Settler
from nalar.controllers.starts import Condemned, CountedStarts
from nalar.controllers.stuck import StuckCode
from nalar.controllers.suspender import Suspender
from nalar.errors import InvalidResult, MalformedMessage, SessionUnreadable
from nalar.ids import FutureId, new_name
from nalar.messages import Payload
from nalar.settings import Settings
from nalar.statestore.managed import ManagedFields
from nalar.statestore.port import LedgerEntry
from nalar.statestore.sessions import Session, Sessions
from nalar.stopping import StopFlag


class Runner:
    """Carries single calls out, for one worker."""

    def __init__(  # noqa: PLR0913, PLR0917 -- the parts of a worker meet here
        self,
        worker: str,
        backend: Backend,
        calls: Calls,
        results: Results,
        sessions: Sessions,
        settings: Settings,
        clock: Clock,
        suspender: Suspender,
    ) -> None:
        self._worker = worker
        self._backend = backend
        self._calls = calls
        self._results = results
        self._sessions = sessions
        self._settings = settings
        self._clock = clock
        self._suspender = suspender
        self._executor = Executor()
        self._instances = Instances()
        chance = random.Random()  # noqa: S311 -- jitter, not secrets
        self._settler = Settler(backend, sessions, settings, chance)
        self._retries = Retries(backend, calls.routes, clock, chance)
        self._starts = CountedStarts(backend.control, settings, clock)
        self.stuck = StuckCode(settings)

    def close(self) -> None:
        """Let the executor's threads go."""
        self.stuck.close()
        self._executor.close()

    async def run(self, held: Held) -> None:
        """Run the call; return once a record of it stands, or its next attempt is stored.

        Raises Postponed when it is to be handed back.
        """
        if not held.suspect:
            await self._run(held)
        elif await self._ended_before(held):
            await wake_for(self._backend, held.invocation.ref)
            await self._suspender.forget(held)
        elif await self._suspender.awoken(held) and held.invocation.attempt == 1:
            # It was let go of, not lost: as with the first delivery, nothing is counted.
            held.recorded = await self._children(held)
            await self._run(held)
        else:
            await self._run_again(held)

    async def _run(self, held: Held) -> None:
        run = self._run_fenced if held.invocation.ref.effect == "s" else self._run_plain
        try:
            await run(held)
        except SessionUnreadable as error:
            await self._end_unread(held, unreadable(held.invocation, error))

    async def _ended_before(self, held: Held) -> bool:
        """Ask the ledger for the call's record; do what its writer may not have come to."""
        ref = held.invocation.ref
        entry = (await self._backend.ledger.read([ref])).get(ref)
        if entry is None:
            return False
        self._results.announce(entry)
        self._results.seen.note(entry)  # Our copy of its session may be older.
        with contextlib.suppress(MalformedMessage):
            await bury(self._backend, self._settings, held, decode_record(ref, entry.body))
        return True

    async def _run_again(self, held: Held) -> None:
        """Run a call that may have been started before: its start is counted, as it may kill."""
        held.recorded = await self._children(held)
        upto = 0
        if held.invocation.attempt > 1:
            upto = max((entry.revision for entry in held.recorded.values()), default=0)
        try:
            async with self._starts.counted(held, upto) as held.failed_upto:
                await self._run(held)
        except Condemned as verdict:
            await self.commit(held, crashed(held.invocation, verdict.deaths))

    async def commit(self, held: Held, outcome: Outcome) -> None:
        """Commit `outcome`, an error, for a call that is not run."""
        try:
            await self._commit_unrun(held, outcome)
        except SessionUnreadable:
            await self._end_unread(held, outcome)
        if held.delivery.deliveries > 1:
            await self._suspender.forget(held)

    async def _end_unread(self, held: Held, outcome: Outcome) -> None:
        now_s = self._clock.now_s()
        await end_unread(self._backend, self._settings, held, outcome, self._worker, now_s)

    async def _commit_unrun(self, held: Held, outcome: Outcome) -> None:
        session = None
        while True:
            if held.invocation.ref.effect == "s":
                # A copy of its own: the shared one may be in use by a call that runs, and must
                # not move on under it.
                own = Sessions(self._backend, self._settings)
                session = await own.open(held.agent.name, held.invocation.session)
                if session.fold.has(held.invocation.ref.future):
                    return
            elif await self._done_before(held):
                return
            settlement = await self._commit(held, outcome, session, None, self._clock.now_s())
            if settlement.how is not Settled.STALE:
                return

    async def _done_before(self, held: Held) -> bool:
        """Ask the ledger, if this is not the first the queue has seen of the call."""
        if not held.suspect:
            return False
        ref = held.invocation.ref
        entry = (await self._backend.ledger.read([ref])).get(ref)
        if entry is not None:
            self._results.seen.note(entry)  # Our copy of its session may be older.
        return entry is not None

    async def _run_plain(self, held: Held) -> None:
        fields = None
        if held.agent.stateful:
            # Read-only: a view of the committed state, apart from any call that changes it.
            session = await self._open(held)
            fields = ManagedFields(
                held.agent.fields, orjson.loads(orjson.dumps(session.fold.state))
            )
        started = self._clock.now_s()
        outcome = await self._execute(held, fields)
        if fields is not None:
            outcome, delta = changed(outcome, fields, held.invocation.path)
            if delta is not None:
                why = InvalidResult(f"{held.spec.target} changed its session, but it is read_only")
                outcome = Outcome("failed", error=describe_error(why, held.invocation.path))
        if outcome.error is None or not await self._retries.sent(held, outcome):
            await self._commit(held, outcome, None, None, started)

    async def _run_fenced(self, held: Held) -> None:
        future = held.invocation.ref.future
        while True:
            session = await self._open(held)
            with session.used():
                # The fold decides; the extra read finds calls that its snapshot no longer names.
                if session.fold.has(future) or await self._done_before(held):
                    self._results.read_soon(held.invocation.ref)
                    return
                fields = self._take_fields(held, session)
                started = self._clock.now_s()
                outcome = await self._execute(held, fields)
                outcome, delta = changed(outcome, fields, held.invocation.path)
                if outcome.error is not None and await self._retries.sent(held, outcome):
                    return
                settlement = await self._commit(held, outcome, session, delta, started)
                if settlement.how is Settled.COMMITTED and settlement.entry is not None:
                    self._keep(session, fields, settlement.entry, delta)
                    return
            if settlement.how is Settled.DONE:
                return
            held.again()

    async def _open(self, held: Held) -> Session:
        agent, name = held.agent.name, held.invocation.session
        seen = max(held.invocation.seen, self._results.seen.upto(agent, name))
        return await self._sessions.open(agent, name, seen=seen)

    def _take_fields(self, held: Held, session: Session) -> ManagedFields:
        """Return the session's collections, kept from its last call when they are still good.

        They are put back when the call has committed: whatever else may end it, what it did to
        them is gone with it.
        """
        fields, session.fields = session.fields, None
        return fields or ManagedFields(held.agent.fields, session.fold.state)

    def _keep(
        self, session: Session, fields: ManagedFields, entry: LedgerEntry, delta: bytes | None
    ) -> None:
        """Bring the copy to what was just committed."""
        at_s = self._clock.now_s()
        session.fold.advance(entry.revision, entry.ref.future, delta, at_s)
        session.note_run(entry.ref.future)
        session.unsaved += 1
        if delta is None:
            fields.discard()
        else:
            fields.committed()
        fields.pass_on()
        session.fields = fields

    async def _execute(self, held: Held, fields: ManagedFields | None) -> Outcome:
        """Run the call's code with its context, its children counted as its own."""
        invocation = held.invocation
        future = invocation.ref.future
        recorded = await self._recorded(held)
        lineage = Lineage(future, recorded, failed_upto=held.failed_upto)
        flag = held.stop_flag = self.stuck.flag(invocation)
        order = Order(self._backend.ledger, self._results, invocation.ref)
        family = self._calls.open_family(future, lineage, flag, order)
        waits = RunningWaits(
            self._backend, self._settings, self._clock, family, invocation, self._executor.threads
        )
        began_s = self._clock.now_s()
        held.started_s = held.started_s or began_s
        try:
            arguments = await self._text(invocation.arguments)
            resolved = {
                ref: await self._text(record.result)
                for ref, record in held.resolved.items()
                if record.result is not None
            }
            _go_on(held)
            call = self._call(held, flag, order, waits)
            held.living = Living(call, waits, family)
            if (task := asyncio.current_task()) is not None:
                call.activity.began(task)
            outcome = await self._executor.run(
                held.spec,
                lambda: self._instance(held, fields),
                arguments,
                resolved,
                call,
                timeout_s=held.timeout_s,
            )
            _go_on(held)
            if call.emitter is not None:  # Who reads of a failure has read what came before it.
                await call.emitter.drain()
            if outcome.error is None and (odd := family.unclaimed()) is not None:
                outcome = failed(odd, invocation.path)
            held.orphans = len(family.orphans)
            # A crash after our commit must not leave a child that was never published.
            await family.stored()
        finally:
            held.ended_s = self._clock.now_s()
            held.busy_s += (held.ended_s - began_s) / held.sharers
            if held.living is not None:
                held.living.call.activity.ended()
                held.living = None
            self.stuck.ended(flag)
            waits.close()
            self._calls.close_family(future)
        assert held.slot is not None, "a call that runs has a slot"
        held.slot.finish()
        limit = self._settings.value_max_bytes
        return within_limits(held.invocation, outcome, self._clock.now_s(), limit)

    def _instance(self, held: Held, fields: ManagedFields | None) -> object | None:
        held.instance = self._instances.of(held.agent, fields)
        return held.instance

    async def _recorded(self, held: Held) -> dict[FutureId, LedgerEntry] | None:
        """Return the finished children of an earlier attempt; None when there was none."""
        recorded, held.recorded = held.recorded, None
        if recorded is not None:
            return recorded
        if not held.suspect and not held.reruns:
            held.reruns += 1
            return None
        return await self._children(held)

    async def _children(self, held: Held) -> dict[FutureId, LedgerEntry]:
        ref = held.invocation.ref
        entries = await self._backend.ledger.find(f"call.*.*.*.{ref.root}.{ref.future}.*")
        for entry in entries:
            self._results.seen.note(entry)
        return {entry.ref.future: entry for entry in entries}

    async def _text(self, payload: Payload | None) -> bytes:
        if payload is None:
            return b"null"
        if payload.text is not None:
            return payload.text
        assert payload.blob is not None, "a payload has a text or a blob"
        return await self._backend.blobs.get(payload.blob)

    def _call(self, held: Held, flag: StopFlag, order: Order, waits: RunningWaits) -> Call:
        invocation, slot = held.invocation, held.slot
        assert slot is not None, "a call that runs has a slot"
        tokens = held.tokens = held.tokens or {}
        writes = invocation.ref.effect == "s"
        return Call(
            ref=invocation.ref,
            agent=held.agent.name,
            method=held.spec.name,
            session=invocation.session,
            tenant=invocation.tenant,
            priority=invocation.priority,
            deadline=invocation.deadline,
            attempt=invocation.attempt,
            worker=self._worker,
            path=invocation.path or invocation.target,
            holds=(*invocation.holds, invocation.lock) if writes else invocation.holds,
            traceparent=invocation.traceparent,
            runtime=self._calls.runtime,
            slot=slot,
            stop=flag,
            order=order,
            emitter=self._emitter(held) if held.spec.is_generator else None,
            batch=held.gathering,
            waits=waits,
            tokens=tokens,
        )

    def _emitter(self, held: Held) -> Emitter:
        ref, attempt = held.invocation.ref, held.invocation.attempt
        epoch = new_name(f"{attempt}-", os.urandom(6))
        dump = held.spec.signature.dump_result
        return Emitter(self._backend.chunks, ref, epoch, dump, self._backend.inline_max_bytes)

    async def _commit(
        self,
        held: Held,
        outcome: Outcome,
        session: Session | None,
        delta: bytes | None,
        started: float,
    ) -> Settlement:
        finished = self._clock.now_s()
        record = record_of(held, outcome, delta, self._worker, started, finished)
        ttl_s = kept_s(held, finished, self._settings.retention_s)
        held.failed = outcome.error is not None
        settlement = await self._settler.settle(record, session, ttl_s=ttl_s)
        if settlement.entry is not None:
            # Whoever waits for it in this very process need not wait for the announcement.
            self._results.announce(settlement.entry)
            asked_by_call = record.ref.future != record.ref.root
            if asked_by_call and finished - record.created > self._settings.suspend_after_s / 2:
                # Its caller has waited as long.
                await wake_for(self._backend, record.ref)
            if outcome.error is not None:
                await bury(self._backend, self._settings, held, record)
        elif settlement.how is Settled.DONE:
            self._results.read_soon(record.ref)
        return settlement


def _go_on(held: Held) -> None:
    """Raise CancelledError for a call that is stopped, or that this worker abandons.

    Whatever its code answers to that is not the call's result.
    """
    task = asyncio.current_task()
    if (
        held.stopping is not None
        or held.asleep_s is not None
        or (task is not None and task.cancelling())
    ):
        raise asyncio.CancelledError
