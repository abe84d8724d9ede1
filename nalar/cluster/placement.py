"""Which node runs how many workers of what. Pure.

Every node computes the same placement from the same entries, so that they agree without talking.
Workers stay where they run unless that leaves machines unequally loaded, and one that moves goes
only once its successor serves.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from nalar.cluster.nodes import Group, NodeEntry

#: Workers by node and group.
Counts = dict[str, dict[str, int]]

#: Turns after which a placement is taken as it is. Two do, but for contrived needs of resources.
_TURNS_MAX = 10
#: Amounts of resources are sums of what people write in decimals.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Placement:
    """How many workers each node is to run."""

    counts: Counts
    #: Workers of each group that are wanted in the cluster, within its bounds.
    wanted: dict[str, int]

    def placed(self, key: str) -> int:
        """Return how many workers of a group there is room for."""
        return sum(of.get(key, 0) for of in self.counts.values())

    @property
    def missing(self) -> dict[str, int]:
        """Workers that no node has room for, by group."""
        short = {key: wanted - self.placed(key) for key, wanted in self.wanted.items()}
        return {key: count for key, count in short.items() if count > 0}


def place(nodes: Collection[NodeEntry], provisioned: Mapping[str, int]) -> Placement:
    """Return the placement over `nodes`; `provisioned` maps agents to workers, as directed.

    Each group gets its first worker before any gets a second.
    """
    ordered = sorted(nodes, key=lambda node: node.node)
    groups = groups_of(ordered)
    wanted = {key: wanted_of(group, provisioned) for key, group in groups.items()}
    counts: Counts = {
        node.node: {key: it.held for key, it in node.groups.items() if it.held} for node in ordered
    }
    for _ in range(_TURNS_MAX):
        table = _Table(ordered, groups)
        _fill(table, wanted, counts)
        _level(table)
        after = {name: {k: n for k, n in of.items() if n} for name, of in table.counts.items()}
        if after == counts:
            break
        counts = after
    return Placement(counts, wanted)


def groups_of(nodes: Collection[NodeEntry]) -> dict[str, Group]:
    """Return the groups that any node can run, by key; bounds on which nodes differ, narrowed."""
    found: dict[str, Group] = {}
    for node in sorted(nodes, key=lambda node: node.node):
        for key, state in node.groups.items():
            known, new = found.get(key), state.group
            found[key] = new if known is None else _narrowed(known, new)
    return dict(sorted(found.items()))


def _narrowed(one: Group, other: Group) -> Group:
    bounds = [it.max for it in (one, other) if it.max is not None]
    return Group(
        one.name,
        one.agents,
        max(one.workers, other.workers),
        max(one.min, other.min),
        min(bounds, default=None),
        one.resources,
    )


def wanted_of(group: Group, provisioned: Mapping[str, int]) -> int:
    """Return how many workers a group is to have: what its most wanted agent is to have."""
    asked = max(provisioned.get(agent, group.workers) for agent in group.agents)
    within = asked if group.max is None else min(asked, group.max)
    return max(within, group.min)


def to_hold(placement: Placement, nodes: Collection[NodeEntry], name: str) -> dict[str, int]:
    """Return how many workers of each group node `name` is to keep alive now.

    More than its share for as long as the others have not what they are to have.
    """
    ordered = sorted(nodes, key=lambda node: node.node)
    own = next(node for node in ordered if node.node == name)
    share = placement.counts.get(name, {})
    if own.leaving:
        return dict.fromkeys(own.groups, 0)
    goal = {key: share.get(key, 0) for key in own.groups}
    hold = {key: max(goal[key], _kept(placement, ordered, name, key)) for key in own.groups}
    table = _Table(ordered, groups_of(ordered))
    for key, count in hold.items():
        for _ in range(count):
            if not table.fits(name, key):
                return goal  # It was given more than there is room for.
            table.add(name, key)
    return hold


def _kept(placement: Placement, ordered: list[NodeEntry], name: str, key: str) -> int:
    """Return how many workers of a group a node keeps that others are to replace.

    Of those that serve, no more leave than are spare; nodes leave in order.
    """
    states = {node.node: node.groups[key] for node in ordered if key in node.groups}
    spare = sum(it.ready for it in states.values()) - placement.placed(key)
    for node, state in states.items():
        too_many = max(0, state.held - placement.counts.get(node, {}).get(key, 0))
        idle = min(too_many, max(0, state.held - state.ready))
        leaving = idle + min(too_many - idle, max(0, spare))
        spare -= leaving - idle
        if node == name:
            return state.held - leaving if too_many else 0
    return 0


@dataclass(slots=True)
class _Table:
    """Workers that have been placed, and the room that is left."""

    nodes: list[NodeEntry]
    groups: Mapping[str, Group]
    counts: Counts = field(init=False)
    by_name: dict[str, NodeEntry] = field(init=False)
    _placed: dict[str, int] = field(init=False)
    _used: dict[str, dict[str, float]] = field(init=False)

    def __post_init__(self) -> None:
        self.by_name = {node.node: node for node in self.nodes}
        self.counts = {name: {} for name in self.by_name}
        self._placed = dict.fromkeys(self.by_name, 0)
        self._used = {name: {} for name in self.by_name}

    def fits(self, name: str, key: str) -> bool:
        node = self.by_name[name]
        if node.leaving or key not in node.groups or self._placed[name] >= node.max_workers:
            return False
        used = self._used[name]
        return all(
            used.get(kind, 0.0) + need <= node.resources.get(kind, 0.0) + _ROUNDING
            for kind, need in self.groups[key].resources.items()
        )

    def add(self, name: str, key: str, count: int = 1) -> None:
        self.counts[name][key] = self.counts[name].get(key, 0) + count
        self._placed[name] += count
        for kind, need in self.groups[key].resources.items():
            self._used[name][kind] = self._used[name].get(kind, 0.0) + need * count

    def load(self, name: str, more: int) -> float:
        """Return the share of a node's room that is taken once `more` workers are there."""
        return (self._placed[name] + more) / max(1, self.by_name[name].max_workers)


def _fill(table: _Table, wanted: Mapping[str, int], running: Counts) -> None:
    """Place what is wanted, in rounds; where it runs already, if there is room."""
    # What only some nodes can run is placed first.
    left = sorted(wanted, key=lambda key: (not table.groups[key].resources, key))
    count = 0
    while left:
        count += 1
        left = [key for key in left if wanted[key] >= count and _place_one(table, key, running)]


def _place_one(table: _Table, key: str, running: Counts) -> bool:
    able = [name for name in table.counts if table.fits(name, key)]
    if not able:
        return False
    had = [n for n in able if running.get(n, {}).get(key, 0) > table.counts[n].get(key, 0)]
    # Beside others of its kind last: they should not end with one machine.
    best = min(had or able, key=lambda n: (table.counts[n].get(key, 0) > 0, table.load(n, 1), n))
    table.add(best, key)
    return True


def _level(table: _Table) -> None:
    """Move workers from loaded nodes to idle ones, as few as make them alike."""
    while (move := next(_moves(table), None)) is not None:
        fro, to, key = move
        table.add(fro, key, -1)
        table.add(to, key)


def _moves(table: _Table) -> Iterator[tuple[str, str, str]]:
    """Yield moves after which the one node is not less loaded than the other, the best first."""
    names = sorted(table.counts, key=lambda name: (table.load(name, 0), name))
    for fro in reversed(names):
        for to in names:
            if table.load(to, 1) > table.load(fro, -1) + _ROUNDING:
                continue
            there = table.counts[to]
            movable = [k for k, n in table.counts[fro].items() if n > 0 and table.fits(to, k)]
            if movable:
                few = {key: there.get(key, 0) - table.counts[fro][key] for key in movable}
                yield fro, to, min(movable, key=lambda key: (few[key], key))
