"""Which node runs how many workers of what: one answer for all, few moves, no gap."""

import random
from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from nalar.cluster.nodes import Group, GroupState, NodeEntry
from nalar.cluster.placement import Counts, Placement, place, to_hold, wanted_of


def group(*agents: str, workers: int = 1, **more: object) -> Group:
    return Group(agents[0], agents, workers, **more)  # type: ignore[arg-type]


def node(name: str, *groups: Group, room: int = 10, **more: object) -> NodeEntry:
    states = {it.key: GroupState(it) for it in groups}
    return NodeEntry(name, "host", 1, room, groups=states, **more)  # type: ignore[arg-type]


def running(nodes: list[NodeEntry], counts: Counts, *, ready: bool = True) -> list[NodeEntry]:
    """The nodes once they run what `counts` says."""
    return [
        replace(
            it,
            groups={
                key: replace(state, held=n, ready=n if ready else 0)
                for key, state in it.groups.items()
                for n in [counts.get(it.node, {}).get(key, 0)]
            },
        )
        for it in nodes
    ]


def test_one_node_runs_one_of_each_and_as_many_as_are_directed() -> None:
    only = node("n", group("A"), group("B", workers=2))
    assert place([only], {}).counts == {"n": {"A": 1, "B": 2}}
    assert place([only], {"A": 3, "B": 0, "Stranger": 5}).counts == {"n": {"A": 3}}


def test_bounds_hold_whatever_is_directed() -> None:
    bounded = group("A", min=1, max=3)
    assert [wanted_of(bounded, {"A": n}) for n in (0, 2, 2**31)] == [1, 2, 3]
    assert wanted_of(group("A", workers=5, max=3), {}) == 3


def test_agents_that_share_workers_get_what_the_most_wanted_is_to_have() -> None:
    shared = group("a", "b", "c")
    assert wanted_of(shared, {"a": 3, "b": 2}) == 3
    assert wanted_of(shared, {"a": 0}) == 1, "c is still to have one"
    assert wanted_of(shared, {"a": 0, "b": 0, "c": 0}) == 0


def test_workers_are_spread_and_what_finds_no_room_is_told() -> None:
    nodes = [node("n1", group("A"), room=2), node("n2", group("A"), room=2)]
    assert place(nodes, {"A": 2}).counts == {"n1": {"A": 1}, "n2": {"A": 1}}
    huge = place(nodes, {"A": 2**31 - 1})
    assert huge.counts == {"n1": {"A": 2}, "n2": {"A": 2}}
    assert huge.missing == {"A": 2**31 - 5}


def test_each_gets_its_first_before_any_gets_a_second() -> None:
    full = node("n", group("A"), group("B"), room=3)
    [full] = running([full], {"n": {"A": 3}})
    assert place([full], {"A": 3, "B": 2}).counts == {"n": {"A": 2, "B": 1}}


def test_what_needs_a_device_goes_where_there_is_one() -> None:
    model = group("Model", resources={"GPU": 1})
    plain, able = node("a", model, group("B")), node("b", model, group("B"), resources={"GPU": 2})
    placement = place([plain, able], {"Model": 3})
    assert placement.counts["b"]["Model"] == 2
    assert "Model" not in placement.counts["a"]
    assert placement.missing == {"Model": 1}


def test_a_dead_nodes_share_goes_to_the_others_and_nothing_else_moves() -> None:
    nodes = [node(name, group("A"), group("B")) for name in "xyz"]
    before = place(nodes, {"A": 3, "B": 3}).counts
    after = place(running(nodes, before)[:2], {"A": 3, "B": 3}).counts
    assert all(after[name][key] >= before[name][key] for name in "xy" for key in "AB")
    assert sum(sum(of.values()) for of in after.values()) == 6


def test_a_new_node_takes_its_share_by_as_few_moves_as_do() -> None:
    groups = [group(name) for name in "ABCD"]
    old = running([node("x", *groups), node("y", *groups)],
                  {"x": {"A": 1, "B": 1}, "y": {"C": 1, "D": 1}})  # fmt: skip
    counts = place([*old, node("w", *groups)], {}).counts
    stayed = [key for it in old for key, state in it.groups.items()
              if state.held and counts[it.node].get(key)]  # fmt: skip
    assert len(stayed) == 3
    assert sum(counts["w"].values()) == 1


def test_a_worker_that_moves_goes_only_once_its_successor_serves() -> None:
    nodes = running([node("old", group("A"), leaving=False)], {"old": {"A": 2}})
    nodes.append(node("new", group("A")))
    placement = place(nodes, {"A": 2})
    assert placement.counts == {"old": {"A": 1}, "new": {"A": 1}}
    assert to_hold(placement, nodes, "old") == {"A": 2}
    assert to_hold(placement, nodes, "new") == {"A": 1}
    starting = running(nodes, {"old": {"A": 2}, "new": {"A": 1}})
    starting[1] = replace(starting[1], groups={"A": replace(starting[1].groups["A"], ready=0)})
    assert to_hold(place(starting, {"A": 2}), starting, "old") == {"A": 2}
    serving = running(nodes, {"old": {"A": 2}, "new": {"A": 1}})
    assert to_hold(place(serving, {"A": 2}), serving, "old") == {"A": 1}


def test_no_more_leave_than_have_successors() -> None:
    nodes = [node(name, group("A", workers=6)) for name in ("a", "b", "new")]
    nodes = running(nodes, {"a": {"A": 3}, "b": {"A": 3}, "new": {"A": 2}})
    state = nodes[2].groups["A"]
    nodes[2] = replace(nodes[2], groups={"A": replace(state, ready=1)})
    placement = place(nodes, {})
    assert placement.counts == {name: {"A": 2} for name in ("a", "b", "new")}
    assert [to_hold(placement, nodes, name)["A"] for name in ("a", "b", "new")] == [2, 3, 2]


def test_fewer_workers_leave_at_once_and_a_leaving_node_holds_none() -> None:
    [only] = running([node("n", group("A"))], {"n": {"A": 4}})
    assert to_hold(place([only], {"A": 1}), [only], "n") == {"A": 1}
    leaving = replace(only, leaving=True)
    assert to_hold(place([leaving], {"A": 4}), [leaving], "n") == {"A": 0}


def test_less_room_counts_more_than_a_gap() -> None:
    [full] = running([node("n", group("A"), group("B"), room=1)], {"n": {"A": 2}})
    hold = to_hold(place([full], {}), [full], "n")
    assert sum(hold.values()) == 1


# Whatever there is.

NAMES = "ABCDE"
KINDS = ["GPU", "RAM"]
GROUPS = [
    group("A"),
    group("B", workers=3),
    group("C", min=1, max=2),
    group("D", resources={"GPU": 1.0}),
    group("E", "F", resources={"GPU": 0.5, "RAM": 2.0}),
]


@st.composite
def any_node(draw: st.DrawFn) -> NodeEntry:
    offered = draw(st.sets(st.sampled_from(range(len(GROUPS))), min_size=1))
    held = [(GROUPS[number], draw(st.integers(0, 4))) for number in sorted(offered)]
    devices = {
        "GPU": draw(st.sampled_from([0.0, 1.0, 2.0])),
        "RAM": draw(st.sampled_from([0.0, 8.0])),
    }
    states = {it.key: GroupState(it, held=n, ready=n) for it, n in held}
    return NodeEntry("", "host", 1, draw(st.integers(0, 8)), devices, draw(st.booleans()), states)


NODES = st.lists(any_node(), max_size=5).map(
    lambda nodes: [replace(it, node=f"n{number}") for number, it in enumerate(nodes)]
)
PROVISIONED = st.dictionaries(st.sampled_from("ABCDEF"), st.integers(0, 9))


def fits(it: NodeEntry, of: Mapping[str, int], more: str = "") -> bool:
    counts = dict(of) | ({more: of.get(more, 0) + 1} if more else {})
    used = {
        kind: sum(it.groups[k].group.resources.get(kind, 0) * n for k, n in counts.items())
        for kind in KINDS
    }
    room = sum(counts.values()) <= it.max_workers
    return room and all(used[kind] <= it.resources[kind] + 1e-6 for kind in KINDS)


@given(NODES, PROVISIONED)
def test_a_placement_keeps_to_what_there_is(
    nodes: list[NodeEntry], provisioned: dict[str, int]
) -> None:
    placement = place(nodes, provisioned)
    for it in nodes:
        of = placement.counts[it.node]
        assert set(of) <= set(it.groups)
        assert fits(it, of)
        assert not (it.leaving and of)
        hold = to_hold(placement, nodes, it.node)
        assert it.leaving or all(hold[key] >= count for key, count in of.items())
        assert fits(it, hold)
    for key, wanted in placement.wanted.items():
        assert placement.placed(key) <= wanted
    for key in placement.missing:
        for it in nodes:
            able = key in it.groups and not it.leaving
            assert not (able and fits(it, placement.counts[it.node], key)), "there was room"


@given(NODES, PROVISIONED, st.randoms(use_true_random=False))
def test_all_compute_the_same_and_stay_with_it(
    nodes: list[NodeEntry], provisioned: dict[str, int], chance: random.Random
) -> None:
    placement = place(nodes, provisioned)
    shuffled = list(nodes)
    chance.shuffle(shuffled)
    assert place(shuffled, provisioned) == placement
    assert place(running(nodes, placement.counts), provisioned).counts == placement.counts


@given(st.integers(1, 5), PROVISIONED, st.lists(st.integers(0, 4), min_size=15, max_size=15))
def test_equal_nodes_are_equally_loaded(
    count: int, provisioned: dict[str, int], held: list[int]
) -> None:
    offered = [group(name) for name in "ABC"]
    nodes = [node(f"n{number}", *offered, room=30) for number in range(count)]
    counts = {
        it.node: dict(zip("ABC", held[3 * number :], strict=False))
        for number, it in enumerate(nodes)
    }
    placement = place(running(nodes, counts), provisioned)
    loads = [sum(of.values()) for of in placement.counts.values()]
    assert placement.missing == {}
    assert max(loads) - min(loads) <= 1


class Nodes:
    """Nodes that see one another late, and whose workers take their time."""

    def __init__(self, nodes: list[NodeEntry], wanted: dict[str, int]) -> None:
        self.told = {it.node: it for it in nodes}
        self.seen = {it.node: {other.node: other for other in nodes} for it in nodes}
        self.wanted = wanted
        self.changes = 0

    def look(self, name: str) -> None:
        """A node hears of all the others and does what follows."""
        self.seen[name] = dict(self.told)
        self.act(name)

    def act(self, name: str) -> None:
        """A node does what follows from what it has heard of the others."""
        self.seen[name][name] = own = self.told[name]
        known = list(self.seen[name].values())
        hold = to_hold(place(known, self.wanted), known, name)
        self._tell(
            name,
            {
                key: replace(state, held=hold[key], ready=min(state.ready, hold[key]))
                for key, state in own.groups.items()
            },
        )

    def serve(self, name: str) -> None:
        """All workers of a node serve by now."""
        groups = self.told[name].groups.items()
        self._tell(name, {key: replace(state, ready=state.held) for key, state in groups})

    def _tell(self, name: str, groups: dict[str, GroupState]) -> None:
        after = replace(self.told[name], groups=groups)
        self.changes += after != self.told[name]
        self.told[name] = after

    def ready(self, key: str) -> int:
        return sum(it.groups[key].ready for it in self.told.values() if key in it.groups)

    def counts(self) -> Counts:
        return {
            name: {key: state.held for key, state in it.groups.items() if state.held}
            for name, it in self.told.items()
        }


STEPS = st.lists(st.tuples(st.sampled_from(["look", "act", "serve"]), st.integers(0, 4)),
                 max_size=40)  # fmt: skip


@given(NODES, PROVISIONED, STEPS)
def test_nodes_that_hear_late_settle_on_one_placement(
    nodes: list[NodeEntry], provisioned: dict[str, int], steps: list[tuple[str, int]]
) -> None:
    cluster = Nodes(nodes, provisioned)
    for what, which in steps:
        if nodes:
            getattr(cluster, what)(nodes[which % len(nodes)].node)
    for _ in range(10):
        before = cluster.changes
        for it in nodes:
            cluster.look(it.node)
            cluster.serve(it.node)
        if cluster.changes == before:
            break
    else:
        raise AssertionError(f"they go on and on: {cluster.counts()}")
    final: Placement = place(list(cluster.told.values()), provisioned)
    assert cluster.counts() == final.counts


@given(st.integers(1, 3), st.integers(1, 2), STEPS)
def test_a_group_that_is_moved_always_has_a_worker(
    old: int, new: int, steps: list[tuple[str, int]]
) -> None:
    """Nodes join; what runs on the old ones moves, and each group is served all the while."""
    offered = [group(name) for name in "ABC"]
    began = [node(f"m{number}", *offered) for number in range(old)]
    began = running(began, place(began, {}).counts)
    nodes = began + [node(f"{'az'[number]}", *offered) for number in range(new)]
    cluster = Nodes(nodes, {})
    for what, which in steps:
        getattr(cluster, what)(nodes[which % len(nodes)].node)
        assert all(cluster.ready(key) >= 1 for key in "ABC")
