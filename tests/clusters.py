"""A small cluster for tests: any number of workers and clients on one broker, of either kind."""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from nalar.agents.registry import REGISTRY
from nalar.backend import Backend
from nalar.bus.embedded import EmbeddedServer, ServerOptions
from nalar.client.agreement import agreed
from nalar.client.client import Client
from nalar.clock import SystemClock
from nalar.context import connect_runtime, disconnect_runtime
from nalar.processes.host import Host
from nalar.settings import Settings
from nalar.statestore.jetstream import open_jetstream
from nalar.statestore.memory import MemoryBroker, open_memory

#: Publishes a message on a subject: header block and body.
Inject = Callable[[str, bytes, bytes], Awaitable[None]]


class OpenBackend(Protocol):
    async def __call__(self, settings: Settings) -> Backend: ...


async def publish_raw(url: str, subject: str, head: bytes, body: bytes) -> None:
    """Publish as any program could: over a bare socket."""
    host, _, port = url.removeprefix("nats://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        await reader.readline()
        command = b"HPUB %s %d %d\r\n" if head else b"PUB %s %d\r\n"
        sizes = (len(head), len(head) + len(body)) if head else (len(body),)
        writer.write(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n')
        writer.write(command % (subject.encode(), *sizes) + head + body + b"\r\nPING\r\n")
        async with asyncio.timeout(5):
            assert await reader.readline() == b"PONG\r\n"
    finally:
        writer.close()
        await writer.wait_closed()


class Cluster:
    """Workers and clients that share a broker; everything is closed with the test."""

    def __init__(
        self,
        open_backend: OpenBackend,
        settings: Settings,
        stack: AsyncExitStack,
        inject: Inject,
    ) -> None:
        self._open_backend = open_backend
        #: Publishes bytes as any program could.
        self.inject = inject
        self.settings = settings
        self._stack = stack

    async def host(self, **changes: object) -> Host:
        settings = dataclasses.replace(self.settings, **changes)  # type: ignore[arg-type]
        backend = await self._open_backend(settings)
        settings = await agreed(backend.control, settings)
        return await self._stack.enter_async_context(Host(backend, settings, SystemClock()))

    async def worker(self, *names: str, **changes: object) -> Host:
        """Start a worker that serves the agents named."""
        host = await self.host(**changes)
        await host.serve([REGISTRY.get(name) for name in names])
        self._stack.push_async_callback(host.drain, 0.5)
        return host

    async def client(self) -> Client:
        """Connect a client; calls on stubs go through it from now on."""
        host = await self.host()
        connect_runtime(host.calls)
        self._stack.callback(disconnect_runtime, host.calls)
        return Client(host)


async def kill(host: Host) -> None:
    """End a worker as a kill would: nothing is handed back, nothing is said."""
    assert host.worker is not None
    await host.worker._pulse.stop()
    await host.backend.close()
    for task in list(host.worker._tasks):
        task.cancel()
    await host.close()
    host.worker = None


@asynccontextmanager
async def memory_cluster(settings: Settings) -> AsyncGenerator[Cluster]:
    broker = MemoryBroker(settings)

    async def open_backend(settings: Settings) -> Backend:
        return open_memory(settings, broker)

    async def inject(subject: str, head: bytes, body: bytes) -> None:
        broker.queues.inject(subject, head or None, body)

    async with AsyncExitStack() as stack:
        yield Cluster(open_backend, settings, stack, inject)


@asynccontextmanager
async def jetstream_cluster(settings: Settings, store: Path) -> AsyncGenerator[Cluster]:
    options = ServerOptions(store=store, port=0, sync_always=False)
    async with EmbeddedServer(options) as server, AsyncExitStack() as stack:
        chosen = dataclasses.replace(settings, url=server.url)
        yield Cluster(open_jetstream, chosen, stack, partial(publish_raw, server.url))


async def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Wait until `condition()` is true; it is asked again every few milliseconds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 -- what is awaited is another's state, not ours
            await asyncio.sleep(0.005)
