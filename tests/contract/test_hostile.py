"""Whatever is published to an agent's queue, its worker lives and other calls go on."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import orjson
import pytest

import nalar
from nalar.bus.codec import encode_invocation
from nalar.bus.embedded import EmbeddedServer, ServerOptions
from nalar.bus.subjects import invocation_subject
from nalar.errors import ArgumentError, CallError, Expired, UnknownTarget
from nalar.ids import AgentName, FutureId, MethodName, Ref, RootId, SessionId
from nalar.messages import Invocation, Payload
from nalar.settings import Settings
from nalar.statestore.jetstream import JetStreamBackend
from tests.clusters import Cluster, jetstream_cluster, publish_raw, until


@nalar.tool(name="hostile_add")
async def add(a: int, b: int = 1) -> int:
    return a + b


class HostileNotes(nalar.Agent, stateful=True):
    notes: nalar.ManagedList[str]

    @nalar.method()
    async def add(self, note: str) -> int:
        self.notes.append(note)
        return len(self.notes)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncGenerator[Cluster]:
    async with jetstream_cluster(Settings(lease_s=2.0, reread_s=1.0), tmp_path) as made:
        yield made


def invocation(future: str, **changes: Any) -> Invocation:
    ref = Ref(
        "r", AgentName("hostile_add"), SessionId("_"), RootId(future), "stranger", FutureId(future)
    )
    values: dict[str, Any] = {
        "ref": ref, "method": MethodName("run"), "session": SessionId(future),
        "arguments": Payload(b'{"a": 1}'), "deadline": 4e9, "created": 1.0,
    }  # fmt: skip
    return Invocation(**(values | changes))


def hostile_messages() -> dict[str, tuple[bytes, bytes]]:
    head, body = encode_invocation(invocation("x"))
    return {
        "no headers": (b"", body),
        "not JSON": (head, b"{not json"),
        "not UTF-8": (head, b'{"path":"\xff\xfe","arguments":{}}'),
        "NaN": (head, b'{"path":"","arguments":{"a":NaN}}'),
        "arguments are a list": (head, b'{"path":"","arguments":[1]}'),
        "nested without end": (head, b'{"path":"","arguments":{"a":' + b"[" * 100_000),
        "nothing at all": (head, b""),
        "unknown version": (head.replace(b"Protocol: 1", b"Protocol: 99"), body),
        "no method": (head.replace(b"Nalar-Method: run\r\n", b""), body),
        "a header twice": (head.replace(b"Nalar-Method: run", b"Nalar-Method: run\r\nnalar-method: x"), body),  # noqa: E501 -- one line reads best
        "another call's ref": (head.replace(b".x\r\n", b".y\r\n"), body),
        "a hostile session": (head.replace(b"Nalar-Session: x", b"Nalar-Session: a.b.>"), body),
        "an endless deadline": (head.replace(b"4000000000.0", b"inf"), body),
        "no number": (head.replace(b"4000000000.0", b"soon"), body),
        "state in a stateless agent": (head.replace(b"call.r.hostile_add._", b"call.s.hostile_add.x"), body),  # noqa: E501
    }  # fmt: skip


@pytest.mark.nats
async def test_malformed_messages_are_removed_and_recorded_with_their_reason(
    cluster: Cluster,
) -> None:
    worker = await cluster.worker("hostile_add")
    client = await cluster.client()
    recorded: set[str] = set()
    worker.backend.control.watch("dead", lambda entry: recorded.add(entry.key))
    messages = hostile_messages()
    subject = invocation_subject(AgentName("hostile_add"), "q.normal", FutureId("x"))
    for count, (name, (head, body)) in enumerate(messages.items(), start=1):
        await publish_raw(cluster.settings.url, subject, head, body)
        await until(lambda: len(recorded) >= count)  # noqa: B023 -- called in this turn
        while (await client.stores(["hostile_add"]))[-1].messages:
            pass  # It is removed after it was recorded, and a queue keeps one message a subject.
        dead = await worker.backend.control.scan("dead")
        assert len(dead) == count, name
    dead = await worker.backend.control.scan("dead")
    reasons = {orjson.loads(entry.value or b"")["reason"] for entry in dead}
    assert any("99" in reason for reason in reasons)
    assert any("Nalar-Method" in reason for reason in reasons)
    assert await add(1) == 2
    serving = worker.worker
    assert serving is not None
    # Its caller hears of the record before the worker counts the call.
    await until(lambda: serving.describe()["finished"] == 1)


@pytest.mark.nats
@pytest.mark.parametrize(
    ("arguments", "error"),
    [(b'{"a": "seven"}', ArgumentError), (b"{}", ArgumentError), (b'{"z": 1}', ArgumentError)],
)
async def test_arguments_that_do_not_fit_end_in_a_typed_error(
    cluster: Cluster, arguments: bytes, error: type[CallError]
) -> None:
    await cluster.worker("hostile_add")
    client = await cluster.client()
    sent = invocation("x", arguments=Payload(arguments))
    await client.host.backend.queue.publish("q.normal", sent)
    with pytest.raises(error, match="hostile_add"):
        await client.host.calls.attach(None, sent.ref)


@pytest.mark.nats
async def test_a_call_that_is_to_begin_after_its_deadline_expires_and_is_delivered_but_twice(
    cluster: Cluster,
) -> None:
    host = await cluster.worker("hostile_add")
    client = await cluster.client()
    now_s = host.clock.now_s()
    sent = invocation("x", not_before=1e14, deadline=now_s + 1.0)
    await client.host.backend.queue.publish("q.normal", sent)
    with pytest.raises(Expired):
        await client.host.calls.attach(None, sent.ref)
    backend = host.backend
    assert isinstance(backend, JetStreamBackend)
    about = await backend.link.api("$JS.API.CONSUMER.INFO.NALAR_INV_hostile_add.q-normal")
    assert orjson.loads(about)["delivered"]["consumer_seq"] == 2


@pytest.mark.nats
async def test_an_unknown_method_ends_in_a_typed_error_that_names_what_there_is(
    cluster: Cluster,
) -> None:
    await cluster.worker("hostile_add")
    client = await cluster.client()
    sent = invocation("x", method=MethodName("runn"))
    await client.host.backend.queue.publish("q.normal", sent)
    with pytest.raises(UnknownTarget, match=r"'runn'.*run"):
        await client.host.calls.attach(None, sent.ref)


@pytest.mark.nats
async def test_a_ten_megabyte_string_is_a_value_like_any_other(cluster: Cluster) -> None:
    await cluster.worker("HostileNotes")
    client = await cluster.client()
    note = "x" * 10_000_000
    assert await HostileNotes.options(session="s").add(note) == 1
    view = await client.session("HostileNotes", "s")
    assert view.state == {"notes": [note]}


@pytest.mark.nats
async def test_a_stateful_call_published_to_a_shared_lane_finds_its_session(
    cluster: Cluster,
) -> None:
    await cluster.worker("HostileNotes")
    client = await cluster.client()
    ref = Ref("s", AgentName("HostileNotes"), SessionId("s"), RootId("x"), "me", FutureId("x"))
    sent = invocation(
        "x", ref=ref, method=MethodName("add"), session=SessionId("s"),
        arguments=Payload(b'{"note": "from elsewhere"}'),
    )  # fmt: skip
    await client.host.backend.queue.publish("q.normal", sent)
    assert await client.host.calls.attach(None, ref) == 1
    assert (await client.session("HostileNotes", "s")).state == {"notes": ["from elsewhere"]}


@pytest.mark.nats
@pytest.mark.timeout(90)
async def test_five_thousand_dependants_published_before_their_producer_all_run(
    cluster: Cluster,
) -> None:
    worker = await cluster.worker("hostile_add", concurrency=4)
    client = await cluster.client()
    producer = invocation("producer")
    arguments = Payload(orjson.dumps({"a": {"$future": str(producer.ref)}, "b": 1}))
    futures: list[nalar.Future[int]] = []
    for number in range(5000):
        dependant = invocation(f"d{number}", arguments=arguments, dependencies=(producer.ref,))
        client.host.backend.queue.publish("q.normal", dependant)
        futures.append(client.host.calls.attach(None, dependant.ref))
    local = worker.worker
    assert local is not None
    await until(lambda: local.describe()["parked"] == 5000, timeout_s=30)
    await client.host.backend.queue.publish("q.normal", producer)
    async with asyncio.timeout(30):
        assert set(await nalar.gather(*futures)) == {3}


@pytest.mark.nats
async def test_a_server_that_is_killed_and_comes_back_loses_nothing(
    cluster: Cluster, tmp_path: Path
) -> None:
    store = tmp_path / "restart"
    options = ServerOptions(store=store, port=0, sync_always=False)
    async with EmbeddedServer(options) as server:
        cluster.settings = Settings(url=server.url, lease_s=2.0, reread_s=1.0)
        await cluster.worker("hostile_add")
        await cluster.client()
        assert await add(1) == 2
        futures = [add(n) for n in range(200)]
        await server.kill()
        port = int(server.url.rpartition(":")[2])
        async with EmbeddedServer(ServerOptions(store=store, port=port, sync_always=False)):
            more = [add(n) for n in range(200, 300)]
            async with asyncio.timeout(30):
                assert await nalar.gather(*futures, *more) == list(range(1, 301))
            await _closed(cluster)


async def _closed(cluster: Cluster) -> None:
    """Drain and close everything while the second server still stands."""
    await cluster._stack.aclose()
