"""Where a call stands in a queue."""

from nalar.controllers.ranking import NO_TRAITS, Ranking, Traits
from nalar.directives import Order, SetPriority
from nalar.ids import AgentName

A = AgentName("A")
CALL = Traits(A, "session", "root", "tenant", 2, 50.0)


def test_without_directives_a_call_goes_by_its_own_priority_and_its_arrival() -> None:
    ranking = Ranking()
    assert ranking.rank(CALL, 3, 9.0, 7) == (-3.0, 0.0, 7)
    assert ranking.rank(NO_TRAITS, 0, 9.0, 8) > ranking.rank(CALL, 0, 9.0, 7)


def test_request_goes_before_session_before_tenant_and_one_agent_before_all() -> None:
    ranking = Ranking()
    steps = [
        SetPriority("tenant", "tenant", 1), SetPriority("tenant", "tenant", 2, A),
        SetPriority("session", "session", 3), SetPriority("session", "session", 4, A),
        SetPriority("request", "root", 5), SetPriority("request", "root", 6, A),
    ]  # fmt: skip
    for value, step in enumerate(steps, 1):
        ranking.set_priority(step)
        assert ranking.priority(CALL, 0) == value
    for value, step in reversed(list(enumerate(steps))):
        ranking.set_priority(step, withdrawn=True)
        assert ranking.priority(CALL, 0) == value


def test_an_order_that_is_withdrawn_gives_the_arrival_its_right_again() -> None:
    ranking = Ranking()
    ranking.set_order(Order(A, "depth"))
    assert ranking.rank(CALL, 0, 9.0, 7) == (0.0, -2.0, 7)
    ranking.set_order(Order(A, "depth"), withdrawn=True)
    assert ranking.rank(CALL, 0, 9.0, 7) == (0.0, 0.0, 7)
