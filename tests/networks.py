"""Three nodes in networks of their own, whose cables can be pulled: Linux namespaces, root needed.

Each node has two cables: one to the other nodes, one to the clients. The test itself stands where
the clients are: its thread enters their namespace for as long as the block lasts. A namespace lives
as long as a process that sleeps in it, which ends with this one: nothing is ever left behind.
"""

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from nalar.bus.embedded import _die_with_parent
from tests.nodes import NAMES, Node, Nodes

Cable = Literal["peers", "clients"]
#: What an address begins with, by cable.
_NETS: Final[dict[Cable, str]] = {"peers": "10.77.1", "clients": "10.77.2"}
_PORT, _ROUTE, _MONITOR = 4222, 6222, 8222
_CLONE_NEWNET: Final = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Network:
    """The nodes, and the cables between them."""

    nodes: Nodes
    _switch: "Namespace"
    _down: set[tuple[Cable, str]] = field(default_factory=set[tuple[Cable, str]])

    def pull(self, node: Node, cable: Cable) -> None:
        """Pull a cable: nothing comes through, and nobody is told."""
        self._down.add((cable, node.name))
        self._switch.ip("link", "set", f"{cable}-{node.name}", "down")

    def plug(self, node: Node, cable: Cable) -> None:
        """Plug a cable in again."""
        self._down.discard((cable, node.name))
        self._switch.ip("link", "set", f"{cable}-{node.name}", "up")

    def plug_all(self) -> None:
        for cable, name in list(self._down):
            self.plug(next(node for node in self.nodes if node.name == name), cable)


class Namespace:
    """A network namespace that a sleeping process keeps."""

    def __init__(self) -> None:
        self._keeper = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", "echo; exec sleep infinity"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            preexec_fn=_die_with_parent(),  # noqa: PLW1509 -- one system call
        )
        assert self._keeper.stdout is not None
        self._keeper.stdout.readline()  # It is in its namespace now.
        self.inside = ("nsenter", "-t", str(self._keeper.pid), "-n", "--")
        self.ip("link", "set", "lo", "up")

    def ip(self, *words: str) -> None:
        subprocess.run([*self.inside, "ip", *words], check=True, capture_output=True)

    def join(self, switch: "Namespace", cable: Cable, name: str, address: str) -> None:
        """Lay a cable to one of the bridges of `switch`."""
        port = f"{cable}-{name}"
        switch.ip("link", "add", port, "type", "veth", "peer", "name", cable, "netns",
                  str(self._keeper.pid))  # fmt: skip
        switch.ip("link", "set", port, "master", cable, "up")
        self.ip("address", "add", f"{address}/24", "dev", cable)
        self.ip("link", "set", cable, "up")

    @contextmanager
    def entered(self) -> Generator[None]:
        """Have what this thread opens be in here."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/proc/{self._keeper.pid}/ns/net", os.O_RDONLY)
        try:
            _enter(there)
            try:
                yield
            finally:
                _enter(home)
        finally:
            os.close(home)
            os.close(there)

    def end(self) -> None:
        self._keeper.kill()
        self._keeper.wait()
        assert self._keeper.stdout is not None
        self._keeper.stdout.close()


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def missing() -> str:
    """Return what this machine lacks for networks of our own; empty when it lacks nothing."""
    for tool in ("ip", "nsenter", "unshare"):
        if shutil.which(tool) is None:
            return f"there is no {tool} on this machine"
    tried = subprocess.run(
        ["unshare", "-n", "ip", "link", "add", "try", "type", "bridge"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return f"no network namespaces: {tried.stderr.strip()}" if tried.returncode else ""


@asynccontextmanager
async def three_networks(folder: Path) -> AsyncGenerator[Network]:
    """Start three nodes with two cables each, and stand where the clients are."""
    with ExitStack() as stack:
        switch = _namespace(stack)
        for cable, net in _NETS.items():
            switch.ip("link", "add", cable, "type", "bridge")
            switch.ip("link", "set", cable, "up")
            if cable == "clients":  # Clients are not among the nodes' peers.
                switch.ip("address", "add", f"{net}.254/24", "dev", cable)
        nodes = Nodes()
        for number, name in enumerate(NAMES, 1):
            space = _namespace(stack)
            for cable, net in _NETS.items():
                space.join(switch, cable, name, f"{net}.{number}")
            nodes.append(
                Node(
                    name, folder / name, f"{_NETS['clients']}.{number}", _PORT, _ROUTE, _MONITOR,
                    prefix=space.inside, peer_host=f"{_NETS['peers']}.{number}",
                )
            )  # fmt: skip
        stack.enter_context(switch.entered())
        network = Network(nodes, switch)
        try:
            await nodes.start()
            yield network
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):
                network.plug_all()
            nodes.end()


def _namespace(stack: ExitStack) -> Namespace:
    space = Namespace()
    stack.callback(space.end)
    return space
