"""A lane as the server keeps it."""

from nalar.sim.invocation import Invocation
from nalar.sim.mailbox import Mailbox


def call(key: str) -> Invocation:
    return Invocation(key, (step for step in ()))


def test_messages_wait_for_asks_and_asks_for_messages() -> None:
    lane = Mailbox("lane", 1)
    one, two, three = call("1"), call("2"), call("3")
    assert lane.put(one) == []
    assert lane.ask("w", 2, 0) == [("w", one)]
    assert lane.put(two) == [("w", two)]
    assert lane.put(three) == []
    assert list(lane.waiting) == [three]


def test_open_asks_take_turns_and_those_of_a_worker_that_left_are_gone() -> None:
    lane = Mailbox("lane", 1)
    lane.ask("a", 2, 0)
    lane.ask("b", 2, 0)
    got = [lane.put(call(str(number)))[0][0] for number in range(3)]
    assert got == ["a", "b", "a"]
    lane.leave("b")
    assert lane.put(call("last")) == []


def test_the_asks_of_the_idlest_go_first() -> None:
    lane = Mailbox("lane", 1)
    for worker, level in [("full", 9), ("idle", 0), ("half", 5), ("also idle", 0)]:
        lane.ask(worker, 1, level)
    got = [lane.put(call(str(number)))[0][0] for number in range(4)]
    assert got == ["idle", "also idle", "half", "full"]
