"""A backend on JetStream: one link to the server, and every port upon it."""

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from nalar.backend import Store
from nalar.bus import subjects, topology
from nalar.bus.codec import HEADERS_MAX_BYTES
from nalar.bus.jetstream import JetStreamQueue
from nalar.bus.link import Link
from nalar.bus.link_reports import LinkReports
from nalar.bus.pull import EXTEND
from nalar.bus.together import together
from nalar.errors import NalarError
from nalar.ids import AgentName
from nalar.settings import Settings
from nalar.statestore.blobs_jetstream import JetStreamBlobs
from nalar.statestore.chunks_jetstream import JetStreamChunks
from nalar.statestore.kv_jetstream import JetStreamKeyValue
from nalar.statestore.ledger_jetstream import JetStreamLedger


class JetStreamLifeline:
    """`nalar.backend.Lifeline` on JetStream: a link of its own."""

    def __init__(self, link: Link, settings: Settings) -> None:
        self._link = link
        self.control = JetStreamKeyValue(link, subjects.CONTROL_BUCKET, settings)

    def extend(self, lease: bytes) -> None:
        self._link.signal(lease, EXTEND)

    async def close(self) -> None:
        await self._link.close()


class JetStreamBackend:
    """`nalar.backend.Backend` on JetStream."""

    def __init__(self, link: Link, settings: Settings, *, replicas: int) -> None:
        self.link = link
        self.queue = JetStreamQueue(link, settings, replicas=replicas)
        self.ledger = JetStreamLedger(link, settings, replicas=replicas)
        self.snapshots = JetStreamKeyValue(link, subjects.LEDGER_BUCKET, settings)
        self.control = JetStreamKeyValue(link, subjects.CONTROL_BUCKET, settings)
        self.blobs = JetStreamBlobs(link, settings)
        self.chunks = JetStreamChunks(link, settings)
        self.inline_max_bytes = link.max_payload - HEADERS_MAX_BYTES
        self.reports = LinkReports(link, self.inline_max_bytes)
        #: How many copies streams are made with.
        self._replicas = replicas
        self._settings = settings

    async def lifeline(self) -> JetStreamLifeline:
        link = Link(self._settings, aside=True)
        await link.open()
        return JetStreamLifeline(link, self._settings)

    def on_reconnect(self, notify: Callable[[], None]) -> None:
        self.link.on_reconnect(notify)

    def describe(self) -> dict[str, object]:
        return self.link.describe() | {"replicas": self._replicas}

    async def stores(self, agents: Sequence[AgentName]) -> list[Store]:
        streams = {
            subjects.bucket_stream(subjects.LEDGER_BUCKET): "results and session state",
            subjects.bucket_stream(subjects.CONTROL_BUCKET): "leases and registry",
            subjects.BLOB_STREAM: "large values",
            subjects.CHUNK_STREAM: "what calls yield before they end",
        } | {subjects.queue_stream(agent): f"calls of {agent}" for agent in agents}
        return await together(self._store(name, holds) for name, holds in streams.items())

    async def _store(self, name: str, holds: str) -> Store:
        try:
            info: dict[str, Any] = orjson.loads(
                await self.link.api(subjects.api_stream("INFO", name))
            )
        except NalarError as error:
            return Store(name, holds, error=str(error))
        if "error" in info:
            return Store(name, holds, error=str(info["error"].get("description", info["error"])))
        peers: list[dict[str, Any]] = info.get("cluster", {}).get("replicas", [])
        late = tuple(str(peer["name"]) for peer in peers if not peer.get("current"))
        copies = int(info["config"]["num_replicas"])
        fewer = topology.fewer_copies(name, copies, self._replicas)
        return Store(
            name,
            holds,
            int(info["state"]["messages"]),
            copies=copies,
            late=late,
            exposed=fewer if copies < self._replicas and "cluster" in info else "",
        )

    async def close(self) -> None:
        await self.queue.close()
        await self.link.close()


async def open_jetstream(settings: Settings) -> JetStreamBackend:
    """Connect and make what every process needs; the caller closes it.

    Raises Unavailable or UnsupportedServer with what was tried and how to mend it.
    """
    link = Link(settings)
    await link.open()
    try:
        replicas = replicas_of(link.server, settings)
        makers = (
            topology.ledger_stream,
            topology.control_stream,
            topology.blob_stream,
            topology.chunk_stream,
        )
        await together(topology.ensure_stream(link, make(replicas)) for make in makers)
    except BaseException:
        await link.close()
        raise
    return JetStreamBackend(link, settings, replicas=replicas)


def replicas_of(server: dict[str, object], settings: Settings) -> int:
    """Return how many copies streams are made with: one on a server that stands alone.

    Not by how many servers are up: a process that starts while one is down would make streams
    with one copy for good.
    """
    return settings.replicas if server.get("cluster") else 1
