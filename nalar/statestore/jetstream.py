"""A backend on JetStream: one link to the server, and every port upon it."""

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from nalar.backend import Store
from nalar.bus import subjects, topology
from nalar.bus.codec import HEADERS_MAX_BYTES
from nalar.bus.jetstream import JetStreamQueue
from nalar.bus.link import Link
from nalar.bus.together import together
from nalar.errors import NalarError
from nalar.ids import AgentName
from nalar.settings import Settings
from nalar.statestore.blobs_jetstream import JetStreamBlobs
from nalar.statestore.kv_jetstream import JetStreamKeyValue
from nalar.statestore.ledger_jetstream import JetStreamLedger

#: Copies of every stream on a cluster that is large enough.
REPLICAS = 3


class JetStreamBackend:
    """`nalar.backend.Backend` on JetStream."""

    def __init__(self, link: Link, settings: Settings, *, replicas: int) -> None:
        self.link = link
        self.queue = JetStreamQueue(link, settings, replicas=replicas)
        self.ledger = JetStreamLedger(link, settings, replicas=replicas)
        self.snapshots = JetStreamKeyValue(link, subjects.LEDGER_BUCKET, settings)
        self.control = JetStreamKeyValue(link, subjects.CONTROL_BUCKET, settings)
        self.blobs = JetStreamBlobs(link, settings)
        self.inline_max_bytes = link.max_payload - HEADERS_MAX_BYTES
        self._replicas = replicas

    def on_reconnect(self, notify: Callable[[], None]) -> None:
        self.link.on_reconnect(notify)

    def describe(self) -> dict[str, object]:
        return self.link.describe() | {"replicas": self._replicas}

    async def stores(self, agents: Sequence[AgentName]) -> list[Store]:
        streams = {
            subjects.bucket_stream(subjects.LEDGER_BUCKET): "results and session state",
            subjects.bucket_stream(subjects.CONTROL_BUCKET): "leases and registry",
            subjects.BLOB_STREAM: "large values",
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
        return Store(name, holds, int(info["state"]["messages"]), late)

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
        replicas = replicas_of(link.server)
        makers = (topology.ledger_stream, topology.control_stream, topology.blob_stream)
        await together(topology.ensure_stream(link, make(replicas)) for make in makers)
    except BaseException:
        await link.close()
        raise
    return JetStreamBackend(link, settings, replicas=replicas)


def replicas_of(server: dict[str, object]) -> int:
    """Return how many copies streams get: three in a cluster that shows at least three nodes."""
    nodes = server.get("connect_urls")
    large = isinstance(nodes, list) and len(nodes) >= REPLICAS  # pyright: ignore[reportUnknownArgumentType] -- JSON
    return REPLICAS if server.get("cluster") and large else 1
