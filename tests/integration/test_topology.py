# pyright: reportUnknownMemberType=false
# -- nats-py's methods with `**params` are partially unknown.
"""Streams as they stand: readable by other tools, guarded, and compared with what is wanted."""

import asyncio
import hashlib

import nats
import orjson
import pytest
from nats.js.errors import APIError

from nalar.bus import subjects, topology
from nalar.bus.embedded import EmbeddedServer
from nalar.bus.link import Link
from nalar.bus.replies import ApiError, parse_api
from nalar.errors import Unavailable
from nalar.settings import Settings
from nalar.statestore.jetstream import JetStreamBackend, open_jetstream, replicas_of
from tests.contract.worlds import make_invocation, make_ref, new_agent

LEDGER = subjects.bucket_stream(subjects.LEDGER_BUCKET)


async def test_other_clients_read_records_state_and_blobs(
    server: EmbeddedServer, backend: JetStreamBackend
) -> None:
    ref, data = make_ref(new_agent(), session="s1"), b"large" * 100_000
    await backend.ledger.commit(ref, b'{"a":1}', expected=0, ttl_s=3600)
    await backend.snapshots.put("state.Analyst.s1", b'{"n":1}')
    await backend.control.put("lease.Analyst.3", b"worker1", ttl_s=60)
    blob = await backend.blobs.put(data)
    other = await nats.connect(server.url)
    js = other.jetstream()
    bucket = await js.key_value(subjects.LEDGER_BUCKET)
    assert (await bucket.get(str(ref))).value == b'{"a":1}'
    assert (await bucket.get("state.Analyst.s1")).value == b'{"n":1}'
    control = await js.key_value(subjects.CONTROL_BUCKET)
    assert (await control.get("lease.Analyst.3")).value == b"worker1"
    store = await js.object_store(subjects.BLOB_BUCKET)
    found = await store.get(blob.name)
    assert hashlib.sha256(found.data or b"").hexdigest() == blob.sha256
    await other.close()


async def test_one_key_cannot_wipe_the_bucket_and_no_record_can_be_deleted(
    server: EmbeddedServer, backend: JetStreamBackend
) -> None:
    ref = make_ref(new_agent())
    revision = await backend.ledger.commit(ref, b"x", expected=0, ttl_s=3600)
    other = await nats.connect(server.url)
    js = other.jetstream()
    for scope in ("all", "sub"):
        with pytest.raises(APIError) as refused:
            await js.publish(subjects.record_subject(ref), b"", headers={"Nats-Rollup": scope})
        assert refused.value.err_code == 10111
    await other.close()
    body = orjson.dumps({"seq": revision})
    reply = await backend.link.api(subjects.api_stream("MSG.DELETE", LEDGER), body)
    with pytest.raises(ApiError):
        parse_api(reply)
    # Housekeeping, and who else has the right to this call, can purge a subject.
    body = orjson.dumps({"filter": subjects.record_subject(ref)})
    purged = parse_api(await backend.link.api(subjects.api_stream("PURGE", LEDGER), body))
    assert purged["purged"] == 1


async def test_reading_leaves_no_consumer_behind(backend: JetStreamBackend) -> None:
    streams = (LEDGER, subjects.BLOB_STREAM, subjects.bucket_stream(subjects.CONTROL_BUCKET))

    async def consumers() -> list[int]:
        infos = [await backend.link.api(subjects.api_stream("INFO", name)) for name in streams]
        return [parse_api(info)["state"]["consumer_count"] for info in infos]

    before = await consumers()
    blob = await backend.blobs.put(b"x" * 1_000_000)
    await backend.blobs.get(blob)
    await backend.ledger.find("call.*.*.*.*.*.*")
    watch = backend.control.watch("lease", lambda _: None)
    assert await consumers() == before
    watch.close()


async def test_a_stream_that_stands_otherwise_is_an_error_that_names_the_difference(
    backend: JetStreamBackend,
) -> None:
    agent = new_agent()
    wrong = topology.queue_stream(agent) | {"retention": "limits", "max_age": 5_000_000_000}
    await topology.ensure_stream(backend.link, wrong)
    with pytest.raises(Unavailable, match=r"max_age is 5000000000, not 0") as raised:
        await backend.queue.ensure(agent, slots=0)
    assert "retention is 'limits', not 'workqueue'" in str(raised.value)


async def test_what_an_operator_may_tune_is_left_alone(backend: JetStreamBackend) -> None:
    agent = new_agent()
    tuned = topology.queue_stream(agent) | {"description": "ours", "max_bytes": 10_000_000}
    await topology.ensure_stream(backend.link, tuned)
    await backend.queue.ensure(agent, slots=0)
    reply = await backend.link.api(subjects.api_stream("INFO", subjects.queue_stream(agent)))
    assert parse_api(reply)["config"]["max_bytes"] == 10_000_000


async def test_consumers_take_the_lease_of_who_ensures_them_last(
    server: EmbeddedServer, backend: JetStreamBackend
) -> None:
    agent = new_agent()
    await backend.queue.ensure(agent, slots=1)
    longer = await open_jetstream(Settings(url=server.url, lease_s=7.0))
    await longer.queue.ensure(agent, slots=1)
    await longer.close()
    at = subjects.api_consumer("INFO", subjects.queue_stream(agent), "s-0")
    config = parse_api(await backend.link.api(at))["config"]
    assert config["ack_wait"] == 7_000_000_000
    assert config["max_ack_pending"] == -1
    assert config["max_deliver"] == -1
    assert config["filter_subject"] == subjects.lane_filter(agent, "s.0")


async def test_many_processes_open_an_empty_server_at_once(server: EmbeddedServer) -> None:
    opened = await asyncio.gather(*[open_jetstream(Settings(url=server.url)) for _ in range(8)])
    agent = new_agent()
    await asyncio.gather(*[one.queue.ensure(agent, slots=4) for one in opened])
    for one in opened:
        await one.close()


async def test_without_rights_the_refusal_is_quoted(backend: JetStreamBackend) -> None:
    link = Link(Settings(url=str(backend.describe()["url"])))
    await link.open()
    with pytest.raises(Unavailable, match="cannot be made"):
        await topology.ensure_stream(link, topology.ledger_stream() | {"name": "OTHER"})
    await link.close()


def test_a_cluster_keeps_copies_however_many_servers_are_up() -> None:
    settings = Settings(replicas=5)
    assert replicas_of({"version": "2.15.1"}, settings) == 1
    assert replicas_of({"cluster": "c", "connect_urls": ["a"]}, settings) == 5


async def test_a_queue_that_is_full_is_no_message_that_waits_already(
    backend: JetStreamBackend,
) -> None:
    agent = new_agent()
    await topology.ensure_stream(backend.link, topology.queue_stream(agent) | {"max_bytes": 1000})
    invocation = make_invocation(make_ref(agent), body=b'{"x":"%s"}' % (b"x" * 2000))
    with pytest.raises(Unavailable, match="maximum bytes exceeded"):
        await backend.queue.publish(subjects.LANE_NORMAL, invocation)
