"""How many directives each policy may give."""

import pytest

from nalar.cluster.quota import Quota, StandingDirectives, lasts, share
from nalar.directives import Directive, Drain, Issued, Limit, Pause, Route, SetPriority, key_of
from nalar.ids import AgentName, SessionId, WorkerId
from tests.views import AGENT


def put(standing: StandingDirectives, directive: Directive, by: str) -> None:
    standing[key_of(directive)] = Issued(directive, by, "", 0.0)


def test_it_is_known_how_many_directives_are_whose_however_they_came_and_went() -> None:
    standing, pause = StandingDirectives(), Pause(AGENT)
    put(standing, pause, "p")
    put(standing, SetPriority("tenant", "acme", 1), "p")
    put(standing, SetPriority("tenant", "acme", 2), "p")  # In place of the one before.
    assert (standing.lasting("p"), len(standing)) == (2, 2)
    put(standing, pause, "q")
    assert (standing.lasting("p"), standing.lasting("q")) == (1, 1)
    assert standing.pop(key_of(pause), None) is not None
    assert standing.pop(key_of(pause), None) is None
    assert (standing.lasting("p"), standing.lasting("q")) == (1, 0)
    standing.clear()
    assert (standing.lasting("p"), dict(standing)) == (0, {})


@pytest.mark.parametrize(
    ("directive", "counts"),
    [
        (SetPriority("tenant", "acme", 1), True),
        (Limit("tenant", "acme", 1), True),
        (SetPriority("session", "s", 1), True),
        (SetPriority("request", "r", 1, AgentName("A")), True),
        (SetPriority("request", "r", 1), False),
        (Route(AGENT, SessionId("s"), 1), False),
        (Drain(WorkerId("w")), False),
    ],
    ids=str,
)
def test_what_ends_by_itself_is_not_counted(directive: Directive, *, counts: bool) -> None:
    assert lasts(directive) == counts


def test_who_takes_all_there_is_leaves_half_to_those_named_later() -> None:
    left, shares = 1_000, list[int]()
    for followed in (True, True, False):
        shares.append(share(left, followed=followed))
        left -= shares[-1]
    assert shares == [500, 250, 250]
    assert share(1, followed=True) == 1


def test_a_quota_is_used_up() -> None:
    quota = Quota(changes=3, lasting=2)
    quota.take(2, 1)
    assert quota == Quota(changes=1, lasting=1)
