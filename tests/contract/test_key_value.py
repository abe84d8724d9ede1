"""The promises of `nalar.statestore.port.KeyValue` and `Blobs`, on every adapter."""

import asyncio
import dataclasses
import secrets

import orjson
import pytest

from nalar.backend import Backend
from nalar.bus.codec import encode_record
from nalar.bus.subjects import LANE_NORMAL
from nalar.errors import Conflict, Unavailable, ValueTooLarge
from nalar.ids import MethodName, SessionId
from nalar.messages import Payload, Record
from nalar.statestore.port import KeyValue, KeyValueEntry
from tests.contract.worlds import (
    Collected,
    World,
    eventually,
    make_invocation,
    make_ref,
    new_agent,
)


def prefix() -> str:
    return f"test.{secrets.token_hex(5)}"


@pytest.fixture(params=["control", "snapshots"])
async def store(request: pytest.FixtureRequest, world: World) -> KeyValue:
    client: Backend = await world.connect()
    return client.control if request.param == "control" else client.snapshots


async def test_a_value_is_read_as_it_was_put(store: KeyValue) -> None:
    key = f"{prefix()}.=b64_token-1"
    assert await store.get(key) is None
    first = await store.put(key, b"one")
    assert await store.get(key) == KeyValueEntry(key, first, b"one")
    second = await store.put(key, b"")
    assert await store.get(key) == KeyValueEntry(key, second, b"")
    assert second > first


async def test_put_compares_the_revision(store: KeyValue) -> None:
    key = prefix()
    first = await store.put(key, b"one", expected=0)
    with pytest.raises(Conflict):
        await store.put(key, b"two", expected=0)
    second = await store.put(key, b"two", expected=first)
    with pytest.raises(Conflict):
        await store.put(key, b"three", expected=first)
    assert await store.get(key) == KeyValueEntry(key, second, b"two")


async def test_of_many_puts_at_one_revision_one_wins(store: KeyValue) -> None:
    key, revision = prefix(), 0
    for _ in range(5):
        outcomes = await asyncio.gather(
            *[store.put(key, b"%d" % n, expected=revision) for n in range(32)],
            return_exceptions=True,
        )
        (revision,) = [outcome for outcome in outcomes if isinstance(outcome, int)]
        assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 31


async def test_a_deleted_entry_is_absent_and_may_come_again(store: KeyValue) -> None:
    key = prefix()
    first = await store.put(key, b"one")
    with pytest.raises(Conflict):
        await store.delete(key, expected=first + 1000)
    with pytest.raises(Conflict):
        await store.delete(key, expected=0)
    await store.delete(key, expected=first)
    assert await store.get(key) is None
    with pytest.raises(Conflict):
        await store.put(key, b"two", expected=first)
    second = await store.put(key, b"two", expected=0)
    assert await store.get(key) == KeyValueEntry(key, second, b"two")
    await store.delete(key)
    await store.delete(key)
    assert await store.get(key) is None


async def test_scan_gives_the_live_entries_under_a_prefix(store: KeyValue) -> None:
    top = prefix()
    keys = [f"{top}.b.2", f"{top}.b.1", f"{top}.a", f"{top}.b", f"{top}.bb.1"]
    for key in keys:
        await store.put(key, key.encode())
    await store.put(f"{top}.b.gone", b"x")
    await store.delete(f"{top}.b.gone")

    async def found(under: str) -> list[str]:
        entries = await store.scan(under)
        assert all(entry.value == entry.key.encode() for entry in entries)
        return [entry.key for entry in entries]

    assert await found(f"{top}.b") == [f"{top}.b", f"{top}.b.1", f"{top}.b.2"]
    assert await found(f"{top}.") == sorted(keys)
    assert await found(f"{top}.none") == []
    assert {f"{top}.a", f"{top}.b"} <= {entry.key for entry in await store.scan("")}


async def test_a_key_that_is_too_large_or_no_key_is_refused(store: KeyValue) -> None:
    with pytest.raises(ValueTooLarge):
        await store.put(prefix(), b"x" * 1024 * 1024)
    await store.put(prefix(), b"x" * 1000)


@pytest.mark.parametrize("key", ["", "a b", "a..b", "a.*", "a.>", "a\r\nPUB x 0", ".a", "a."])
async def test_hostile_keys_are_refused(store: KeyValue, key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        await store.put(key, b"x")
    with pytest.raises(ValueError, match="key"):
        await store.get(key)


async def test_an_entry_with_a_time_to_live_expires_and_watchers_hear_of_it(world: World) -> None:
    client, key = await world.connect(), f"{prefix()}.lease"
    heard = Collected[KeyValueEntry]()
    client.control.watch(key.rpartition(".")[0], heard.append)
    first = await client.control.put(key, b"mine", expected=0, ttl_s=1.0)
    await heard.reach(2)
    assert heard[0] == KeyValueEntry(key, first, b"mine")
    assert (heard[1].key, heard[1].value) == (key, None)
    assert await client.control.get(key) is None
    assert await client.control.scan(key) == []
    second = await client.control.put(key, b"yours", expected=0, ttl_s=1.0)
    assert second > first


async def test_a_renewed_entry_lives_on(world: World) -> None:
    client, key = await world.connect(), prefix()
    revision = await client.control.put(key, b"mine", expected=0, ttl_s=1.0)
    for _ in range(4):
        await asyncio.sleep(0.4)
        revision = await client.control.put(key, b"mine", expected=revision, ttl_s=1.0)
    assert await client.control.get(key) == KeyValueEntry(key, revision, b"mine")

    async def gone() -> bool:
        return await client.control.get(key) is None

    await eventually(gone)


async def test_a_watch_hears_of_changes_under_its_prefix_alone(world: World) -> None:
    client, writer, top = await world.connect(), await world.connect(), prefix()
    heard = Collected[KeyValueEntry]()
    watch = client.control.watch(top, heard.append)
    await client.control.get(top)  # The server knows of the watch now.
    first = await writer.control.put(f"{top}.a", b"1", expected=0)
    with pytest.raises(Conflict):
        await writer.control.put(f"{top}.a", b"refused", expected=0)
    await writer.control.put(f"{top}a", b"beside", expected=0)
    await writer.control.delete(f"{top}.a")
    last = await writer.control.put(top, b"2")
    await heard.reach(3)
    assert [(entry.key, entry.value) for entry in heard] == [
        (f"{top}.a", b"1"),
        (f"{top}.a", None),
        (top, b"2"),
    ]
    assert (heard[0].revision, heard[2].revision) == (first, last)
    watch.close()
    watch.close()
    other = Collected[KeyValueEntry]()
    client.control.watch(top, other.append)
    await client.control.get(top)
    await writer.control.put(top, b"3")
    await other.reach(1)
    assert len(heard) == 3


async def test_a_blob_of_any_size_is_read_as_it_was(world: World) -> None:
    client, other = await world.connect(), await world.connect()
    for size in (0, 1, 128 * 1024, 128 * 1024 + 1, 30 * 1024 * 1024):
        data = secrets.token_bytes(min(size, 65536)) * (size // 65536 + 1)
        data = data[:size]
        blob = await client.blobs.put(data)
        assert blob.size == size
        assert await other.blobs.get(blob) == data
        assert await other.blobs.put(data) == blob


async def test_the_same_blob_put_at_once_is_whole(world: World) -> None:
    clients, data = [await world.connect() for _ in range(4)], secrets.token_bytes(500_000)
    blobs = await asyncio.gather(*[client.blobs.put(data) for client in clients])
    assert len(set(blobs)) == 1
    assert await clients[0].blobs.get(blobs[0]) == data


async def test_a_blob_that_is_gone_or_another_is_unavailable(world: World) -> None:
    client = await world.connect()
    blob = await client.blobs.put(secrets.token_bytes(1000))
    for wrong in (
        dataclasses.replace(blob, name="0" * 64),
        dataclasses.replace(blob, size=999),
        dataclasses.replace(blob, sha256="0" * 64),
    ):
        with pytest.raises(Unavailable):
            await client.blobs.get(wrong)


async def test_many_values_are_read_at_once(store: KeyValue) -> None:
    under = prefix()
    keys = [f"{under}.{n}" for n in range(600)]  # More than one read of many takes.
    await asyncio.gather(*[store.put(key, key.encode()) for key in keys[:-1]])
    await store.delete(keys[0])
    found = {entry.key: entry.value for entry in await store.get_all(keys)}
    assert found == {key: key.encode() for key in keys[1:-1]}
    assert await store.get_all([]) == []


async def test_keys_are_listed_without_their_values(store: KeyValue) -> None:
    under = prefix()
    for key in ("b", "a.x", "a.y"):
        await store.put(f"{under}.{key}", b"1")
    assert await store.keys(under) == [f"{under}.a.x", f"{under}.a.y", f"{under}.b"]
    assert await store.keys(f"{under}.a") == [f"{under}.a.x", f"{under}.a.y"]
    assert await store.keys(f"{under}.none") == []


async def test_a_blob_that_nobody_puts_any_more_is_found_and_dropped(world: World) -> None:
    client = await world.connect()
    old, kept = secrets.token_bytes(300_000), secrets.token_bytes(10)
    dropped, put_again = await client.blobs.put(old), await client.blobs.put(kept)
    await asyncio.sleep(0.6)  # What is measured is the age itself.
    assert {dropped.name, put_again.name} <= set(await client.blobs.unused_for(0.4))
    await client.blobs.put(kept)
    unused = await client.blobs.unused_for(0.4)
    assert dropped.name in unused
    assert put_again.name not in unused
    await client.blobs.drop([dropped.name])
    with pytest.raises(Unavailable, match="gone"):
        await client.blobs.get(dropped)
    assert await client.blobs.get(put_again) == kept
    assert await client.blobs.put(old) == dropped
    assert await client.blobs.get(dropped) == old


async def test_whatever_is_stored_tells_which_blobs_it_needs(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    blobs = [await client.blobs.put(secrets.token_bytes(20)) for _ in range(5)]
    recorded, waiting, snapshot, letter, _ = blobs
    ref = make_ref(agent)
    record = Record(
        ref, MethodName("m"), SessionId("s"), "succeeded", Payload(None, recorded), None,
        Payload(b"{}"), None, "w", 1, 1.0, 2.0, 3.0,
    )  # fmt: skip
    await client.ledger.commit(ref, encode_record(record), expected=0, ttl_s=60)
    await client.queue.ensure(agent, slots=0)
    call = dataclasses.replace(make_invocation(make_ref(agent)), arguments=Payload(None, waiting))
    await client.queue.publish(LANE_NORMAL, call)
    told = orjson.dumps({"blob": dataclasses.asdict(snapshot)})
    await client.snapshots.put(f"state.{agent}.s", told)
    told = orjson.dumps({"blob": dataclasses.asdict(letter)})
    await client.control.put(f"dead.{secrets.token_hex(4)}", told)
    named = await client.blobs.referred_to([agent])
    assert named & {blob.name for blob in blobs} == {blob.name for blob in blobs[:-1]}
