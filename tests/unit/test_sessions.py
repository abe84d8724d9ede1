"""A worker's copies of sessions: two that load one share it, and what is given up is not kept."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from nalar.backend import Backend
from nalar.bus.codec import encode_record
from nalar.bus.subjects import slot_of
from nalar.ids import AgentName, FutureId, Ref, RootId, SessionId
from nalar.messages import ErrorInfo, bare_record
from nalar.settings import Settings
from nalar.statestore.memory import MemoryBroker, open_memory
from nalar.statestore.port import Ledger, LedgerEntry
from nalar.statestore.sessions import Session, Sessions
from tests.clusters import until

AGENT, NAME = AgentName("SessionsAgent"), SessionId("s")


class HeldUp:
    """A ledger whose answers about a session's log are under way until they are let through."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.asked: asyncio.Queue[asyncio.Event] = asyncio.Queue()

    async def session_log(
        self, agent: AgentName, session: SessionId, *, after: int
    ) -> tuple[list[LedgerEntry], int]:
        log = await self._ledger.session_log(agent, session, after=after)
        answered = asyncio.Event()
        self.asked.put_nowait(answered)
        await answered.wait()
        return log


def held_up() -> tuple[Sessions, HeldUp, Ledger]:
    settings = Settings()
    backend = open_memory(settings, MemoryBroker(settings))
    ledger = HeldUp(backend.ledger)
    slow = SimpleNamespace(ledger=ledger, snapshots=backend.snapshots, blobs=backend.blobs)
    return Sessions(cast("Backend", cast("Any", slow)), settings), ledger, backend.ledger


async def commit_one(store: Ledger) -> int:
    ref = Ref("s", AGENT, NAME, RootId("r"), "p", FutureId("f"))
    record = bare_record(ref, "cancelled", ErrorInfo("Cancelled", "Cancelled", "by hand"), 1.0)
    return await store.commit(ref, encode_record(record), expected=0, ttl_s=60)


async def loaded(sessions: Sessions, ledger: HeldUp, *, seen: int = 0) -> Session:
    """Open the session with an answer that is let through at once."""
    async with asyncio.TaskGroup() as tasks:
        load = tasks.create_task(sessions.open(AGENT, NAME, seen=seen))
        (await ledger.asked.get()).set()
    return load.result()


async def test_two_that_load_a_session_at_the_same_time_work_on_one_copy() -> None:
    sessions, ledger, _ = held_up()
    async with asyncio.TaskGroup() as tasks:
        loads = [tasks.create_task(sessions.open(AGENT, NAME)) for _ in range(2)]
        for _ in loads:
            (await ledger.asked.get()).set()
    assert loads[0].result() is loads[1].result() is sessions.peek(AGENT, NAME)


async def test_what_was_being_loaded_when_its_slot_was_given_up_is_loaded_anew() -> None:
    sessions, ledger, store = held_up()
    async with asyncio.TaskGroup() as tasks:
        load = tasks.create_task(sessions.open(AGENT, NAME))
        answered = await ledger.asked.get()
        revision = await commit_one(store)
        sessions.drop_slot(AGENT, slot_of(NAME, Settings().slots))
        answered.set()
        (await ledger.asked.get()).set()
    assert load.result().fold.revision == revision


async def test_what_was_being_loaded_when_its_session_was_moved_is_loaded_anew() -> None:
    sessions, ledger, store = held_up()
    async with asyncio.TaskGroup() as tasks:
        load = tasks.create_task(sessions.open(AGENT, NAME))
        answered = await ledger.asked.get()
        revision = await commit_one(store)
        assert sessions.drop_session(AGENT, NAME) is None
        answered.set()
        (await ledger.asked.get()).set()
    assert load.result().fold.revision == revision
    assert sessions.drop_session(AGENT, NAME) is load.result()
    assert sessions.peek(AGENT, NAME) is None


async def test_a_copy_that_another_has_replaced_is_dropped_alone() -> None:
    sessions, ledger, _ = held_up()
    old = await loaded(sessions, ledger)
    sessions.drop(old)
    new = await loaded(sessions, ledger)
    sessions.drop(old)
    assert sessions.peek(AGENT, NAME) is new is not old


async def test_slots_of_others_that_come_and_go_do_not_hold_up_a_load() -> None:
    sessions, ledger, _ = held_up()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sessions.open(AGENT, NAME))
        answered = await ledger.asked.get()
        sessions.drop_slot(AGENT, (slot_of(NAME, Settings().slots) + 1) % Settings().slots)
        sessions.drop_slot(AgentName("Other"), slot_of(NAME, Settings().slots))
        answered.set()
    assert ledger.asked.empty()


async def test_of_two_loads_the_newer_one_is_kept_whichever_ends_first() -> None:
    sessions, ledger, store = held_up()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sessions.open(AGENT, NAME))
        old = await ledger.asked.get()
        revision = await commit_one(store)
        load = tasks.create_task(sessions.open(AGENT, NAME))
        new = await ledger.asked.get()
        old.set()
        await until(lambda: sessions.peek(AGENT, NAME))
        new.set()
    assert load.result().fold.revision == revision
    assert sessions.peek(AGENT, NAME) is load.result()


async def test_a_read_of_what_was_seen_leaves_the_copy_alone_that_a_call_runs_on() -> None:
    sessions, ledger, store = held_up()
    running, revision = await loaded(sessions, ledger), await commit_one(store)
    with running.used():
        read = await loaded(sessions, ledger, seen=revision)
        assert read.fold.revision == revision
        assert sessions.peek(AGENT, NAME) is running
        assert running.fold.revision == 0
    read = await loaded(sessions, ledger, seen=revision)
    assert sessions.peek(AGENT, NAME) is read is not running
