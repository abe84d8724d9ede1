"""What has left its session's log is still there, and nothing that commits or reads is misled."""

import asyncio
import dataclasses
import random
from typing import Any

import pytest

from nalar.backend import Backend
from nalar.bus.codec import decode_record, encode_record
from nalar.client.archiving import Archiver, Bounds, Cut
from nalar.client.housekeeping import Housekeeper
from nalar.controllers.settle import Settled, Settler
from nalar.errors import CommitLost, SessionUnreadable, Unavailable
from nalar.ids import AgentName, MethodName, SessionId
from nalar.messages import Payload, Record
from nalar.settings import Settings
from nalar.statestore.port import LedgerEntry
from nalar.statestore.sessions import GROWN, Session, Sessions
from tests.contract.worlds import Collected, World, eventually, make_ref, new_agent, new_request

S = SessionId("s1")
KEPT_S = 3600.0
#: As the real ones, but small.
BOUNDS = Bounds(long=6, kept=3)
SETTINGS = Settings(snapshot_every=1)


async def commit(client: Backend, session: Session, root: str = "") -> LedgerEntry:
    """Commit a call that appends its number, as a worker would."""
    ref = make_ref(session.agent, session=session.name, root=root)
    at = len(rows(session))
    delta = b'{"rows":[["splice",%d,0,[%d]]]}' % (at, at)
    body = encode_record(
        Record(
            ref, MethodName("work"), session.name, "succeeded", Payload(b"1"), None,
            Payload(b"{}"), Payload(delta), "w1", 1, 1.0, 2.0, 4e9,
        )
    )  # fmt: skip
    expected = session.fold.revision
    revision = await client.ledger.commit(ref, body, expected=expected, ttl_s=KEPT_S)
    session.fold.advance(revision, ref.future, delta, 4e9)
    session.unsaved += 1
    return LedgerEntry(ref, revision, body)


async def filled(
    client: Backend, agent: AgentName, count: int, root: str = ""
) -> tuple[Sessions, Session, list[LedgerEntry]]:
    """Return a session with so many commits, all of them covered by its snapshot."""
    sessions = Sessions(client, SETTINGS)
    session = await sessions.open(agent, S)
    entries = [await commit(client, session, root) for _ in range(count)]
    await sessions.save(session, 4e9)
    return sessions, session, entries


async def cut(client: Backend, agent: AgentName, ledger: Any = None) -> Cut:
    snapshot = await client.snapshots.get(f"state.{agent}.{S}")
    assert snapshot is not None
    archiver = Archiver(ledger or client.ledger, kept_s=KEPT_S, bounds=BOUNDS)
    return await archiver.cut(snapshot, cutoff=0)


async def revisions(client: Backend, agent: AgentName) -> list[int]:
    log, _ = await client.ledger.session_log(agent, S, after=0)
    return [entry.revision for entry in log]


def rows(session: Session) -> Any:
    return session.fold.state.get("rows", [])


class Unfinished:
    """A ledger from which nothing is removed: whoever cuts a log dies before that."""

    def __init__(self, client: Backend) -> None:
        self._ledger = client.ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def trim(self, *_: Any, before: int) -> int:
        raise Unavailable(f"killed before {before} was reached")


async def test_a_long_log_keeps_its_newest_and_all_the_rest_is_found_as_before(
    world: World,
) -> None:
    client, agent, root = await world.connect(), new_agent(), new_request()
    _, session, entries = await filled(client, agent, 10, root)
    assert await cut(client, agent) == Cut(archived=7)
    assert await revisions(client, agent) == [entry.revision for entry in entries[7:]]
    reader = await world.connect()
    everything = {entry.ref: entry for entry in entries}
    assert await reader.ledger.read([entry.ref for entry in entries]) == everything
    for entry in (entries[0], entries[9]):
        assert await reader.ledger.read([entry.ref]) == {entry.ref: entry}
    for pattern in (f"call.*.*.*.{root}.*.*", f"call.s.{agent}.{S}.*.*.*"):
        assert await reader.ledger.find(pattern) == entries
        newer = await reader.ledger.find(
            pattern, after=entries[4].revision, upto=entries[9].revision
        )
        assert newer == entries[5:]
    assert await reader.ledger.sessions(agent) == [S]
    loaded = await Sessions(reader, SETTINGS).open(agent, S)
    assert rows(loaded) == list(range(10))
    assert loaded.fold.revision == session.fold.revision


async def test_a_request_is_found_by_its_root_after_its_record_was_archived(world: World) -> None:
    client, agent, root = await world.connect(), new_agent(), new_request()
    sessions = Sessions(client, SETTINGS)
    session = await sessions.open(agent, S)
    own = make_ref(agent, session=S, root=root, future=root)
    revision = await client.ledger.commit(own, b"own", expected=0, ttl_s=KEPT_S)
    session.fold.advance(revision, own.future, None, 4e9)
    session.unsaved += 1
    for _ in range(9):
        await commit(client, session)
    await sessions.save(session, 4e9)
    await cut(client, agent)
    assert revision not in await revisions(client, agent)
    assert await client.ledger.find_root(root) == LedgerEntry(own, revision, b"own")


async def test_cutting_again_changes_nothing_and_neither_do_two_at_once(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    _, _, entries = await filled(client, agent, 40)
    others = [await world.connect() for _ in range(3)]
    await asyncio.gather(*(cut(other, agent) for other in others))
    stay = [entry.revision for entry in entries[37:]]
    assert await revisions(client, agent) == stay
    assert await cut(client, agent) == Cut()
    assert await revisions(client, agent) == stay
    assert await client.ledger.find(f"call.s.{agent}.*.*.*.*") == entries


async def test_what_no_snapshot_covers_stays_however_long_the_log_is(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    _, session, covered = await filled(client, agent, 2)
    later = [await commit(client, session) for _ in range(10)]
    assert (await cut(client, agent)).archived == 1
    stay = [entry.revision for entry in [*covered[1:], *later]]
    assert await revisions(client, agent) == stay
    assert rows(await Sessions(client, SETTINGS).open(agent, S)) == list(range(12))


async def test_a_short_log_is_left_alone(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    _, _, entries = await filled(client, agent, BOUNDS.long)
    assert await cut(client, agent) == Cut()
    assert len(await revisions(client, agent)) == len(entries)


async def test_whoever_dies_between_the_copies_and_the_cut_leaves_one_of_each(
    world: World,
) -> None:
    client, agent, root = await world.connect(), new_agent(), new_request()
    _, _, entries = await filled(client, agent, 10, root)
    with pytest.raises(Unavailable, match="killed"):
        await cut(client, agent, Unfinished(client))
    assert len(await revisions(client, agent)) == 10
    assert await client.ledger.find(f"call.*.*.*.{root}.*.*") == entries
    refs = [entry.ref for entry in entries]
    assert await client.ledger.read(refs) == {entry.ref: entry for entry in entries}
    assert await client.ledger.read(refs[:1]) == {refs[0]: entries[0]}
    assert await cut(client, agent) == Cut(archived=7)
    assert await client.ledger.find(f"call.*.*.*.{root}.*.*") == entries


async def test_the_fence_holds_as_before(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    _, session, entries = await filled(client, agent, 10)
    await cut(client, agent)
    for stale in (0, entries[0].revision, entries[6].revision, entries[8].revision):
        ref = make_ref(agent, session=S)
        with pytest.raises(CommitLost):
            await client.ledger.commit(ref, b"stale", expected=stale, ttl_s=KEPT_S)
    again = entries[0].ref  # A zombie's: what it is compared with tells, not its key.
    with pytest.raises(CommitLost):
        await client.ledger.commit(again, b"twice", expected=entries[0].revision, ttl_s=KEPT_S)
    await commit(client, session)
    assert rows(await Sessions(client, SETTINGS).open(agent, S)) == list(range(11))


async def test_nobody_who_watches_hears_of_it(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    heard = Collected[LedgerEntry]()
    client.ledger.watch(f"call.*.{agent}.*.*.*.*", heard.append)
    await client.ledger.read([make_ref(agent)])  # The server knows of the watch now.
    _, session, entries = await filled(client, agent, 10)
    await cut(client, agent)
    last = await commit(client, session)
    await heard.reach(11)
    assert heard == [*entries, last]


async def test_an_archived_record_goes_when_its_time_is_over(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    _, _, entries = await filled(client, agent, 10)
    snapshot = await client.snapshots.get(f"state.{agent}.{S}")
    assert snapshot is not None
    await Archiver(client.ledger, kept_s=1.0, bounds=BOUNDS).cut(snapshot, cutoff=0)
    refs = [entry.ref for entry in entries]
    assert len(await client.ledger.read(refs)) == 10

    async def gone() -> bool:
        return set(await client.ledger.read(refs)) == set(refs[7:])

    await eventually(gone)
    assert rows(await Sessions(client, SETTINGS).open(agent, S)) == list(range(10))


async def test_what_is_too_old_to_be_asked_for_is_not_kept_elsewhere(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    _, _, entries = await filled(client, agent, 10)
    snapshot = await client.snapshots.get(f"state.{agent}.{S}")
    assert snapshot is not None
    await asyncio.sleep(0.05)  # What is measured is the age itself.
    await Archiver(client.ledger, kept_s=0.01, bounds=BOUNDS).cut(snapshot, cutoff=0)
    refs = [entry.ref for entry in entries]
    assert set(await client.ledger.read(refs)) == set(refs[7:])


# Who read a snapshot, or holds a copy, before the log was cut.


class Raced:
    """A backend where something happens between the reading of a snapshot and of the log."""

    def __init__(self, client: Backend, meanwhile: Any) -> None:
        self._client = client
        self._meanwhile = meanwhile
        self.snapshots = self
        self.reads = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def get(self, key: str) -> Any:
        self.reads += 1
        found = await self._client.snapshots.get(key)
        if self.reads == 1:
            await self._meanwhile()
        return found

    async def get_all(self, keys: Any) -> Any:
        return await self._client.snapshots.get_all(keys)


@pytest.mark.parametrize("before", [0, 4])
async def test_a_load_that_a_cut_overtakes_begins_again(world: World, before: int) -> None:
    client, agent = await world.connect(), new_agent()
    sessions, session, _ = await filled(client, agent, before)

    async def meanwhile() -> None:
        for _ in range(10):
            await commit(client, session)
        await sessions.save(session, 4e9)
        assert (await cut(client, agent)).archived == before + 7

    raced = Raced(client, meanwhile)
    loaded = await Sessions(raced, SETTINGS).open(agent, S)  # type: ignore[arg-type]
    assert rows(loaded) == list(range(before + 10))
    assert raced.reads == 2
    # At that copy a commit is taken, and none of the calls is unknown to it.
    assert len(loaded.fold.committed) == before + 10
    await commit(client, loaded)


async def test_a_commit_on_a_copy_from_before_the_cut_is_decided_by_the_newer_snapshot(
    world: World,
) -> None:
    client, agent = await world.connect(), new_agent()
    sessions, session, _ = await filled(client, agent, 4)
    zombies = [Sessions(await world.connect(), SETTINGS) for _ in range(2)]
    old = [await zombie.open(agent, S) for zombie in zombies]
    entries = [await commit(client, session) for _ in range(10)]
    await sessions.save(session, 4e9)
    await cut(client, agent)
    assert entries[0].revision not in await revisions(client, agent)
    done, new = (decode_record(it.ref, it.body) for it in (entries[0], entries[9]))
    new = dataclasses.replace(new, ref=make_ref(agent, session=S))
    for zombie, copy, record, how in (
        (zombies[0], old[0], done, Settled.DONE),
        (zombies[1], old[1], new, Settled.STALE),
    ):
        settler = Settler(client, zombie, SETTINGS, random.Random(0))
        settlement = await settler.settle(record, copy, ttl_s=KEPT_S)
        assert settlement.how is how
        assert rows(await zombie.open(agent, S)) == list(range(14))


async def test_a_log_with_a_hole_that_no_snapshot_covers_is_refused(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    _, session, _ = await filled(client, agent, 3)
    later = [await commit(client, session) for _ in range(5)]
    await client.ledger.trim(agent, S, before=later[1].revision)
    loaded = Sessions(client, SETTINGS)
    with pytest.raises(SessionUnreadable, match="no snapshot covers it"):
        await loaded.open(agent, S)


# Who has it done, and when.


async def test_a_session_that_grows_is_cut_as_it_is_told_once_whoever_hears(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    keepers = [
        Housekeeper(await world.connect(), SETTINGS, bounds=Bounds(long=600, kept=300))
        for _ in range(2)
    ]
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(keeper.run(3600.0)) for keeper in keepers]
        sessions = Sessions(client, SETTINGS)
        session = await sessions.open(agent, S)
        for _ in range(12):
            for _ in range(100):
                await commit(client, session)
            await sessions.save(session, 4e9)

        async def cut_by_them() -> bool:
            return len(await revisions(client, agent)) <= 600

        # Told after 500 commits, which is not long, and after 1,000.
        await eventually(cut_by_them)
        assert not await client.control.scan(f"{GROWN}.{agent}")
        assert len(await client.ledger.find(f"call.s.{agent}.*.*.*.*")) == 1200
        for task in running:
            task.cancel()


async def test_a_round_cuts_long_logs_that_nobody_has_told_of(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    await filled(client, agent, 10)
    keeper = Housekeeper(client, SETTINGS, bounds=BOUNDS)
    swept = await keeper.sweep()
    assert swept is not None
    assert swept.archived >= 7  # Those of other tests are looked at too.
    assert len(await revisions(client, agent)) == 3
    again = await keeper.sweep()
    assert again is not None
    assert (again.archived, again.entries) == (0, 0)
