"""A simulation is worth what it would notice: each rule of the runtime, broken on purpose."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from nalar.bus.memory import MemoryQueues
from nalar.calls.draft import lane_of
from nalar.calls.lineage import Lineage
from nalar.calls.results import Results
from nalar.calls.routes import Routes
from nalar.calls.seen import Seen
from nalar.controllers.held import Held
from nalar.controllers.worker import Worker
from nalar.ids import FutureId, Ref
from nalar.messages import Invocation
from nalar.statestore.memory import MemoryLedger
from nalar.statestore.session import SessionFold, after_lost
from nalar.statestore.sessions import Sessions
from tests.simulation.simulation import simulate

#: Seeds that are tried until one notices.
TRIES = 12


def without_the_fence(patch: pytest.MonkeyPatch) -> None:
    """Every commit is taken, whatever the log has become."""
    commit = MemoryLedger.commit

    def unfenced(self: MemoryLedger, ref: Ref, body: bytes, **given: Any) -> Awaitable[int]:
        return commit(self, ref, body, **{**given, "expected": self._log.newest(ref)})

    patch.setattr(MemoryLedger, "commit", unfenced)


def acknowledging_first(patch: pytest.MonkeyPatch) -> None:
    """The message is gone before the record stands."""
    conclude = Worker._conclude

    async def hasty(self: Worker, held: Held, work: Any) -> None:
        held.delivery.ack()
        await conclude(self, held, work)

    patch.setattr(Worker, "_conclude", hasty)


def hearing_only(patch: pytest.MonkeyPatch) -> None:
    """Nothing is ever read again: a lost announcement is lost."""

    async def never(_: Results) -> None:
        await asyncio.Event().wait()

    patch.setattr(Results, "run", never)


def in_any_order(patch: pytest.MonkeyPatch) -> None:
    """Calls do not name their predecessor."""
    follow = Lineage.follow

    def forgetful(self: Lineage, *given: Any, **named: Any) -> None:
        follow(self, *given, **named)

    patch.setattr(Lineage, "follow", forgetful)


def forgetting_what_is_done(patch: pytest.MonkeyPatch) -> None:
    """The fold does not know which calls are part of it."""

    def never(_: SessionFold, __: FutureId) -> bool:
        return False

    patch.setattr(SessionFold, "has", never)


def never_delivering_again(patch: pytest.MonkeyPatch) -> None:
    """A message is held for ever by who took it, dead or alive."""

    def patient(_: float) -> MemoryQueues:
        return MemoryQueues(1e6)

    patch.setattr("nalar.statestore.memory.MemoryQueues", patient)


def committing_what_is_stale(patch: pytest.MonkeyPatch) -> None:
    """A call whose session moved on is not run again: its old change is stored."""

    def stubborn(*given: Any) -> str:
        verdict = after_lost(*given)
        return "commit_again" if verdict == "rerun" else verdict

    patch.setattr("nalar.controllers.settle.after_lost", stubborn)


def reading_what_is_old(patch: pytest.MonkeyPatch) -> None:
    """Copies of sessions that were moved are kept and read from, whatever the reader has seen.

    Either rule keeps nearly all reads from being old: tests/contract shows each alone.
    """
    lane = Routes.lane

    def by_the_hash(routes: Routes, invocation: Invocation, *, stateful: bool) -> str:
        if invocation.ref.effect == "s":
            return lane(routes, invocation, stateful=stateful)
        return lane_of(invocation, stateful=stateful, slots=routes._slots)

    def nothing(*_: Any) -> int:
        return 0

    patch.setattr(Routes, "lane", by_the_hash)
    patch.setattr(Sessions, "drop_session", Sessions.peek)
    patch.setattr(Seen, "upto", nothing)


#: Each with the seed from which on it is looked for: what is rare is found at once.
BROKEN: list[tuple[Callable[[pytest.MonkeyPatch], None], int]] = [
    (without_the_fence, 0),
    (acknowledging_first, 0),
    (hearing_only, 0),
    (in_any_order, 0),
    (forgetting_what_is_done, 0),
    (never_delivering_again, 0),
    (committing_what_is_stale, 14),
    (reading_what_is_old, 146),
]


def test_what_is_found_of_a_broken_rule_is_the_same_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    never_delivering_again(monkeypatch)
    first = simulate(0)
    kept_alive = [object() for _ in range(100_000)]  # What follows is put elsewhere in memory.
    again = simulate(0)
    assert first.findings
    assert (first.trace, first.findings) == (again.trace, again.findings)
    assert kept_alive


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("broken", "begin"), BROKEN, ids=[broken.__name__ for broken, _ in BROKEN])
def test_a_broken_rule_is_noticed(
    broken: Callable[[pytest.MonkeyPatch], None], begin: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(begin, begin + TRIES):
        calm = simulate(seed, faults=False)
        with monkeypatch.context() as patch:
            broken(patch)
            run = simulate(seed)
        if run.findings or run.differences(calm):
            return
    pytest.fail(f"{TRIES} seeds did not notice")
