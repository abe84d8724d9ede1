"""One broker, seen through its ports: what a client or worker is built upon."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from nalar.bus.port import Queue, Reports
from nalar.ids import AgentName
from nalar.statestore.port import Blobs, Chunks, KeyValue, Ledger


@dataclass(frozen=True, slots=True)
class Store:
    """How one thing that keeps messages is; for `nalar doctor`."""

    name: str
    #: What is kept there, for people.
    holds: str
    messages: int = 0
    #: How many servers keep it.
    copies: int = 1
    #: Copies that lag behind or are offline.
    late: tuple[str, ...] = ()
    #: That it has fewer copies than it is meant to have, and the way out; empty when it has not.
    exposed: str = ""
    #: Why it does not answer; empty when it does.
    error: str = ""


class Lifeline(Protocol):
    """A connection beside the backend's, for signs of life from another thread."""

    @property
    def control(self) -> KeyValue: ...

    def extend(self, lease: bytes) -> None:
        """Start the lease of a held message anew; see `bus.port.Delivery.lease`."""
        ...

    async def close(self) -> None: ...


class Backend(Protocol):
    """A connection with everything on it; made by `nalar.serve`, closed by who opened it."""

    @property
    def queue(self) -> Queue: ...

    @property
    def ledger(self) -> Ledger: ...

    @property
    def snapshots(self) -> KeyValue:
        """Snapshots of sessions, under `state.`."""
        ...

    @property
    def control(self) -> KeyValue:
        """Leases, registry, directives."""
        ...

    @property
    def blobs(self) -> Blobs: ...

    @property
    def chunks(self) -> Chunks:
        """What calls yield before they end."""
        ...

    @property
    def reports(self) -> Reports:
        """Metric reports of workers."""
        ...

    @property
    def inline_max_bytes(self) -> int:
        """Largest body, in bytes, that surely fits a message with its headers."""
        ...

    @property
    def lifeline(self) -> Callable[[], Awaitable[Lifeline]] | None:
        """Opens a lifeline on whichever event loop awaits it; None where nothing can be cut."""
        ...

    def on_reconnect(self, notify: Callable[[], None]) -> None:
        """Have `notify` called each time the connection stands again after a loss."""
        ...

    def describe(self) -> dict[str, object]:
        """Say what this is: server, version, url, state; for `nalar doctor`."""
        ...

    async def stores(self, agents: Sequence[AgentName]) -> list[Store]:
        """Look at the ledger, the buckets and the queues of `agents`, in this order."""
        ...

    async def close(self) -> None:
        """Flush what was sent and close; safe to call twice."""
        ...
