"""The link to a real server: first connection, loss, return, and limits."""

import asyncio
import contextlib
import logging
import re
import socket
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import orjson
import pytest

from nalar.bus import subjects
from nalar.bus.connection import PAYLOAD_MARGIN_BYTES
from nalar.bus.embedded import EmbeddedServer, ServerOptions
from nalar.bus.link import Link
from nalar.bus.port import Delivery
from nalar.bus.replies import NoResponders, Unanswered
from nalar.bus.waiter import Waiter
from nalar.errors import CommitUnknown, Unavailable, UnsupportedServer, UsageError, ValueTooLarge
from nalar.loops import new_loop
from nalar.messages import Invocation
from nalar.settings import Settings
from nalar.statestore.jetstream import JetStreamBackend, open_jetstream
from nalar.statestore.port import LedgerEntry
from tests.contract.worlds import (
    Collected,
    eventually,
    make_invocation,
    make_ref,
    new_agent,
)

LANE = subjects.LANE_NORMAL


@contextlib.asynccontextmanager
async def listener(info: dict[str, object] | None) -> AsyncGenerator[str]:
    """Listen as a server that says `info` and PONG and no more, or nothing at all."""
    open_connections = set[asyncio.StreamWriter]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_connections.add(writer)
        if info is not None:
            writer.write(b"INFO " + orjson.dumps(info) + b"\r\n")
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                if info is not None and line.startswith(b"PING"):
                    writer.write(b"PONG\r\n")
        writer.close()
        open_connections.discard(writer)

    async def nobody_left() -> bool:
        return not open_connections

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port: int = listening.sockets[0].getsockname()[1]
    yield f"nats://127.0.0.1:{port}"
    listening.close()
    for writer in tuple(open_connections):
        writer.close()
    await eventually(nobody_left)


async def test_no_server_is_said_with_what_was_tried(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # Bound, but nobody listens.
        url = f"nats://127.0.0.1:{taken.getsockname()[1]}"
        started = asyncio.get_running_loop().time()
        with pytest.raises(Unavailable) as raised:
            await open_jetstream(Settings(url=url, connect_timeout_s=0.6))
        assert asyncio.get_running_loop().time() - started < 1.5
    assert url in str(raised.value)
    assert "refused" in str(raised.value).lower()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_listener_that_says_nothing_is_given_up_in_time() -> None:
    async with listener(None) as url:
        started = asyncio.get_running_loop().time()
        with pytest.raises(Unavailable, match=url):
            await open_jetstream(Settings(url=url, connect_timeout_s=0.5))
        assert asyncio.get_running_loop().time() - started < 1.5


@pytest.mark.parametrize("version", ["2.9.10", "2.14.4", "2.15.0", "2.13.9", "2.15.0-RC.1"])
async def test_an_old_server_is_refused_by_both_versions(version: str) -> None:
    async with listener({"version": version, "jetstream": True, "max_payload": 1024}) as url:
        with pytest.raises(
            UnsupportedServer, match=rf"{version}; Nalar needs 2\.14\.5 or 2\.15\.1"
        ):
            await open_jetstream(Settings(url=url, connect_timeout_s=1))


@pytest.mark.parametrize("version", ["2.14.5", "2.14.9", "2.15.1", "2.16.0", "3.0.0"])
async def test_a_new_server_is_taken(version: str) -> None:
    async with listener({"version": version, "jetstream": True, "max_payload": 1024}) as url:
        link = Link(Settings(url=url, connect_timeout_s=1))
        await link.open()
        assert link.describe()["version"] == version
        await link.close()


async def test_a_server_without_jetstream_is_told_how_to_get_it() -> None:
    async with listener({"version": "2.15.1", "max_payload": 1024}) as url:
        with pytest.raises(Unavailable, match="nats-server -js"):
            await open_jetstream(Settings(url=url, connect_timeout_s=1))


async def test_a_silent_cluster_is_asked_again_and_a_commit_counts_as_unknown_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nalar.bus.requests.SILENCE_S", 0.3)
    monkeypatch.setattr("nalar.bus.requests.UNKNOWN_S", 0.6)
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = {"version": "2.15.1", "jetstream": True, "max_payload": 10**6, "cluster": "c"}
        writer.write(b"INFO " + orjson.dumps(info) + b"\r\n")
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
            elif line.startswith(b"PUB $JS.API"):
                asked.append(line)
                if len(asked) == 3:  # As if it had lost the first two.
                    writer.write(b"MSG %b 1 2\r\n{}\r\n" % line.split()[2])
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        port: int = listening.sockets[0].getsockname()[1]
        link = Link(Settings(url=f"nats://127.0.0.1:{port}", reply_timeout_s=30))
        await link.open()
        assert await link.api("$JS.API.INFO") == b"{}"
        assert len(asked) == 3
        with pytest.raises(Unanswered):
            await link.request(Waiter("work", b"x", resends=False), 30)
        await link.close()


async def test_whoever_opens_a_link_can_be_stopped_at_every_step(server: EmbeddedServer) -> None:
    for steps in range(40):
        link = Link(Settings(url=server.url))
        opening = asyncio.get_running_loop().create_task(link.open())
        for _ in range(steps):
            await asyncio.sleep(0)
            time.sleep(0.001)  # noqa: ASYNC251 -- the answer and the end come in one turn
        if opening.done():
            await link.close()
            return
        opening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await opening
        await link.close()
        assert opening.cancelled(), f"opened in spite of the cancellation after {steps} steps"
    pytest.fail("it never came to the end of opening")


async def test_wrong_credentials_are_said_at_once(tmp_path: Path) -> None:
    async with EmbeddedServer(ServerOptions(tmp_path, token="secret")) as locked:
        started = asyncio.get_running_loop().time()
        with pytest.raises(Unavailable, match=r"(?i)authorization"):
            await open_jetstream(Settings(url=locked.url, token="wrong"))
        assert asyncio.get_running_loop().time() - started < 2
        await (await open_jetstream(Settings(url=locked.url, token="secret"))).close()


async def test_credentials_that_cannot_be_read_are_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ca='/nonexistent"):
        await open_jetstream(Settings(ca="/nonexistent.pem"))
    with pytest.raises(UsageError, match="nope"):
        await open_jetstream(Settings(creds=str(tmp_path / "nope")))


async def test_bytes_around_the_limit_never_close_the_connection(backend: JetStreamBackend) -> None:
    link, limit = backend.link, backend.link.max_payload - PAYLOAD_MARGIN_BYTES
    headers = b"NATS/1.0\r\nX: y\r\n\r\n"
    inbox = Collected[bytes]()
    link.subscribe("big", lambda _subject, _reply, payload, _headers: inbox.append(payload))
    sent = 0
    for size in (limit - 1, limit, limit + 1, link.max_payload, link.max_payload + 1):
        for head in (None, headers):
            body = b"x" * (size - len(head or b""))
            waiter = Waiter("big", body, head)
            if size > limit:
                with pytest.raises(ValueTooLarge):
                    await link.request(waiter, 5)
            else:
                waiting = link.request(waiter, 0.1)
                sent += 1
                await inbox.reach(sent)
                assert inbox[-1] == body
                with pytest.raises(Unanswered):
                    await waiting
    assert link.connected
    assert link.losses == 0


async def test_a_request_that_nobody_answers_ends_in_time(backend: JetStreamBackend) -> None:
    link = backend.link
    with pytest.raises(NoResponders):
        await link.request(Waiter("nobody.listens", b""), 5)
    link.subscribe("somebody.listens", lambda _subject, _reply, _payload, _headers: None)
    with pytest.raises(Unanswered, match="no answer in time"):
        await link.request(Waiter("somebody.listens", b""), 0.3)


async def test_a_handler_that_raises_does_not_end_the_connection(backend: JetStreamBackend) -> None:
    loop, errors, got = asyncio.get_running_loop(), list[object](), Collected[bytes]()
    loop.set_exception_handler(lambda _, context: errors.append(context["exception"]))

    def broken(_subject: bytes, _reply: bytes, payload: bytes, _headers: bytes | None) -> None:
        got.append(payload)
        raise RuntimeError(payload)

    backend.link.subscribe("broken", broken)
    backend.link.signal(b"broken", b"1")
    backend.link.signal(b"broken", b"2")
    await got.reach(2)
    loop.set_exception_handler(None)
    assert len(errors) == 2
    assert backend.link.connected


async def test_everything_goes_on_after_the_server_was_killed(
    server: EmbeddedServer, backend: JetStreamBackend
) -> None:
    agent, events = new_agent(), Collected[str]()
    backend.on_reconnect(lambda: events.append("reconnect"))
    done = [make_ref(agent) for _ in range(5)]
    for ref in done:
        await backend.ledger.commit(ref, b"x", expected=0, ttl_s=3600)
    got, lapsed, heard = Collected[Delivery](), Collected[int](), Collected[LedgerEntry]()
    backend.ledger.watch(f"call.*.{agent}.*.*.*.*", heard.append)
    await backend.queue.ensure(agent, slots=0)
    inbox = await backend.queue.open(agent, LANE, got.append, lapsed.append)
    inbox.request(7)
    first = make_invocation(make_ref(agent))
    await backend.queue.publish(LANE, first)
    held = (await got.reach(1))[0]

    await server.kill()

    async def noticed() -> bool:
        return not backend.link.connected

    await eventually(noticed)
    with pytest.raises(CommitUnknown):
        await backend.ledger.commit(make_ref(agent), b"lost", expected=0, ttl_s=3600)
    later = [make_invocation(make_ref(agent)) for _ in range(3)]
    publishing = [backend.queue.publish(LANE, one) for one in later]
    reading = asyncio.gather(backend.ledger.read(done))
    inbox.request(2)
    held.ack()
    await server.start()

    await events.reach(1)
    assert list(lapsed) == [6]
    inbox.request(6)
    await asyncio.gather(*publishing)
    (read,) = await reading
    assert set(read) == set(done)
    # The server forgets a delivery that it had not yet written down, and its ack with it: the
    # first message may come again. The later ones come in their order, each once.
    await eventually(lambda: came(got, 3, but=first))
    assert [one.content for one in got if one.content != first] == later
    last = make_ref(agent)
    await backend.ledger.commit(last, b"after", expected=0, ttl_s=3600)
    await heard.reach(1)
    assert heard[-1].ref == last
    assert backend.describe()["reconnects"] == 1


async def test_a_lost_server_is_told_in_one_line_and_its_return_in_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, free_port: int
) -> None:
    caplog.set_level(logging.DEBUG, "nalar.link")
    back = Collected[None]()
    async with EmbeddedServer(ServerOptions(tmp_path, port=free_port, sync_always=False)) as server:
        backend = await open_jetstream(Settings(url=server.url))
        backend.on_reconnect(lambda: back.append(None))
        await server.kill()
        until = asyncio.get_running_loop().time() + 1.0
        await eventually(lambda: _at(until))
        await server.start()
        await back.reach(1)
        lost, returned = (record.getMessage() for record in caplog.records)
        assert lost == f"lost the server at {server.url}; trying again until it is back"
        assert re.fullmatch(rf"the server at {server.url} is back after [1-9]\.\d s", returned)
        await backend.close()
        assert len(caplog.records) == 2, "closing is no loss"


async def _at(time_s: float) -> bool:
    return asyncio.get_running_loop().time() >= time_s


async def came(got: list[Delivery], count: int, *, but: Invocation) -> bool:
    return sum(delivery.content != but for delivery in got) == count


async def test_publishes_on_their_way_at_a_kill_are_stored_once(
    server: EmbeddedServer, backend: JetStreamBackend
) -> None:
    agent, count = new_agent(), 2000
    await backend.queue.ensure(agent, slots=0)
    sent = [make_invocation(make_ref(agent)) for _ in range(count)]
    publishing = [backend.queue.publish(LANE, one) for one in sent]
    await publishing[0]  # Some are stored by now, most are not.
    await server.kill()
    await server.start()
    await asyncio.gather(*publishing)
    got = Collected[Delivery]()
    inbox = await backend.queue.open(agent, LANE, got.append, lambda _: None)
    inbox.request(count + 10)
    await got.reach(count)
    await asyncio.sleep(0.2)
    refs = [one.content.ref for one in got if not isinstance(one.content, Exception)]
    assert len(refs) == len(set(refs)) == count
    for delivery in got:
        delivery.ack()


async def test_commits_on_their_way_at_a_kill_end_at_once_and_none_that_was_told_is_missing(
    server: EmbeddedServer, backend: JetStreamBackend
) -> None:
    refs = [make_ref(new_agent()) for _ in range(500)]
    commits = [backend.ledger.commit(ref, b"x", expected=0, ttl_s=3600) for ref in refs]
    await commits[0]
    await server.kill()
    async with asyncio.timeout(2):
        outcomes = await asyncio.gather(*commits, return_exceptions=True)
    await server.start()
    assert all(isinstance(one, int | CommitUnknown) for one in outcomes)
    told = {ref for ref, one in zip(refs, outcomes, strict=True) if isinstance(one, int)}
    assert told <= set(await backend.ledger.read(refs))


async def test_a_deleted_consumer_is_made_again(backend: JetStreamBackend) -> None:
    agent = new_agent()
    got, lapsed = Collected[Delivery](), Collected[int]()
    await backend.queue.ensure(agent, slots=0)
    inbox = await backend.queue.open(agent, LANE, got.append, lapsed.append)
    inbox.request(3)
    stream, durable = subjects.queue_stream(agent), subjects.lane_durable(LANE)
    asked = subjects.api_consumer("INFO", stream, durable)
    while b'"num_waiting":0' in await backend.link.api(asked):
        pass  # A request that meets the deletion on its way is answered by silence alone.
    await backend.link.api(subjects.api_consumer("DELETE", stream, durable))
    await lapsed.reach(1)
    inbox.request(3)
    sent = make_invocation(make_ref(agent))
    await backend.queue.publish(LANE, sent)
    while not got:  # Asked before the consumer stood again: told so, and asked again.
        asked = len(lapsed)
        with contextlib.suppress(TimeoutError):
            await got.reach(1, within_s=0.3)
        if len(lapsed) > asked:
            inbox.request(3)
    assert got[0].content == sent


def test_a_connection_that_ends_while_it_is_written_to_ends_nothing_else(
    server: EmbeddedServer,
) -> None:
    """uvloop refuses to write to a closed socket before the reading task knows of its end."""
    reported: list[dict[str, object]] = []

    async def lose_and_write() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reported.append(context))
        link = Link(Settings(url=server.url))
        await link.open()
        try:
            lost = link._connection
            assert lost is not None
            socket_of: Any = lost.client._transport
            socket_of._io_writer.transport.abort()
            await asyncio.sleep(0)  # The socket is closed.
            assert lost.alive
            lost.write(b"PING\r\n")
            await link.flush(5.0)
            await eventually(lambda: back(link))
        finally:
            await link.close()

    async def back(link: Link) -> bool:
        return link.losses == 1 and link.connected

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(lose_and_write())
    assert reported == []
