"""What the contract tests run on: a broker, clients of it, and messages to send."""

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from nalar.backend import Backend
from nalar.bus import subjects
from nalar.bus.embedded import EmbeddedServer
from nalar.bus.replies import parse_api
from nalar.bus.waiter import Waiter
from nalar.ids import AgentName, FutureId, MethodName, Ref, RootId, SessionId, new_root
from nalar.messages import Invocation, Payload
from nalar.settings import Settings
from nalar.statestore.jetstream import JetStreamBackend, open_jetstream
from nalar.statestore.memory import MemoryBackend, MemoryBroker, open_memory

T = TypeVar("T")

#: Short, so that redelivery is seen soon; both brokers take it as it is.
LEASE_S = 1.0
PATIENCE_S = 10.0

_numbers = itertools.count(1)


class Collected(list[T], Generic[T]):
    """A list that one can wait for; its `append` is a callback."""

    def __init__(self) -> None:
        super().__init__()
        self._grew = asyncio.Event()

    def append(self, item: T, /) -> None:
        super().append(item)
        self._grew.set()

    async def reach(self, count: int, within_s: float = PATIENCE_S) -> "Collected[T]":
        """Wait until at least `count` items came."""
        async with asyncio.timeout(within_s):
            while len(self) < count:
                self._grew.clear()
                await self._grew.wait()
        return self


class World(Protocol):
    """One broker of either kind."""

    async def connect(self) -> Backend: ...

    async def inject(self, subject: str, headers: bytes | None, body: bytes) -> None:
        """Publish bytes as any program might."""
        ...

    async def asks(self, agent: AgentName, lane: str) -> int:
        """Return how many asks are open at a lane: one a client, level and loop tick."""
        ...

    async def close(self) -> None: ...


class MemoryWorld:
    """A broker in memory."""

    def __init__(self) -> None:
        self._settings = Settings(lease_s=LEASE_S)
        self._broker = MemoryBroker(self._settings)
        self._clients: list[MemoryBackend] = []

    async def connect(self) -> Backend:
        client = open_memory(self._settings, self._broker)
        self._clients.append(client)
        return client

    async def inject(self, subject: str, headers: bytes | None, body: bytes) -> None:
        self._broker.queues.inject(subject, headers, body)

    async def asks(self, agent: AgentName, lane: str) -> int:
        return sum(map(len, self._broker.queues.stream(agent).lane(lane).askers))

    async def close(self) -> None:
        for client in self._clients:
            await client.close()


class JetStreamWorld:
    """A broker on a real server."""

    def __init__(self, url: str) -> None:
        self._settings = Settings(url=url, lease_s=LEASE_S, reply_timeout_s=4.0)
        self._clients: list[JetStreamBackend] = []

    async def connect(self) -> JetStreamBackend:
        client = await open_jetstream(self._settings)
        self._clients.append(client)
        return client

    async def inject(self, subject: str, headers: bytes | None, body: bytes) -> None:
        client = self._clients[0] if self._clients else await self.connect()
        await client.link.request(Waiter(subject, body, headers), PATIENCE_S)

    async def asks(self, agent: AgentName, lane: str) -> int:
        durable = subjects.lane_durable(lane)
        asked = subjects.api_consumer("INFO", subjects.queue_stream(agent), durable)
        return int(parse_api(await self._clients[0].link.api(asked))["num_waiting"])

    def tell(self, subject: str, body: bytes) -> None:
        """Publish bytes that nobody answers, as any program might."""
        self._clients[0].link.signal(subject.encode(), body)

    async def close(self) -> None:
        for client in self._clients:
            await client.close()


def new_agent() -> AgentName:
    """Return an agent that no other test uses."""
    return AgentName(f"Agent{next(_numbers)}_{secrets.token_hex(3)}")


def new_request() -> RootId:
    return new_root(1_764_000_000_000, secrets.token_bytes(10))


def make_ref(agent: AgentName, *, session: str = "", root: str = "", future: str = "") -> Ref:
    """Return a new ref: fenced by `session` when there is one, else read-only."""
    number = next(_numbers)
    return Ref(
        "s" if session else "r",
        agent,
        SessionId(session or "_"),
        RootId(root or f"root{number}"),
        "parent",
        FutureId(future or f"future{number}"),
    )


def make_invocation(ref: Ref, *, attempt: int = 1, body: bytes = b'{"x":1}') -> Invocation:
    return Invocation(
        ref,
        MethodName("work"),
        SessionId("s1") if ref.effect == "r" else ref.session,
        Payload(body),
        deadline=4_000_000_000.0,
        created=1_764_000_000.5,
        attempt=attempt,
        path="report > Agent.work",
    )


async def eventually(holds: Callable[[], Awaitable[bool]], within_s: float = PATIENCE_S) -> None:
    """Ask until `holds` says so; for what announces itself to nobody."""
    loop = asyncio.get_running_loop()
    until = loop.time() + within_s
    while not await holds():
        assert loop.time() < until, f"not within {within_s} s"
        await asyncio.sleep(0.01)


async def kill_and_restart(server: EmbeddedServer) -> None:
    """End the server as a crash does and start it on the same port and store."""
    await server.kill()
    await server.start()
