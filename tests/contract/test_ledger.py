"""The promises of `nalar.statestore.port.Ledger`, on every adapter."""

import asyncio

import pytest

from nalar.bus.codec import decode_record, encode_record
from nalar.errors import CommitLost, CommitUnknown, ValueTooLarge
from nalar.ids import MethodName, Ref, SessionId
from nalar.messages import Payload, Record
from nalar.statestore.port import LedgerEntry
from tests.contract.worlds import Collected, World, eventually, make_ref, new_agent, new_request

TTL_S = 3600.0


async def test_a_committed_record_is_read_as_it_was(world: World) -> None:
    client, ref = await world.connect(), make_ref(new_agent())
    record = Record(
        ref, MethodName("work"), SessionId("s1"), "succeeded", Payload(b'{"y":2}'), None,
        Payload(b'{"x":1}'), None, "w1", 1, 1.0, 2.0, 3.0, tenant="acme",
    )  # fmt: skip
    revision = await client.ledger.commit(ref, encode_record(record), expected=0, ttl_s=TTL_S)
    found = await (await world.connect()).ledger.read([ref])
    assert found == {ref: LedgerEntry(ref, revision, encode_record(record))}
    assert decode_record(ref, found[ref].body) == record


async def test_reading_leaves_out_what_does_not_stand(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    refs = [make_ref(agent) for _ in range(600)]  # More than one read of many takes.
    await asyncio.gather(
        *[client.ledger.commit(ref, b"%d" % at, expected=0, ttl_s=TTL_S)
          for at, ref in enumerate(refs[::2])]
    )  # fmt: skip
    found = await client.ledger.read(refs)
    assert list(map(str, found)) != []
    assert {ref: entry.body for ref, entry in found.items()} == {
        ref: b"%d" % at for at, ref in enumerate(refs[::2])
    }
    assert await client.ledger.read([]) == {}
    assert await client.ledger.read([refs[1]]) == {}


@pytest.mark.parametrize("session", ["", "s1"])
async def test_a_future_has_one_record_ever(world: World, session: str) -> None:
    client, ref = await world.connect(), make_ref(new_agent(), session=session)
    first = await client.ledger.commit(ref, b"first", expected=0, ttl_s=TTL_S)
    with pytest.raises(CommitLost):
        await client.ledger.commit(ref, b"second", expected=0, ttl_s=TTL_S)
    assert await client.ledger.read([ref]) == {ref: LedgerEntry(ref, first, b"first")}


async def test_a_session_is_fenced_as_a_whole(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    one, two, three = (make_ref(agent, session="s1") for _ in range(3))
    elsewhere = make_ref(agent, session="s2")
    first = await client.ledger.commit(one, b"1", expected=0, ttl_s=TTL_S)
    with pytest.raises(CommitLost):
        await client.ledger.commit(two, b"2", expected=0, ttl_s=TTL_S)
    await client.ledger.commit(elsewhere, b"other", expected=0, ttl_s=TTL_S)
    second = await client.ledger.commit(two, b"2", expected=first, ttl_s=TTL_S)
    with pytest.raises(CommitLost):
        await client.ledger.commit(three, b"3", expected=first, ttl_s=TTL_S)
    assert first < second


async def test_read_only_records_do_not_move_the_session(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    fenced = make_ref(agent, session="s1")
    reader = Ref("r", agent, SessionId("s1"), fenced.root, "parent", make_ref(agent).future)
    await client.ledger.commit(reader, b"read", expected=0, ttl_s=TTL_S)
    await client.ledger.commit(fenced, b"write", expected=0, ttl_s=TTL_S)


async def test_of_many_commits_at_one_revision_exactly_one_wins(world: World) -> None:
    clients, agent = [await world.connect() for _ in range(4)], new_agent()
    at = 0
    for _ in range(5):
        refs = [make_ref(agent, session="s1") for _ in range(64)]
        outcomes = await asyncio.gather(
            *[clients[n % 4].ledger.commit(ref, b"x", expected=at, ttl_s=TTL_S)
              for n, ref in enumerate(refs)],
            return_exceptions=True,
        )  # fmt: skip
        won = [outcome for outcome in outcomes if isinstance(outcome, int)]
        lost = [one for one in outcomes if isinstance(one, CommitLost | CommitUnknown)]
        assert (len(won), len(lost)) == (1, 63)
        entries, at = await clients[0].ledger.session_log(agent, SessionId("s1"), after=at)
        assert [entry.revision for entry in entries] == won == [at]


async def test_records_are_found_above_a_revision_oldest_first(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    refs = [make_ref(agent) for _ in range(5)]
    stored = [await client.ledger.commit(ref, b"x", expected=0, ttl_s=TTL_S) for ref in refs]
    pattern = f"call.r.{agent}.*.*.*.*"
    reader = await world.connect()
    for after, found in [(0, stored), (stored[2], stored[3:]), (stored[4], [])]:
        entries = await reader.ledger.find(pattern, after=after, upto=stored[4])
        assert [entry.revision for entry in entries] == found
    # Others have stored something since: what matches is known all the same.
    last = await client.ledger.commit(make_ref(new_agent()), b"x", expected=0, ttl_s=TTL_S)
    assert await reader.ledger.find(pattern, after=stored[4], upto=last) == []


async def test_commits_are_stored_in_the_order_of_the_calls(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    refs = [make_ref(agent) for _ in range(100)]
    revisions = await asyncio.gather(
        *[client.ledger.commit(ref, b"x", expected=0, ttl_s=TTL_S) for ref in refs]
    )
    assert revisions == sorted(revisions)


async def test_the_session_log_gives_what_is_new(world: World) -> None:
    client, agent, session = await world.connect(), new_agent(), SessionId("s1")
    assert await client.ledger.session_log(agent, session, after=0) == ([], 0)
    revisions, at = list[int](), 0
    for number in range(5):
        ref = make_ref(agent, session="s1")
        at = await client.ledger.commit(ref, b"%d" % number, expected=at, ttl_s=TTL_S)
        revisions.append(at)
        # Read at once by another: what was acknowledged is seen.
        entries, newest = await client.ledger.session_log(agent, session, after=0)
        assert [entry.body for entry in entries] == [b"%d" % n for n in range(number + 1)]
        assert newest == at
    entries, newest = await client.ledger.session_log(agent, session, after=revisions[2])
    assert ([entry.revision for entry in entries], newest) == (revisions[3:], at)
    assert await client.ledger.session_log(agent, session, after=at) == ([], at)


async def test_a_long_session_log_is_read_whole(world: World) -> None:
    client, agent, at = await world.connect(), new_agent(), 0
    for _ in range(1100):  # More than one batch.
        at = await client.ledger.commit(
            make_ref(agent, session="s1"), b"x", expected=at, ttl_s=TTL_S
        )
    entries, newest = await client.ledger.session_log(agent, SessionId("s1"), after=0)
    assert (len(entries), newest) == (1100, at)


async def test_a_watch_hears_of_what_is_stored_and_of_nothing_else(world: World) -> None:
    client, writer, agent = await world.connect(), await world.connect(), new_agent()
    root = new_request()
    heard = Collected[LedgerEntry]()
    watch = client.ledger.watch(f"call.*.*.*.{root}.*.*", heard.append)
    await client.ledger.read([make_ref(agent)])  # The server knows of the watch now.
    mine, fenced, last = (
        make_ref(agent, root=root), make_ref(agent, root=root, session="s1"),
        make_ref(agent, root=root),
    )  # fmt: skip
    first = await writer.ledger.commit(mine, b"1", expected=0, ttl_s=TTL_S)
    with pytest.raises(CommitLost):
        await writer.ledger.commit(mine, b"again", expected=0, ttl_s=TTL_S)
    await writer.ledger.commit(make_ref(agent), b"another root", expected=0, ttl_s=TTL_S)
    second = await writer.ledger.commit(fenced, b"2", expected=0, ttl_s=TTL_S)
    await heard.reach(2)
    assert heard == [LedgerEntry(mine, first, b"1"), LedgerEntry(fenced, second, b"2")]
    watch.close()
    watch.close()
    sentinel = Collected[LedgerEntry]()
    client.ledger.watch(str(last), sentinel.append)
    await client.ledger.read([mine])
    await writer.ledger.commit(last, b"3", expected=0, ttl_s=TTL_S)
    await sentinel.reach(1)
    assert len(heard) == 2


async def test_read_only_records_expire_and_nobody_is_told(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    short, fenced = make_ref(agent), make_ref(agent, session="s1")
    heard = Collected[LedgerEntry]()
    client.ledger.watch(f"call.*.{agent}.*.*.*.*", heard.append)
    await client.ledger.read([short])
    await client.ledger.commit(short, b"1", expected=0, ttl_s=0.1)  # A second at least.
    await client.ledger.commit(fenced, b"2", expected=0, ttl_s=0.1)  # Never.
    assert await client.ledger.read([short])

    async def gone() -> bool:
        return not await client.ledger.read([short])

    await eventually(gone)
    assert await client.ledger.read([fenced])
    await client.ledger.commit(make_ref(agent), b"3", expected=0, ttl_s=TTL_S)
    await heard.reach(3)
    assert [entry.body for entry in heard] == [b"1", b"2", b"3"]


async def test_find_gives_all_that_match_oldest_first(world: World) -> None:
    client, agent, root = await world.connect(), new_agent(), new_request()
    refs = [make_ref(agent, root=root, session="s1" if n == 3 else "") for n in range(8)]
    for ref in refs:
        await client.ledger.commit(ref, str(ref).encode(), expected=0, ttl_s=TTL_S)
    await client.ledger.commit(make_ref(agent), b"another", expected=0, ttl_s=TTL_S)
    found = await client.ledger.find(f"call.*.*.*.{root}.*.*")
    assert [entry.ref for entry in found] == refs
    assert [entry.ref for entry in await client.ledger.find(f"call.s.*.*.{root}.*.*")] == [refs[3]]
    assert await client.ledger.find(f"call.*.*.*.{new_request()}.*.*") == []


async def test_sessions_gives_the_name_of_each_session_with_a_record_once(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    assert await client.ledger.sessions(agent) == []
    revisions: dict[str, int] = {}
    for session in ("b", "a", "=w6Q", "b"):
        ref = make_ref(agent, session=session)
        revisions[session] = await client.ledger.commit(
            ref, b"x", expected=revisions.get(session, 0), ttl_s=TTL_S
        )
    await client.ledger.commit(make_ref(agent), b"no session", expected=0, ttl_s=TTL_S)
    await client.ledger.commit(make_ref(new_agent(), session="c"), b"x", expected=0, ttl_s=TTL_S)
    assert await client.ledger.sessions(agent) == ["=w6Q", "a", "b"]


async def test_find_root_gives_the_requests_own_record(world: World) -> None:
    client, agent, root = await world.connect(), new_agent(), new_request()
    child, own = make_ref(agent, root=root), make_ref(agent, root=root, future=root)
    await client.ledger.commit(child, b"child", expected=0, ttl_s=TTL_S)
    assert await client.ledger.find_root(root) is None
    revision = await client.ledger.commit(own, b"own", expected=0, ttl_s=TTL_S)
    assert await client.ledger.find_root(root) == LedgerEntry(own, revision, b"own")


async def test_too_large_a_record_is_refused_by_name(world: World) -> None:
    client, ref = await world.connect(), make_ref(new_agent())
    with pytest.raises(ValueTooLarge, match=str(ref)):
        await client.ledger.commit(ref, b"x" * 1024 * 1024, expected=0, ttl_s=TTL_S)
    fits = b"x" * client.inline_max_bytes
    await client.ledger.commit(ref, fits, expected=0, ttl_s=TTL_S)
    assert (await client.ledger.read([ref]))[ref].body == fits


async def test_a_closed_client_knows_nothing_of_its_commits(world: World) -> None:
    client, ref = await world.connect(), make_ref(new_agent())
    await client.close()
    with pytest.raises(CommitUnknown):
        await client.ledger.commit(ref, b"x", expected=0, ttl_s=TTL_S)


async def test_a_trimmed_session_keeps_its_newest_entry_and_its_fence(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    revisions = [0]
    refs = [make_ref(agent, session="s1") for _ in range(5)]
    for ref in refs:
        stored = await client.ledger.commit(ref, b"x", expected=revisions[-1], ttl_s=TTL_S)
        revisions.append(stored)
    other = make_ref(agent, session="s2")
    await client.ledger.commit(other, b"other", expected=0, ttl_s=TTL_S)
    session = SessionId("s1")
    assert await client.ledger.trim(agent, session, before=revisions[3]) == 2
    entries, newest = await client.ledger.session_log(agent, session, after=0)
    assert ([entry.revision for entry in entries], newest) == (revisions[3:], revisions[-1])
    assert await client.ledger.trim(agent, session, before=revisions[-1] + 100) == 2
    assert set(await client.ledger.read([*refs, other])) == {refs[-1], other}
    with pytest.raises(CommitLost):
        await client.ledger.commit(make_ref(agent, session="s1"), b"y", expected=0, ttl_s=TTL_S)
    assert await client.ledger.trim(agent, SessionId("never"), before=100) == 0


async def test_what_was_stored_longer_ago_than_an_age_has_a_lower_revision(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    old = await client.ledger.commit(make_ref(agent), b"old", expected=0, ttl_s=TTL_S)
    await asyncio.sleep(0.6)  # What is measured is the age itself.
    new = await client.ledger.commit(make_ref(agent), b"new", expected=0, ttl_s=TTL_S)
    assert old < await client.ledger.revision_before(0.3) <= new
    assert await client.ledger.revision_before(3600.0) <= old
    await asyncio.sleep(0.2)
    assert await client.ledger.revision_before(0.1) == new + 1
