"""Three nats-servers that are one cluster, each of which may be killed, frozen and started again.

On loopback, with free ports and temporary stores, writing to disk before they acknowledge. A node
ends with the test, also one that fails, and with the process that started it.
"""

import asyncio
import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson

from nalar.bus.embedded import _die_with_parent, find_server
from nalar.settings import Settings

#: JSON as the monitoring port tells it.
Told: TypeAlias = "dict[str, Any]"

NAMES: Final = ("n1", "n2", "n3")
#: Longer than anything here takes on a slow machine.
PATIENCE_S: Final = 40.0
_LOOK_S: Final = 0.02
#: What must be equal on all nodes that hold a stream.
_HELD: Final = ("messages", "bytes", "first_seq", "last_seq", "num_subjects", "num_deleted")


@dataclass
class Node:
    """One server of a cluster."""

    name: str
    folder: Path
    host: str
    port: int
    #: Where the other nodes reach it.
    route: int
    #: Where it tells of itself.
    monitor: int
    #: What its command is started with, for a network of its own.
    prefix: tuple[str, ...] = ()
    #: Where the other nodes reach it, if that is elsewhere.
    peer_host: str = ""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"nats://{self.host}:{self.port}"

    @property
    def peer(self) -> str:
        """Where the other nodes reach it."""
        return f"{self.peer_host or self.host}:{self.route}"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def configure(self, routes: Sequence[str]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = [
            f'server_name: "{self.name}"',
            f'listen: "{self.host}:{self.port}"',
            f'http: "{self.host}:{self.monitor}"',
            "jetstream {",
            f'  store_dir: "{self.folder}"',
            "  sync_interval: always",
            "}",
            "cluster {",
            '  name: "nalar-test"',
            f'  listen: "{self.peer}"',
            f"  routes: [{', '.join(routes)}]",
            "  ping_interval: 2s",
            "  ping_max: 2",
            "}",
        ]
        (self.folder / "nats.conf").write_text("\n".join(lines) + "\n")

    async def start(self) -> None:
        """Start it and wait until it listens."""
        self._launch()
        await eventually(self._listens, f"{self.name} listens")

    def _launch(self) -> None:
        binary = str(find_server(os.environ))
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, binary, "-c", str(self.folder / "nats.conf")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent(),  # noqa: PLW1509 -- one system call
                start_new_session=True,
            )

    async def _listens(self) -> bool:
        assert self.running, f"{self.name} ended: {self.said()}"
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(self.host, self.port)
            writer.close()
            return True
        return False

    def said(self) -> str:
        """Return the end of its log."""
        return (self.folder / "server.log").read_text("utf-8", "replace")[-2000:]

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    async def kill(self) -> None:
        """End it as a crash does."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """Have it hand its leaderships over and end."""
        await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> None:
        self.send(number)
        await eventually(self._ended, f"{self.name} ends")

    async def _ended(self) -> bool:
        return not self.running

    async def tells(self, path: str) -> Told:
        """Ask its monitoring port; nothing when it does not answer."""
        with contextlib.suppress(OSError, TimeoutError, orjson.JSONDecodeError):
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_connection(self.host, self.monitor)
                try:
                    writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                    _, _, body = (await reader.read()).partition(b"\r\n\r\n")
                finally:
                    writer.close()
            told: Told = orjson.loads(body)
            return told
        return {}

    async def stream(self, name: str) -> Told:
        """Return what it holds of a stream: state and cluster; nothing when it holds nothing."""
        told = await self.tells("/jsz?streams=true")
        accounts: list[Told] = told.get("account_details", [])
        streams = [stream for account in accounts for stream in account.get("stream_detail", [])]
        found: list[Told] = [stream for stream in streams if stream["name"] == name]
        return found[0] if found else {}


class Nodes(list[Node]):
    """The three of them."""

    @property
    def url(self) -> str:
        return ",".join(node.url for node in self)

    def settings(self, **changes: Any) -> Settings:
        settings = Settings(url=self.url, connect_timeout_s=PATIENCE_S)
        return dataclasses.replace(settings, **changes)

    async def start(self) -> None:
        for node in self:
            node.configure([f"nats://{other.peer}" for other in self])
        await asyncio.gather(*[node.start() for node in self])
        await self.whole()

    async def whole(self) -> None:
        """Wait until every node runs, knows the others, and has caught up with them."""
        await eventually(self._is_whole, "the cluster is whole")

    async def _is_whole(self) -> bool:
        for node in self:
            meta: Told = (await node.tells("/jsz")).get("meta_cluster", {})
            if not meta.get("leader") or meta.get("cluster_size") != len(self):
                return False
            if (await node.tells("/healthz")).get("status") != "ok":
                return False
        return True

    async def leader(self, stream: str) -> Node:
        """Return who leads a stream, by its own word."""
        found: list[Node] = []

        async def led() -> bool:
            for node in self:
                told = await node.stream(stream)
                if told.get("cluster", {}).get("leader") == node.name:
                    found.append(node)
            return bool(found)

        await eventually(led, f"{stream} has a leader")
        return found[-1]

    async def agree(self, stream: str) -> Told:
        """Wait until all nodes hold the same of a stream; return its state."""
        states: list[Told] = []

        async def same() -> bool:
            states[:] = [(await node.stream(stream)).get("state", {}) for node in self]
            held = [[state.get(name, 0) for name in _HELD] for state in states]
            return all(states) and all(one == held[0] for one in held)

        await eventually(same, f"all nodes hold the same of {stream}")
        return states[0]

    def end(self) -> None:
        for node in self:
            if node.process is not None and node.running:
                node.process.kill()
        for node in self:
            if node.process is not None:
                node.process.wait()


@asynccontextmanager
async def three_nodes(folder: Path) -> AsyncGenerator[Nodes]:
    """Start three nodes on loopback; they end with the block."""
    ports = iter(free_ports(3 * len(NAMES)))
    nodes = Nodes(
        Node(name, folder / name, "127.0.0.1", next(ports), next(ports), next(ports))
        for name in NAMES
    )
    try:
        await nodes.start()
        yield nodes
    finally:
        nodes.end()


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listened on a moment ago."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


async def eventually(
    holds: Callable[[], Awaitable[bool]], what: str, within_s: float = PATIENCE_S
) -> None:
    """Ask until `await holds()` is true."""
    loop = asyncio.get_running_loop()
    until = loop.time() + within_s
    while not await holds():
        assert loop.time() < until, f"not within {within_s} s: {what}"
        await asyncio.sleep(_LOOK_S)
