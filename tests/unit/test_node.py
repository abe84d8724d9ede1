"""Nodes on one memory, with small processes for workers: they share, take over, and give back."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import pytest

from nalar.cluster.nodes import NODES, Group, NodeEntry, decode_node, encode_node
from nalar.directives import Issued, Provision, encode_directive, key_of
from nalar.errors import UsageError
from nalar.ids import AgentName
from nalar.processes.child import StopSignals
from nalar.processes.node import Node, Offer, machine
from nalar.processes.place import Command
from nalar.settings import Settings
from nalar.statestore.memory import MemoryBroker, open_memory

CHILD = """
import os, signal
os.write(int(os.environ["NALAR_READY_FD"]), str(os.getpid()).encode())
os.close(int(os.environ["NALAR_READY_FD"]))
signal.pause()
"""
SETTINGS = Settings(lease_s=1.0)


def offer(*agents: str, mark: str = "", **more: object) -> Offer:
    command = Command([sys.executable, "-S", "-c", CHILD, mark], grace_s=5)
    return Offer(Group(agents[0], agents, **more), command)  # type: ignore[arg-type]


class Machines:
    """Starts nodes, and waits for what they tell."""

    def __init__(self) -> None:
        self._broker = MemoryBroker(SETTINGS)
        self.control = open_memory(SETTINGS, self._broker).control
        self._told = asyncio.Event()
        self.control.watch(NODES, lambda _: self._told.set())
        self._running: dict[str, tuple[asyncio.Task[None], StopSignals]] = {}

    def start(self, name: str, offers: Sequence[Offer], **about: object) -> Node:
        stop = StopSignals()
        entry = replace(machine(name, 8, {}), **about)  # type: ignore[arg-type]
        node = Node(open_memory(SETTINGS, self._broker), SETTINGS, entry, stop)
        task = asyncio.get_running_loop().create_task(node.run(offers))
        self._running[name] = (task, stop)
        return node

    async def stop(self, name: str) -> None:
        """Ask a node to stop, as Ctrl-C does; raises what it ended with."""
        task, stop = self._running.pop(name)
        stop.asked.set()
        await task

    async def ended(self, name: str) -> None:
        """Wait for the end of a node; raises what it ended with."""
        await self._running.pop(name)[0]

    async def provision(self, agent: str, workers: int) -> None:
        directive = Provision(AgentName(agent), workers)
        issued = Issued(directive, "hand", "", 0.0)
        await self.control.put(key_of(directive), encode_directive(issued))

    async def nodes(self) -> list[NodeEntry]:
        return [decode_node(it.value or b"") for it in await self.control.scan(NODES)]

    async def ready(self) -> dict[str, dict[str, int]]:
        """Return the workers that serve, by node and group."""
        return {
            it.node: {key: of.ready for key, of in it.groups.items() if of.ready}
            for it in await self.nodes()
            if not it.leaving
        }

    async def until(self, condition: Callable[[dict[str, dict[str, int]]], bool]) -> None:
        while not condition(await self.ready()):
            self._told.clear()
            await self._told.wait()

    async def close(self) -> None:
        for name in list(self._running):
            with contextlib.suppress(UsageError):
                await self.stop(name)


@pytest.fixture
async def machines() -> AsyncIterator[Machines]:
    made = Machines()
    yield made
    await made.close()


async def test_nodes_share_what_is_directed_and_one_that_leaves_hands_over(
    machines: Machines,
) -> None:
    for name in ("one", "two"):
        machines.start(name, [offer("A"), offer("b", "c")])
    await machines.until(lambda it: sum(sum(of.values()) for of in it.values()) == 2)
    await machines.provision("A", 3)
    await machines.until(lambda it: sorted(sum(of.values()) for of in it.values()) == [2, 2])
    await machines.stop("one")
    await machines.until(lambda it: it == {"two": {"A": 3, "b,c": 1}})
    await machines.provision("A", 0)
    await machines.until(lambda it: it == {"two": {"b,c": 1}})


async def test_a_name_is_one_nodes_and_a_dead_ones_is_free(machines: Machines) -> None:
    alive = NodeEntry("box", "elsewhere", 7, 8, instance="another")
    beating = asyncio.get_running_loop().create_task(beat(machines, alive))
    machines.start("box", [offer("A")])
    with pytest.raises(UsageError, match=r"a node named box is alive, process 7 of elsewhere"):
        await machines.ended("box")
    beating.cancel()
    machines.start("box", [offer("A")])
    await machines.until(lambda it: it == {"box": {"A": 1}})


async def beat(machines: Machines, entry: NodeEntry) -> None:
    while True:
        await machines.control.put(f"{NODES}.{entry.node}", encode_node(entry), ttl_s=1)
        await asyncio.sleep(0.1)


async def test_a_node_asked_to_stop_while_it_waits_leaves_the_other_alone(
    machines: Machines,
) -> None:
    other = NodeEntry("box", "elsewhere", 7, 8, instance="another")
    await machines.control.put(f"{NODES}.box", encode_node(other))
    machines.start("box", [offer("A")])
    await machines.stop("box")
    assert await machines.nodes() == [other]


async def test_a_process_that_died_here_leaves_its_name_at_once(machines: Machines) -> None:
    gone = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", "")
    await gone.wait()
    dead = replace(machine("box", 8, {}), pid=gone.pid, instance="dead")
    await machines.control.put(f"{NODES}.box", encode_node(dead))
    machines.start("box", [offer("A")])
    await machines.until(lambda it: it == {"box": {"A": 1}})


async def test_a_node_whose_name_was_taken_meanwhile_ends_and_leaves_it(
    machines: Machines,
) -> None:
    """As one that was frozen for longer than its lease."""
    machines.start("box", [offer("A")])
    await machines.until(lambda it: it == {"box": {"A": 1}})
    other = NodeEntry("box", "elsewhere", 7, 8, instance="another")
    await machines.control.put(f"{NODES}.box", encode_node(other))
    with pytest.raises(UsageError, match="a node named box is alive"):
        await machines.ended("box")
    assert await machines.nodes() == [other]


async def test_a_node_taken_for_dead_is_back_and_what_is_too_many_goes(
    machines: Machines,
) -> None:
    for name in ("one", "two"):
        machines.start(name, [offer("A")])
    await machines.provision("A", 2)
    await machines.until(lambda it: it == {"one": {"A": 1}, "two": {"A": 1}})
    await machines.control.delete(f"{NODES}.one")
    await machines.until(lambda it: it.get("two") == {"A": 2})
    await machines.until(lambda it: it == {"one": {"A": 1}, "two": {"A": 1}})


async def test_what_is_offered_otherwise_gets_fresh_workers_and_the_rest_goes_on(
    machines: Machines,
) -> None:
    node = machines.start("box", [offer("A", workers=2), offer("B"), offer("C")])
    await machines.until(lambda it: it == {"box": {"A": 2, "B": 1, "C": 1}})
    before: dict[str, set[str]] = {key: set(it.serving()) for key, it in node._pools.items()}
    node.offer([offer("A", mark="new", workers=2), offer("B"), offer("D")])
    await machines.until(lambda it: it == {"box": {"A": 2, "B": 1, "D": 1}})
    assert not before["A"] & set(node._pools["A"].serving())
    assert before["B"] == set(node._pools["B"].serving())
    node.renew()
    await machines.until(lambda it: it == {"box": {"A": 2, "B": 1, "D": 1}})
    await machines.stop("box")
    node.offer([offer("E")])
    assert node._pools == {}, "what has left starts nothing"
    assert await machines.nodes() == []
    for pid in (pid for of in before.values() for pid in of):
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)
