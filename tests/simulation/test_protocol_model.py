"""Attempts, zombies, lost answers, crashes and snapshots in any order: each call takes effect once.

The settler, the sessions and the fold are those that run live, over the memory twin.
"""

import asyncio
import random
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nalar.client.archiving import Archiver, Bounds
from nalar.controllers.settle import Settled, Settler
from nalar.errors import CommitUnknown, Unavailable
from nalar.ids import AgentName, MethodName, Ref, SessionId
from nalar.messages import Payload, Record
from nalar.settings import Settings
from nalar.statestore.memory import MemoryBroker, open_memory
from nalar.statestore.sessions import Session, Sessions
from tests.contract.worlds import make_ref

T = TypeVar("T")
AGENT, NAME = AgentName("Modelled"), SessionId("s")
SETTINGS = Settings(snapshot_every=1)
WORKERS = st.integers(0, 2)


class Protocol(RuleBasedStateMachine):
    """Three workers, one session; an attempt may commit long after others did."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.backend = self.loop.run_until_complete(self._opened())
        self.lose_answer = False
        commit = self.backend.ledger.commit

        async def unsure(*given: Any, **named: Any) -> int:
            revision = await commit(*given, **named)
            if self.lose_answer:
                self.lose_answer = False
                raise CommitUnknown("its answer was lost")
            return revision

        self.backend.ledger.commit = unsure  # type: ignore[method-assign]
        self.workers = [Sessions(self.backend, SETTINGS) for _ in range(3)]
        #: Attempts under way: worker, its copy, the record, and the revision it ran on.
        self.attempts: list[tuple[int, Session, Record]] = []
        self.calls: list[Any] = []
        self.done: list[str] = []

    async def _opened(self) -> Any:
        return open_memory(SETTINGS, MemoryBroker(SETTINGS))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.run(self.backend.close())
        self.loop.close()

    @rule()
    def ask(self) -> None:
        self.calls.append(make_ref(AGENT, session=NAME))

    @precondition(lambda self: self.calls)
    @rule(worker=WORKERS, which=st.integers(0, 9))
    def deliver(self, worker: int, which: int) -> None:
        """A worker gets the call, be it done or under way elsewhere, and runs it on its copy."""
        self.attempt(worker, self.calls[which % len(self.calls)])

    def attempt(self, worker: int, ref: Ref) -> None:
        busy = any(other == worker for other, _, _ in self.attempts)
        session = self.run(self.workers[worker].open(AGENT, NAME))
        if busy or session.fold.has(ref.future):
            return
        length = len(session.fold.state.get("journal", []))  # type: ignore[arg-type]
        delta = f'{{"journal":[["splice",{length},0,["{ref.future}"]]]}}'.encode()
        record = Record(
            ref, MethodName("add"), NAME, "succeeded", Payload(b"1"), None, Payload(b"{}"),
            Payload(delta), f"w{worker}", 1, 1.0, 2.0, 3.0,
        )  # fmt: skip
        self.attempts.append((worker, session, record))

    @precondition(lambda self: self.attempts)
    @rule(which=st.integers(0, 9), lost=st.booleans())
    def settle(self, which: int, lost: bool) -> None:
        self.end(which % len(self.attempts), lost=lost)

    def end(self, which: int, *, lost: bool) -> None:
        worker, session, record = self.attempts.pop(which)
        self.lose_answer = lost
        settler = Settler(self.backend, self.workers[worker], SETTINGS, random.Random(0))
        settlement = self.run(settler.settle(record, session, ttl_s=60.0))
        self.lose_answer = False
        future = record.ref.future
        if settlement.how is Settled.COMMITTED:
            assert settlement.entry is not None
            assert record.delta is not None
            session.fold.advance(settlement.entry.revision, future, record.delta.text, 3.0)
            session.unsaved += 1
        stored_unheard = lost and settlement.how is not Settled.STALE and future not in self.done
        if settlement.how is Settled.COMMITTED or stored_unheard:
            self.done.append(future)
        assert (settlement.how is Settled.STALE) == (future not in self.done)

    @rule(worker=WORKERS)
    def crash(self, worker: int) -> None:
        self.attempts = [one for one in self.attempts if one[0] != worker]
        self.workers[worker] = Sessions(self.backend, SETTINGS)

    @rule(worker=WORKERS)
    def snapshot(self, worker: int) -> None:
        for session in self.workers[worker].all():
            self.run(self.workers[worker].save(session, 4.0))

    @rule(worker=WORKERS)
    def move(self, worker: int) -> None:
        """The session is taken from a worker; what it runs goes on as a zombie."""
        copy = self.workers[worker].peek(AGENT, NAME)
        if copy is not None:
            self.workers[worker].drop(copy)

    @rule(dies=st.booleans())
    def cut(self, dies: bool) -> None:
        """Somebody keeps house; it may die between the copies and the cut."""
        snapshot = self.run(self.backend.snapshots.get(f"state.{AGENT}.{NAME}"))
        if snapshot is None:
            return
        trim = self.backend.ledger.trim

        async def killed(*_: Any, **__: Any) -> int:
            raise Unavailable("killed")

        self.backend.ledger.trim = killed if dies else trim  # type: ignore[method-assign]
        archiver = Archiver(self.backend.ledger, kept_s=60.0, bounds=Bounds(long=1, kept=1))
        with suppress(Unavailable):
            self.run(archiver.cut(snapshot, cutoff=0))
        self.backend.ledger.trim = trim  # type: ignore[method-assign]

    @rule(worker=WORKERS)
    def overtake(self, worker: int) -> None:
        """A worker does two calls, writes its snapshot, and what that covers leaves the log."""
        if any(other == worker for other, _, _ in self.attempts):
            return
        self.move(worker)
        for _ in range(2):
            self.ask()
            self.attempt(worker, self.calls[-1])
            self.end(-1, lost=False)
        self.snapshot(worker)
        self.cut(dies=False)

    @invariant()
    def each_record_stands_once_in_its_place(self) -> None:
        found = self.run(self.backend.ledger.find(f"call.*.{AGENT}.*.*.*.*"))
        assert [entry.ref.future for entry in found] == self.done
        assert len(self.run(self.backend.ledger.read([entry.ref for entry in found]))) == len(found)

    @invariant()
    def each_call_took_effect_once_in_the_order_of_commits(self) -> None:
        session = self.run(Sessions(self.backend, SETTINGS).open(AGENT, NAME))
        assert session.fold.state.get("journal", []) == self.done
        assert all(session.fold.has(future) for future in self.done)  # type: ignore[arg-type]


Protocol.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
test_each_call_takes_effect_once = Protocol.TestCase
