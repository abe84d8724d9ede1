"""Why a directive is given, in a few words, from what the view shows. Pure."""

import math

from nalar.cluster.policy import Migrate, Single, Withdraw
from nalar.cluster.view import ClusterView
from nalar.directives import Provision, Route, SetPriority, Shed
from nalar.ids import AgentName, RootId, SessionId


def reason_of(view: ClusterView, suggestion: Single) -> str:
    """Return what speaks for a suggestion; empty for what speaks for itself."""
    match suggestion:
        case Migrate(agent, session, _) | Route(agent, session, _):
            return _waits(view, agent, session)
        case Provision(agent) | Shed(agent):
            load = view.load(agent)
            calls = load.running + load.queued + view.backlog.get(agent, 0)
            runs, wait_s = math.ceil(view.demand(agent)), view.ahead_s(agent)
            gathered = f" (runs: {runs})" if runs < calls else ""
            return f"{calls} calls{gathered} for {view.slots(agent)} slots, {wait_s:.1f} s to wait"
        case SetPriority("request", root) if RootId(root) in view.requests:
            request = view.requests[RootId(root)]
            return f"{request.finished} calls and {request.busy_s:.1f} s of service done"
        case SetPriority("tenant", name) if name in view.tenants:
            return f"{view.tenants[name].busy_s:.1f} s of service in all"
        case _:
            return "no longer asked for" if isinstance(suggestion, Withdraw) else ""


def _waits(view: ClusterView, agent: AgentName, session: str) -> str:
    waiting = view.waiting.get((agent, SessionId(session)))
    if waiting is None:
        return ""
    since_s = view.now_s - waiting.load.oldest_at
    worker = view.workers.get(waiting.worker)
    busy = f", {worker.running} of {worker.concurrency} slots busy" if worker else ""
    return f"waits {since_s:.1f} s in {waiting.worker}{busy}"
