"""Views of a cluster for tests of policies, built from reports as live ones are."""

from collections.abc import Mapping

from nalar.cluster.view import ClusterView
from nalar.ids import AgentName, RootId, SessionId, WorkerId
from nalar.reports import AgentLoad, Report, RequestLoad, SessionLoad

AGENT = AgentName("Analyst")


def cluster(*reports: Report, now_s: float = 100.0) -> ClusterView:
    """Return the view after these reports."""
    view = ClusterView()
    view.now_s = now_s
    for report in reports:
        assert view.take(report)
    return view


def worker(  # noqa: PLR0913 -- each by its name
    name: str,
    *,
    running: int = 0,
    concurrency: int = 2,
    loads: Mapping[AgentName, AgentLoad] | None = None,
    sessions: Mapping[str, SessionLoad] | None = None,
    requests: Mapping[str, RequestLoad] | None = None,
    number: int = 1,
) -> Report:
    """Return a worker's full report; it serves one agent unless `loads` says otherwise."""
    held = sessions or {}
    queued = sum(load.queued for load in held.values())
    alone = {AGENT: AgentLoad(queued=queued, running=running, service_s=1.0)}
    return Report(
        WorkerId(name), number, float(number), full=True, concurrency=concurrency,
        running=running, applied=0,
        agents=dict(loads or alone),
        sessions={AGENT: {SessionId(key): load for key, load in held.items()}} if held else {},
        requests={RootId(root): load for root, load in (requests or {}).items()},
    )  # fmt: skip
