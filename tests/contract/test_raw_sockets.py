"""Publishers without a client, by hand over a socket: whatever they send, the worker serves on."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import nalar
from nalar.bus.subjects import LANE_NORMAL, invocation_subject
from nalar.ids import AgentName, FutureId
from nalar.settings import Settings
from tests.clusters import Cluster, jetstream_cluster, until


@nalar.tool(name="socket_add")
async def add(a: int, b: int = 1) -> int:
    return a + b


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncGenerator[Cluster]:
    async with jetstream_cluster(Settings(lease_s=2.0, reread_s=1.0), tmp_path) as made:
        yield made


def subject(number: int) -> bytes:
    future = FutureId(f"x{number}")
    return invocation_subject(AgentName("socket_add"), LANE_NORMAL, future).encode()


@asynccontextmanager
async def socket(
    cluster: Cluster,
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = cluster.settings.url.removeprefix("nats://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    await reader.readline()
    writer.write(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n')
    try:
        yield reader, writer
    finally:
        writer.close()


async def said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Have the server read all that was written; return what it says to it."""
    writer.write(b"PING\r\n")
    async with asyncio.timeout(10):
        return await reader.readline()


HEAD = b"NATS/1.0\r\nNalar-Protocol: 1\r\n"
BODY = b'{"path":"","arguments":{"a":1}}'
#: Header blocks that arrive whole and mean nothing.
ODD_HEADS = (
    b"NATS/1.0\r\n\r\n",
    b"NATS/1.0",
    HEAD,  # No blank line at the end.
    HEAD + b"Nalar-Ref",
    HEAD + b"Nalar-Ref: \xff\xfe\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"NATS/1.0 503\r\n\r\n",
    b"\r\n\r\n\r\n\r\n",
    HEAD + b"Nalar-Ref: call.r.socket_add._.x.y.x7\r\n" * 2 + b"\r\n",
    HEAD + b"X: " + b"y" * 40_000 + b"\r\n\r\n",
)


async def test_odd_header_blocks_are_buried_one_by_one(cluster: Cluster) -> None:
    worker = await cluster.worker("socket_add")
    await cluster.client()
    buried: set[str] = set()
    worker.backend.control.watch("dead", lambda entry: buried.add(entry.key))
    async with socket(cluster) as (reader, writer):
        for number, head in enumerate(ODD_HEADS):
            sizes = b"%d %d" % (len(head), len(head) + len(BODY))
            writer.write(b"HPUB %s %s\r\n%s%s\r\n" % (subject(number), sizes, head, BODY))
            assert await said(reader, writer) == b"PONG\r\n"
    await until(lambda: len(buried) == len(ODD_HEADS))
    assert await add(1) == 2


async def test_half_messages_and_broken_commands_reach_nobody(cluster: Cluster) -> None:
    worker = await cluster.worker("socket_add")
    await cluster.client()
    buried: set[str] = set()
    worker.backend.control.watch("dead", lambda entry: buried.add(entry.key))
    for number, cut in enumerate(
        (
            b"HPUB %s 30 500\r\n" + HEAD,
            b"HPUB %s 30",
            b"PUB %s 100\r\nhalf",
            b"HPUB %s 500 30\r\n" + HEAD + BODY + b"\r\n",
            b"HPUB %s -1 -1\r\n\r\n",
            b"PUB %s 99999999999\r\n",
        )
    ):
        async with socket(cluster) as (_, writer):
            writer.write(cut % subject(number))
            await writer.drain()
        assert await add(number) == number + 1
    assert not buried
