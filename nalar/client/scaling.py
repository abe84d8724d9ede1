"""Asking for workers, and looking at the nodes that run them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from nalar.client.steering import Steering
from nalar.cluster.fleet import PROVISIONS, Fleet
from nalar.cluster.nodes import NODES, NodeEntry
from nalar.cluster.placement import groups_of, place
from nalar.controllers.registering import live_workers
from nalar.directives import Provision
from nalar.ids import AgentName, encode_token
from nalar.statestore.port import KeyValue

#: What to do where no node is there.
_START_ONE: Final = "start one: nalar node MODULE"


@dataclass(frozen=True, slots=True)
class Scaled:
    """What became of asking for so many workers of an agent."""

    agent: str
    #: Workers that the nodes were to keep alive, and are to from now on; None: nobody has said.
    was: int | None
    becomes: int | None
    #: Workers that serve it now.
    serving: int
    #: Why it is not, or not all, what was asked for; empty when it is.
    note: str = ""


class Scaling:
    """Says how many workers there are to be, and what nodes make of it."""

    def __init__(self, control: KeyValue, steering: Steering) -> None:
        self._control = control
        self._steering = steering

    async def fleet(self) -> Fleet:
        """Return the nodes that live, and how many workers are asked for."""
        fleet = Fleet()
        for prefix in (NODES, PROVISIONS):
            for entry in await self._control.scan(prefix):
                fleet.take(entry)
        return fleet

    async def scale(self, workers: Mapping[str, int | None], reason: str = "") -> list[Scaled]:
        """Have nodes keep so many workers of each agent alive; None takes back what was asked.

        Stands until it is withdrawn. Raises UsageError for a number that no directive may have.
        """
        before = await self.fleet()
        for agent, count in workers.items():
            directive = Provision(AgentName(encode_token(agent)), count or 0)
            if count is None:
                await self._steering.withdraw(directive)
            else:
                await self._steering.direct(directive, reason)
        after = await self.fleet()
        # A replica may lag behind what was just written.
        for agent, count in workers.items():
            after.provisioned.pop(encode_token(agent), None)
            after.provisioned |= {} if count is None else {encode_token(agent): count}
        serving = await self._serving()
        return [
            Scaled(
                agent,
                _wanted(before, encode_token(agent)),
                _wanted(after, encode_token(agent)),
                serving.get(agent, 0),
                _note(after, encode_token(agent), count),
            )
            for agent, count in workers.items()
        ]

    async def _serving(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for worker in await live_workers(self._control):
            for agent in worker["agents"]:
                found[agent] = found.get(agent, 0) + 1
        return found


def _wanted(fleet: Fleet, agent: str) -> int | None:
    """Return how many workers of an agent the nodes are to keep alive."""
    wanted = place(list(fleet.nodes.values()), fleet.provisioned).wanted
    groups = groups_of(list(fleet.nodes.values()))
    running = [wanted[key] for key, group in groups.items() if agent in group.agents]
    return max(running, default=fleet.provisioned.get(agent))


def _note(fleet: Fleet, agent: str, asked: int | None) -> str:
    """Return why nodes will not do as they were asked; empty when they will."""
    nodes = list(fleet.nodes.values())
    if not nodes:
        return f"no node is alive to obey it; {_START_ONE}"
    found = [key for key, group in groups_of(nodes).items() if agent in group.agents]
    if not found:
        return f"no node that is alive runs it; {_START_ONE}"
    placement = place(nodes, fleet.provisioned)
    notes: list[str] = []
    for key in found:
        group, wanted = groups_of(nodes)[key], placement.wanted[key]
        if asked is not None and wanted < asked:
            notes.append(f"there are to be {group.max} at the most (max_instances)")
        elif asked is not None and wanted > asked:
            others = ", ".join(it for it in group.agents if it != agent)
            shared = f"it shares its workers with {others}" if others else ""
            low = f"there are to be {group.min} at least (min_instances)"
            notes.append(low if wanted == group.min else shared)
        if missing := placement.missing.get(key):
            notes.append(f"there is room for {wanted - missing} of {wanted} {_room(nodes, key)}")
    return "; ".join(notes)


def _room(nodes: Sequence[NodeEntry], key: str) -> str:
    able = [node for node in nodes if key in node.groups]
    needs = groups_of(nodes)[key].resources
    told = ", ".join(f"{kind}={amount:g}" for kind, amount in needs.items())
    each = f", each of which needs {told}" if told else ""
    return f"on {', '.join(sorted(node.node for node in able))}{each}"
