"""Policies that say which calls go first."""

from nalar.cluster.bounds import Bounds
from nalar.cluster.policies.ordering import (
    TOLD_MAX,
    EarliestDeadline,
    FairShare,
    LeastAttained,
    Lpt,
    Srtf,
)
from nalar.cluster.policy import Policy
from nalar.cluster.view import ClusterView
from nalar.directives import Order, SetPriority
from nalar.reports import RequestLoad
from tests.views import AGENT, cluster, worker

FAR = RequestLoad(queued=1, finished=9, busy_s=30.0, tenant="a")
NEW = RequestLoad(queued=1, finished=1, busy_s=0.5, tenant="b")
IDLE = RequestLoad(finished=5, busy_s=9.0, tenant="a")


def view_of(**requests: RequestLoad) -> ClusterView:
    return cluster(worker("w", requests=requests))


def priorities(policy: Policy, view: ClusterView) -> dict[str, int]:
    directed = list(policy.decide(view))
    return {it.name: it.value for it in directed if isinstance(it, SetPriority)}


def test_shortest_remaining_time_takes_those_first_that_have_come_further() -> None:
    assert priorities(Srtf(step=2), view_of(far=FAR, new=NEW, idle=IDLE)) == {"far": 2, "new": 0}


def test_longest_processing_time_takes_those_first_that_have_had_more_service() -> None:
    assert priorities(Lpt(), view_of(far=FAR, new=NEW)) == {"far": 4, "new": 0}


def test_least_attained_takes_those_first_that_have_had_less_service() -> None:
    assert priorities(LeastAttained(), view_of(far=FAR, new=NEW)) == {"far": -4, "new": 0}


def test_what_has_not_changed_is_not_looked_at_again() -> None:
    view = view_of(far=FAR)
    view.settle()
    assert not priorities(Srtf(), view)


def test_of_very_many_requests_the_oldest_are_told_first_and_no_flood_is_made() -> None:
    view = view_of(**{f"r{number:06d}": FAR for number in range(TOLD_MAX + 500)})
    told = priorities(LeastAttained(), view)
    assert len(told) == TOLD_MAX < Bounds().suggestions_max
    assert "r000000" in told


def test_earliest_deadline_is_an_order_that_workers_keep_themselves() -> None:
    assert list(EarliestDeadline().decide(view_of())) == [Order(AGENT, "deadline")]


def test_fair_share_takes_the_tenant_first_that_has_had_less_of_late() -> None:
    policy, view = FairShare(), view_of(far=FAR, new=NEW)
    assert not priorities(policy, view)  # Nobody has had anything yet that was seen.
    more = RequestLoad(queued=1, finished=99, busy_s=46.0, tenant="a")
    some = RequestLoad(queued=1, finished=9, busy_s=4.5, tenant="b")
    view.take(worker("w", requests={"far": more, "new": some}, number=2))
    told = priorities(policy, view)
    assert told == {"a": -1, "b": 1}


def test_fair_share_forgets_what_was_had_long_ago() -> None:
    policy, view = FairShare(half_life_s=1.0), view_of(far=FAR, new=NEW)
    priorities(policy, view)
    more = RequestLoad(queued=1, busy_s=90.0, tenant="a")
    view.take(worker("w", requests={"far": more, "new": NEW}, number=2))
    assert priorities(policy, view)["a"] < 0
    view.now_s += 100.0
    late = RequestLoad(queued=1, busy_s=4.5, tenant="b")
    view.take(worker("w", requests={"far": more, "new": late}, number=3))
    told = priorities(policy, view)
    assert told["a"] > told["b"]
