"""What a worker knows of the others, from notices that may be late or lost, and from listings."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from nalar.controllers.roster import Roster, Silence
from nalar.ids import AgentName
from nalar.statestore.port import KeyValueEntry

AGENT = AgentName("Analyst")


def worker(name: str, revision: int, *agents: str, running: int = 0) -> KeyValueEntry:
    told = {"worker": name, "agents": agents, "running": running}
    return KeyValueEntry(f"worker.{name}", revision, orjson.dumps(told))


def lease(slot: int, revision: int, owner: str = "") -> KeyValueEntry:
    return KeyValueEntry(f"lease.{AGENT}.{slot}", revision, owner.encode() or None)


def test_workers_come_and_go_with_their_entries() -> None:
    roster = Roster()
    assert roster.take(worker("one", 1, "Analyst", "Other"))
    assert roster.take(worker("two", 2, "Other"))
    assert roster.peers(AGENT) == ["one"]
    assert roster.take(KeyValueEntry("worker.one", 3, None))
    assert roster.peers(AGENT) == []


def test_a_sign_of_life_alone_does_not_matter_another_agent_does() -> None:
    roster = Roster()
    roster.take(worker("one", 1, "Other"))
    assert not roster.take(worker("one", 2, "Other", running=5))
    assert roster.take(worker("one", 3, "Other", "Analyst"))
    assert roster.peers(AGENT) == ["one"]


def test_leases_name_revision_and_owner() -> None:
    roster = Roster()
    assert roster.take(lease(3, 5, "one"))
    assert roster.leases(AGENT) == {3: (5, "one")}
    assert not roster.take(lease(3, 4, "two")), "an older notice comes late"
    assert roster.leases(AGENT) == {3: (5, "one")}
    assert roster.take(lease(3, 6))
    assert roster.leases(AGENT) == {}
    assert not roster.take(lease(3, 5, "one")), "nor does one that comes after the removal"


def test_a_listing_removes_what_it_does_not_name_but_for_what_is_newer() -> None:
    roster = Roster()
    for entry in (worker("gone", 1, "Analyst"), worker("stays", 2, "Analyst")):
        roster.take(entry)
    since = roster.newest
    roster.take(worker("newer", 3, "Analyst"))  # Heard while the listing was on its way.
    roster.put_right("worker", [worker("stays", 2, "Analyst")], since=since)
    assert sorted(roster.peers(AGENT)) == ["newer", "stays"]


def test_a_listing_of_one_kind_leaves_the_other_alone() -> None:
    roster = Roster()
    roster.take(lease(1, 1, "one"))
    roster.put_right("worker", [], since=9)
    assert roster.leases(AGENT) == {1: (1, "one")}


def test_what_no_worker_wrote_is_borne() -> None:
    roster = Roster()
    for value in (b"", b"[]", b"{}", b'{"agents":5}', b"\xff"):
        roster.take(KeyValueEntry("worker.odd", roster.newest + 1, value))
    roster.take(KeyValueEntry("lease.Analyst.x", 50, b"one"))
    assert roster.peers(AGENT) == []
    assert roster.leases(AGENT) == {}


CHANGES = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["", "one", "two"])), max_size=30)


@given(CHANGES, st.data())
def test_after_a_listing_nothing_is_left_of_lost_and_late_notices(
    changes: list[tuple[int, str]], data: st.DataObject
) -> None:
    entries = [lease(slot, n, owner) for n, (slot, owner) in enumerate(changes, 1)]
    truth = {int(entry.key[-1]): entry for entry in entries}
    heard = data.draw(st.lists(st.sampled_from(entries), max_size=40)) if entries else []
    roster = Roster()
    for entry in heard:
        roster.take(entry)
    roster.put_right("lease", [it for it in truth.values() if it.value], since=len(entries))
    expected = {slot: (it.revision, it.value.decode()) for slot, it in truth.items() if it.value}
    assert roster.leases(AGENT) == expected


def test_an_entry_that_no_worker_wrote_serves_nothing() -> None:
    roster = Roster()
    for revision, value in enumerate((b"", b"x", b"[]", b"{}", b'{"worker":1,"agents":"Analyst"}')):
        roster.take(KeyValueEntry("worker.one", revision + 1, value))
        assert roster.peers(AGENT) == []


def test_an_entry_that_is_not_renewed_for_two_leases_is_that_of_a_dead_worker() -> None:
    silence = Silence()
    dead, alive = worker("dead", 1), worker("alive", 2)
    assert silence.overdue([dead, alive], 0.0, 1.0) == []
    assert silence.overdue([dead, worker("alive", 3)], 1.9, 1.0) == []
    assert silence.overdue([dead, worker("alive", 3)], 2.1, 1.0) == [dead]
    assert silence.overdue([worker("dead", 4)], 5.0, 1.0) == []


def test_a_worker_of_longer_leases_is_given_its_own() -> None:
    told = orjson.dumps({"worker": "slow", "agents": [], "lease_s": 10.0})
    slow = KeyValueEntry("worker.slow", 1, told)
    silence = Silence()
    assert silence.overdue([slow], 0.0, 1.0) == []
    assert silence.overdue([slow], 19.0, 1.0) == []
    assert silence.overdue([slow], 21.0, 1.0) == [slow]


def test_what_is_gone_or_cannot_be_read_is_not_waited_for() -> None:
    silence = Silence()
    entries = [KeyValueEntry("worker.gone", 1, None), KeyValueEntry("worker.odd", 2, b"{")]
    assert silence.overdue(entries, 0.0, 1.0) == []
    assert silence.overdue(entries, 9.0, 1.0) == [entries[1]]
