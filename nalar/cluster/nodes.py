"""What a node tells of itself: what it may run, what it runs, and what will not stay alive. Pure.

A node is one machine's supervisor of worker processes. It keeps one pool for each *group* of
agents that share their workers. Its entry in the control bucket has a time to live.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

import orjson

from nalar.errors import MalformedMessage
from nalar.ids import is_wire_token

#: Where nodes stand, in the control bucket.
NODES: Final = "node"
#: Worker processes of one node, at the most.
WORKERS_MAX: Final = 4_096
#: Characters of a text in an entry that are read.
_TEXT_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Group:
    """Agents that share their workers on a node, and how many workers they want."""

    name: str
    agents: tuple[str, ...]
    #: Workers in the whole cluster, unless a directive says otherwise.
    workers: int = 1
    #: Never fewer or more than these, whatever a directive says.
    min: int = 0
    max: int | None = None
    #: What one worker needs, for instance {"GPU": 1}.
    resources: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def key(self) -> str:
        """What tells it from other groups, on whichever node."""
        return ",".join(sorted(self.agents))


@dataclass(frozen=True, slots=True)
class GroupState:
    """A group on one node."""

    group: Group
    #: Workers that the node keeps alive.
    held: int = 0
    #: Those of them that serve.
    ready: int = 0
    #: How the process that does not stay alive ended last, and how often in a row; "" with none.
    ending: str = ""
    failures: int = 0


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """One node, as its entry tells."""

    node: str
    host: str
    pid: int
    #: Worker processes that it may run.
    max_workers: int
    #: What its workers may use together.
    resources: Mapping[str, float] = field(default_factory=dict[str, float])
    #: It drains, and others do its work.
    leaving: bool = False
    #: By the groups' keys.
    groups: Mapping[str, GroupState] = field(default_factory=dict[str, GroupState])
    #: Tells it from other processes that have its name.
    instance: str = ""


def encode_node(entry: NodeEntry) -> bytes:
    """Return the value of a node's entry."""
    return orjson.dumps(node_as_json(entry))


def node_as_json(entry: NodeEntry) -> dict[str, Any]:
    """Return an entry as JSON has it."""
    return {
        "v": 1,
        "node": entry.node,
        "host": entry.host,
        "pid": entry.pid,
        "max_workers": entry.max_workers,
        "resources": dict(entry.resources),
        "leaving": entry.leaving,
        "instance": entry.instance,
        "groups": [
            {
                "name": it.group.name,
                "agents": list(it.group.agents),
                "workers": it.group.workers,
                "min": it.group.min,
                "max": it.group.max,
                "resources": dict(it.group.resources),
                "held": it.held,
                "ready": it.ready,
                "ending": it.ending,
                "failures": it.failures,
            }
            for it in entry.groups.values()
        ],
    }


def decode_node(body: bytes) -> NodeEntry:
    """Return the entry; raises MalformedMessage for what is none.

    Numbers are bounded: what a stranger writes must not keep planners busy.
    """
    try:
        told: Any = orjson.loads(body)
        if told["v"] != 1:
            raise MalformedMessage(f"a node's entry of version {told['v']!r}, not 1")
        if not is_wire_token(told["node"]):
            raise MalformedMessage(f"{str(told['node'])[:100]!r} is no name of a node")
        states = [_state(group) for group in told["groups"]]
        return NodeEntry(
            told["node"],
            str(told["host"])[:_TEXT_MAX],
            _count(told["pid"], 1 << 31),
            _count(told["max_workers"]),
            _amounts(told["resources"]),
            bool(told.get("leaving")),
            {state.group.key: state for state in states},
            str(told.get("instance", ""))[:_TEXT_MAX],
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise MalformedMessage(f"not the entry of a node: {error!r}") from error


def _state(told: Any) -> GroupState:
    agents = tuple(told["agents"])
    if not agents or not all(isinstance(name, str) and is_wire_token(name) for name in agents):
        raise ValueError(f"agents {str(agents)[:100]}")
    most = told["max"]
    group = Group(
        str(told["name"])[:_TEXT_MAX],
        agents,
        _count(told["workers"]),
        _count(told["min"]),
        None if most is None else _count(most),
        _amounts(told["resources"]),
    )
    return GroupState(
        group,
        _count(told["held"]),
        _count(told["ready"]),
        str(told["ending"])[:_TEXT_MAX],
        _count(told["failures"], 1 << 31),
    )


def _count(value: object, most: int = WORKERS_MAX) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{str(value)[:40]!r} is no count")
    return min(value, most)


def _amounts(told: object) -> dict[str, float]:
    if not isinstance(told, dict):
        raise TypeError("resources are a table")
    found: dict[str, float] = {}
    for name, amount in cast("dict[str, Any]", told).items():
        if type(amount) not in (int, float) or amount < 0:
            raise ValueError(f"{str(amount)[:40]!r} is no amount")
        found[name] = float(amount)
    return found
