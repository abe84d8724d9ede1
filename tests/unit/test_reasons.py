"""What is said of why a directive is given."""

from nalar.cluster.reasons import reason_of
from nalar.directives import Provision
from nalar.reports import AgentLoad
from tests.views import AGENT, cluster, worker


def test_workers_are_wanted_for_calls_and_for_the_runs_that_those_make() -> None:
    alone = cluster(worker("one", loads={AGENT: AgentLoad(queued=8, finished=1, service_s=1.0)}))
    assert reason_of(alone, Provision(AGENT, 4)) == "8 calls for 2 slots, 4.0 s to wait"
    gathered = AgentLoad(queued=8, spared=7, finished=1, service_s=0.25)
    view = cluster(worker("one", loads={AGENT: gathered}))
    assert reason_of(view, Provision(AGENT, 4)) == "8 calls (runs: 1) for 2 slots, 1.0 s to wait"
