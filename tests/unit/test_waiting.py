"""Sessions in the order of how long they have waited."""

from itertools import islice
from random import Random

from nalar.cluster.waiting import WaitingSessions
from nalar.ids import AgentName, SessionId

AGENT, OTHER = AgentName("Analyst"), AgentName("Other")


def test_the_order_is_that_of_waiting_whatever_comes_goes_and_changes() -> None:
    rng, waiting, expected = Random(1), WaitingSessions(), dict[SessionId, float]()
    for _ in range(5_000):
        session = SessionId(f"s{rng.randrange(200)}")
        if rng.random() < 0.4:
            waiting.discard((AGENT, session))
            expected.pop(session, None)
        else:
            expected[session] = float(rng.randrange(1_000))
            waiting.put((AGENT, session), expected[session])
    in_order = sorted(expected, key=lambda session: (expected[session], session))
    assert list(waiting.oldest_first(AGENT)) == in_order
    assert list(waiting.oldest_first(AGENT)) == in_order  # Reading takes nothing away.
    assert not list(waiting.oldest_first(OTHER))


def test_what_is_stale_does_not_pile_up() -> None:
    waiting = WaitingSessions()
    for at in range(10_000):
        waiting.put((AGENT, SessionId("s")), float(at))
    assert len(waiting._heaps[AGENT]) < 100
    assert list(islice(waiting.oldest_first(AGENT), 2)) == ["s"]
