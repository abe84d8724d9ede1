"""What a node knows of the others, from notices that may be late or lost, and from listings."""

from nalar.cluster.fleet import PROVISIONS, Fleet
from nalar.cluster.nodes import Group, GroupState, NodeEntry, encode_node
from nalar.directives import Issued, Provision, encode_directive, key_of
from nalar.ids import AgentName
from nalar.statestore.port import KeyValueEntry


def node(name: str, revision: int, *agents: str, called: str = "") -> KeyValueEntry:
    groups = {it: GroupState(Group(it, (it,))) for it in agents}
    body = encode_node(NodeEntry(called or name, "host", 1, 4, groups=groups))
    return KeyValueEntry(f"node.{name}", revision, body)


def provision(agent: str, workers: int, revision: int) -> KeyValueEntry:
    directive = Provision(AgentName(agent), workers)
    body = encode_directive(Issued(directive, "hand", "", 0.0))
    return KeyValueEntry(key_of(directive), revision, body)


def test_nodes_come_and_go_and_a_sign_of_life_alone_is_no_news() -> None:
    fleet = Fleet()
    assert fleet.take(node("one", 1, "A", "B"))
    assert not fleet.take(node("one", 2, "A", "B"))
    assert fleet.agents == {"A", "B"}
    assert fleet.take(node("one", 3, "A"))
    assert fleet.take(KeyValueEntry("node.one", 4, None))
    assert not fleet.take(node("one", 2, "A")), "it comes late"
    assert fleet.nodes == {}


def test_what_is_directed_holds_until_it_is_withdrawn() -> None:
    fleet = Fleet()
    assert fleet.take(provision("A", 3, 1))
    assert not fleet.take(provision("A", 3, 2))
    assert fleet.take(provision("A", 0, 3))
    assert fleet.provisioned == {"A": 0}
    assert fleet.take(KeyValueEntry(f"{PROVISIONS}.A", 4, None))
    assert fleet.provisioned == {}


def test_what_cannot_be_read_counts_as_absent() -> None:
    fleet = Fleet()
    fleet.take(node("one", 1, "A"))
    assert fleet.take(KeyValueEntry("node.one", 2, b"{"))
    assert not fleet.take(node("two", 3, "A", called="one")), "it is another's entry"
    fleet.take(provision("A", 1, 4))
    assert fleet.take(KeyValueEntry(f"{PROVISIONS}.A", 5, b'{"v":1,"kind":"drain"}'))
    assert (fleet.nodes, fleet.provisioned) == ({}, {})


def test_a_listing_removes_what_it_does_not_name_but_for_what_is_newer() -> None:
    fleet = Fleet()
    for entry in (node("gone", 1), node("stays", 2), provision("A", 1, 3)):
        fleet.take(entry)
    since = fleet.newest
    fleet.take(node("newer", 4))
    fleet.put_right("node", [node("stays", 2)], since=since)
    assert sorted(fleet.nodes) == ["newer", "stays"]
    assert fleet.provisioned == {"A": 1}, "a listing of one kind leaves the other alone"
    fleet.put_right(PROVISIONS, [], since=fleet.newest)
    assert fleet.provisioned == {}
