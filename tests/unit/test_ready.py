"""Directives decide what a worker starts: pauses, limits, priorities and orders."""

from dataclasses import replace

import pytest

from nalar.controllers.local_events import Arrived, Directed, Ended, Start
from nalar.controllers.local_state import LocalState
from nalar.controllers.ranking import Traits
from nalar.controllers.ready import ReadyQueues
from nalar.directives import Directive, Limit, Order, Pause, QueueOrder, SetPriority
from nalar.ids import AgentName
from tests.local_controller import check

A, B = AgentName("A"), AgentName("B")


def call(  # noqa: PLR0913 -- each by its name
    key: str, agent: AgentName = A, *, tenant: str = "", root: str = "", at: float = 0.0,
         deadline: float = 1000.0, depth: int = 0, lock: str | None = None) -> Arrived:  # fmt: skip
    traits = Traits(agent, lock or "", root, tenant, depth, at)
    return Arrived(key, lock, 0, deadline, frozenset(), None, 0.0, traits=traits)


class Local(LocalState):
    """A local controller that is checked after each event; `tell` returns what it starts."""

    def tell(self, *events: Arrived | Ended | Directive, withdrawn: bool = False) -> list[str]:
        started: list[str] = []
        for event in events:
            is_event = isinstance(event, Arrived | Ended)
            effects = self.handle(event if is_event else Directed(event, withdrawn=withdrawn))
            started += [effect.key for effect in effects if isinstance(effect, Start)]
            check(self)
        return started

    def in_order(self, running: str) -> list[str]:
        """Let one call after the other end, and return them as they started."""
        started: list[str] = []
        while following := self.tell(Ended(running)):
            [running] = following
            started.append(running)
        return started


def test_a_paused_agent_starts_nothing_and_others_go_on() -> None:
    local = Local(concurrency=8)
    assert local.tell(Pause(A), call("a1"), call("b1", B), call("a2")) == ["b1"]
    assert local.tell(Pause(A), withdrawn=True) == ["a1", "a2"]


def test_an_agent_at_its_limit_waits_for_its_own_calls_alone() -> None:
    local = Local(concurrency=8)
    assert local.tell(Limit("agent", A, 1), call("a1"), call("a2"), call("b1", B)) == ["a1", "b1"]
    assert local.tell(Ended("b1")) == []
    assert local.tell(Ended("a1")) == ["a2"]


def test_a_tenant_at_its_limit_lets_others_of_the_same_agent_ahead() -> None:
    local = Local(concurrency=8)
    events = (call("x1", tenant="x"), call("x2", tenant="x"), call("y1", tenant="y"))
    assert local.tell(Limit("tenant", "x", 1), *events) == ["x1", "y1"]
    assert local.tell(Ended("y1")) == []
    assert local.tell(Ended("x1")) == ["x2"]


def test_a_limit_that_is_raised_or_withdrawn_takes_effect_at_once() -> None:
    local = Local(concurrency=8)
    local.tell(Limit("tenant", "x", 0), call("x1", tenant="x"), call("x2", tenant="x"))
    assert local.tell(Limit("tenant", "x", 1)) == ["x1"]
    assert local.tell(Limit("tenant", "x", 1), withdrawn=True) == ["x2"]


def test_a_call_that_is_stopped_while_it_is_set_aside_never_starts() -> None:
    local = Local(concurrency=8)
    local.tell(Limit("tenant", "x", 0), call("x1", tenant="x"), Ended("x1"))
    assert local.tell(Limit("tenant", "x", 0), withdrawn=True) == []


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("arrival", ["1", "2", "3"]),
        ("deadline", ["2", "3", "1"]),
        ("request_age", ["3", "1", "2"]),
        ("depth", ["3", "2", "1"]),
    ],
)
@pytest.mark.parametrize("late", [False, True], ids=["before", "while they wait"])
def test_calls_start_in_the_order_that_is_asked_for(
    order: QueueOrder, expected: list[str], *, late: bool
) -> None:
    local = Local(concurrency=1)
    local.tell(call("running", B))
    waiting = [
        call("1", deadline=30, at=20, depth=0),
        call("2", deadline=10, at=30, depth=1),
        call("3", deadline=20, at=10, depth=2),
    ]
    directive = Order(A, order)
    local.tell(*((*waiting, directive) if late else (directive, *waiting)))
    assert local.in_order("running") == expected


def test_priority_is_set_for_sessions_requests_and_tenants_and_the_narrower_wins() -> None:
    local = Local(concurrency=1)
    local.tell(call("running", B))
    local.tell(
        call("tenant", tenant="t"), call("other"), call("request", tenant="t", root="r"),
        SetPriority("tenant", "t", 5), SetPriority("request", "r", -5),
    )  # fmt: skip
    assert local.in_order("running") == ["tenant", "other", "request"]


def test_a_priority_for_one_agent_holds_there_alone() -> None:
    local = Local(concurrency=1)
    local.tell(call("running", B), call("b", B, tenant="t"), call("a", tenant="t"))
    assert local.tell(SetPriority("tenant", "t", 3, A)) == []
    assert local.in_order("running") == ["a", "b"]


def test_a_call_in_its_sessions_line_is_ranked_again_too() -> None:
    local = Local(concurrency=4)
    first, second, third = (call(name, lock="s/x", root=name) for name in ("1", "2", "3"))
    assert local.tell(first, second, third) == ["1"]
    local.tell(SetPriority("request", "3", 1))
    assert local.in_order("1") == ["3", "2"]
    again = replace(second, key="4")
    assert local.tell(again) == ["4"]


def test_what_is_discarded_or_moved_leaves_nothing_behind() -> None:
    ready = ReadyQueues()
    traits = Traits(A)
    for number in range(100):
        ready.put("a", traits, (0.0, 0.0, number))
    assert len(ready) == 1
    assert ready.pop() == "a"
    assert ready.pop() is None
    ready.put("b", traits, (0.0, 0.0, 1))
    ready.discard("b")
    assert "b" not in ready
    assert ready.pop() is None
