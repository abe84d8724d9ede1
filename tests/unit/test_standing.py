"""Directives that stand in a simulated cluster."""

from nalar.controllers.local_events import Directed
from nalar.directives import Order, SetPriority
from nalar.ids import AgentName
from nalar.sim.standing import Standing

ORDER = Order(AgentName("A"), "depth")
FIRST = SetPriority("request", "r1", 5)


def test_who_joins_is_told_what_stands_for_all() -> None:
    standing = Standing()
    standing.put(ORDER)
    standing.put(Order(AgentName("A"), "deadline"))
    assert standing.joining() == [Directed(Order(AgentName("A"), "deadline"))]
    standing.withdraw(ORDER)
    assert standing.joining() == []


def test_each_worker_is_told_once_of_a_request_until_something_else_stands() -> None:
    standing = Standing()
    standing.put(FIRST)
    assert standing.arriving("w", "r1") == [Directed(FIRST)]
    assert standing.arriving("w", "r1") == []
    assert standing.arriving("w", "r2") == []
    other = SetPriority("request", "r1", 7)
    standing.put(other)
    assert standing.arriving("w", "r1") == [Directed(other)]
    assert standing.joining() == []


def test_what_stood_about_a_request_goes_with_it() -> None:
    standing = Standing()
    standing.put(FIRST)
    assert standing.forget("r1") == [Directed(FIRST, withdrawn=True)]
    assert standing.forget("r1") == []
    standing.put(FIRST)
    standing.withdraw(FIRST)
    assert standing.arriving("w", "r1") == []
