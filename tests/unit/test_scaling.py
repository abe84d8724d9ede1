"""Policies that say how many workers there are, and how much is let in."""

from nalar.cluster.policies.scaling import Admission, Autoscale, Reassign
from nalar.cluster.policy import Together, Withdraw
from nalar.cluster.view import ClusterView
from nalar.directives import Issued, Provision, Shed, key_of
from nalar.ids import AgentName
from nalar.reports import AgentLoad, MethodLoad
from tests.views import AGENT, cluster, worker

CHAT, CODE = AgentName("Chat"), AgentName("Code")


def two_agents(chat: AgentLoad, code: AgentLoad, *, chats: int = 2) -> ClusterView:
    idle = {CHAT: AgentLoad()}
    return cluster(
        worker("chat0", loads={CHAT: chat}),
        *(worker(f"chat{number}", loads=idle) for number in range(1, chats)),
        worker("code0", loads={CODE: code}),
    )


def direct(view: ClusterView, directive: Provision) -> None:
    view.standing[key_of(directive)] = Issued(directive, "test", "", 0.0)


def test_a_worker_goes_from_the_agent_with_the_least_load_to_that_with_the_most() -> None:
    view = two_agents(AgentLoad(running=1), AgentLoad(queued=7, running=2))
    assert list(Reassign().decide(view)) == [Together((Provision(CHAT, 1), Provision(CODE, 2)))]


def test_calls_that_no_worker_holds_count_as_load() -> None:
    view = two_agents(AgentLoad(), AgentLoad(running=2))
    assert not list(Reassign().decide(view))
    view.backlog[CODE] = 20
    assert list(Reassign().decide(view))


def test_no_worker_goes_from_an_agents_last_one_nor_while_others_are_on_their_way() -> None:
    last = two_agents(AgentLoad(), AgentLoad(queued=9), chats=1)
    assert not list(Reassign().decide(last))
    moving = two_agents(AgentLoad(), AgentLoad(queued=9))
    direct(moving, Provision(CODE, 2))
    assert not list(Reassign().decide(moving))


def test_reassignment_keeps_to_the_agents_that_can_take_each_others_place() -> None:
    view = two_agents(AgentLoad(), AgentLoad(queued=9))
    assert not list(Reassign(agents="Chat,Other").decide(view))
    assert list(Reassign(agents="Chat,Code").decide(view))


def test_there_are_more_workers_at_once_and_fewer_only_after_a_quiet_while() -> None:
    policy = Autoscale(target=1.0, quiet_s=30.0)
    busy = AgentLoad(queued=5, running=2)
    view = cluster(worker("one", running=2, loads={AGENT: busy}))
    assert list(policy.decide(view)) == [Provision(AGENT, 4)]
    direct(view, Provision(AGENT, 4))
    view.take(worker("one", loads={AGENT: AgentLoad(running=2)}, number=2))
    view.now_s += 30.0
    assert not list(policy.decide(view))
    view.now_s += 1.0
    assert list(policy.decide(view)) == [Provision(AGENT, 1)]


def test_calls_that_share_a_run_need_one_slot() -> None:
    """64 of them in batches of eight are eight runs: four workers of two slots."""
    methods = {"embed": MethodLoad(finished=100, batch=8)}
    load = AgentLoad(running=16, sharing=14, queued=16, spared=14, methods=methods)
    view = cluster(worker("one", running=2, loads={AGENT: load}))
    view.backlog = {AGENT: 32}
    assert list(Autoscale(target=1.0).decide(view)) == [Provision(AGENT, 4)]
    view = two_agents(load, AgentLoad(queued=9))
    assert list(Reassign().decide(view)) == [Together((Provision(CHAT, 1), Provision(CODE, 2)))]


def test_an_agent_with_calls_and_no_worker_gets_one() -> None:
    view = cluster(worker("one"))
    view.backlog = {AGENT: 0, CHAT: 3, CODE: 0}
    assert list(Autoscale(workers_min=0).decide(view)) == [Provision(CHAT, 4)]


def test_new_requests_are_refused_while_the_wait_is_too_long() -> None:
    shed = Shed(AGENT, 1, 10.0)
    policy = Admission(wait_max_s=10.0)

    def with_queue(queued: int) -> ClusterView:
        return cluster(
            worker("w", loads={AGENT: AgentLoad(queued=queued, finished=1, service_s=1.0)})
        )

    assert list(policy.decide(with_queue(30))) == [shed]
    assert not list(policy.decide(with_queue(15)))  # Neither: what stands, stands.
    assert list(policy.decide(with_queue(5))) == [Withdraw(shed)]
