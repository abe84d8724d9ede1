"""What no policy may go beyond. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, cast, get_args

from nalar.cluster.policy import Migrate, Single, Suggestion, Together, Withdraw
from nalar.cluster.view import ClusterView
from nalar.directives import (
    Directive,
    Drain,
    Kill,
    Limit,
    Order,
    Provision,
    Route,
    SetPriority,
    SetWeights,
    flaw,
    key_of,
)
from nalar.ids import AgentName, SessionId

#: Directives that are given all or none.
TOGETHER_MAX: Final = 100
_KINDS: Final = (*get_args(Directive), Migrate)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds, the same for all policies."""

    workers_min: int = 0
    workers_max: int = 1_000
    #: Agents that say themselves how many workers they need at least, and may have at most.
    agents: Mapping[AgentName, tuple[int, int]] = field(
        default_factory=dict[AgentName, tuple[int, int]]
    )
    priority_min: int = -1_000
    priority_max: int = 1_000
    #: Sessions moved in a second, at the most; after a quiet second, that many at once.
    migrations_per_s: float = 100.0
    #: Of all workers, the share that may be drained or killed within `ends_s` seconds; at
    #: least one may.
    ends_share: float = 0.1
    ends_s: float = 10.0
    #: How long a directive stays as it is before it may change, in seconds; twice as long each
    #: time it returns to what it was.
    rest_s: float = 5.0
    #: The same for priorities and orders, which cost nothing to follow.
    rank_rest_s: float = 1.0
    #: Suggestions of one policy in one decision.
    suggestions_max: int = 10_000
    #: Directives that change in one decision, of all policies: so many are published well within
    #: a leader's lease, and within a period where the server does not sync each.
    changes_max: int = 1_000
    #: Directives of one policy that stand until they are withdrawn: every process of the cluster
    #: hears of each, keeps them, and lists them all now and then.
    standing_max: int = 10_000

    def rest_of(self, directive: Directive) -> float:
        """Return for how long a directive is to stay as it is, in seconds."""
        return self.rank_rest_s if isinstance(directive, SetPriority | Order) else self.rest_s

    def within(self, directive: Directive) -> Directive:
        """Return the directive with its numbers brought within the bounds."""
        match directive:
            case Provision(agent, workers):
                least, most = self.agents.get(agent, (self.workers_min, self.workers_max))
                least = max(least, self.workers_min)
                most = max(least, min(most, self.workers_max))
                within = max(least, min(most, workers))
                return directive if within == workers else replace(directive, workers=within)
            case SetPriority(value=value):
                within = max(self.priority_min, min(self.priority_max, value))
                return directive if within == value else replace(directive, value=within)
            case _:
                return directive


def misuse(view: ClusterView, suggestion: Suggestion) -> str:
    """Return what makes a suggestion a mistake of its policy; empty when nothing does.

    No race explains it: a value that no directive may have, an agent that nobody has ever served.
    """
    if isinstance(suggestion, Together):
        return _misuse_of_several(view, suggestion)
    if isinstance(suggestion, Withdraw) and not isinstance(
        cast("object", suggestion.directive), get_args(Directive)
    ):
        return f"{suggestion.directive!r:.100} is no directive, and cannot be withdrawn"
    directive = suggestion.directive if isinstance(suggestion, Withdraw) else suggestion
    if not isinstance(directive, _KINDS):
        return f"{suggestion!r:.100} is no suggestion"
    if isinstance(directive, Migrate):
        wrong = flaw(Route(directive.agent, directive.session, 0))
    else:
        wrong = flaw(directive)
    if wrong:
        return f"{type(directive).__name__} cannot have {wrong}"
    agent = _agent(directive)
    if agent is not None and agent not in view.backlog and not view.serving(agent):
        return f"there is no agent {agent}"
    return ""


def _misuse_of_several(view: ClusterView, together: Together) -> str:
    told = cast("object", together.directives)
    parts = together.directives if isinstance(told, tuple) else ()
    if not 0 < len(parts) <= TOGETHER_MAX:
        return f"{together!r:.100} is not 1 to {TOGETHER_MAX} directives"
    if strange := next((it for it in parts if not isinstance(it, get_args(Directive))), None):
        return f"{strange!r:.100} is no directive, and cannot be given with others"
    if wrong := next(filter(None, (misuse(view, it) for it in parts)), ""):
        return wrong
    if alone := next((it for it in parts if isinstance(it, Drain | Kill | Route)), None):
        return f"{alone!r:.100} is given by itself"
    keys = [key_of(it) for it in parts]
    twice = next((key for key in keys if keys.count(key) > 1), "")
    return f"{twice} is directed twice at once" if twice else ""


def absence(view: ClusterView, suggestion: Single) -> str:
    """Return which worker or request is not there, or cannot serve; empty when all is well."""
    match suggestion:
        case Drain(worker) | Kill(worker):
            return "" if worker in view.workers else f"there is no worker {worker}"
        case SetWeights(_, weights):
            gone = next((worker for worker in weights if worker not in view.workers), None)
            return "" if gone is None else f"there is no worker {gone}"
        case Migrate(agent, _, to):
            if to not in view.workers:
                return f"there is no worker {to}"
            return "" if view.workers[to].slots.get(agent) else f"{to} owns no slot of {agent}"
        case SetPriority("request", root):
            # It goes when its request ends: nothing else bounds how many of these stand.
            return "" if root in view.requests else "no worker holds calls of the request"
        case _:
            return ""


def is_known(view: ClusterView, directive: Directive) -> bool:
    """Say whether what a directive is about is there, as far as the view can tell."""
    match directive:
        case SetPriority("session", session, _, agent):
            agents = view.agents() if agent is None else [agent]
            return any((it, SessionId(session)) in view.sessions for it in agents)
        case SetPriority("tenant", tenant) | Limit("tenant", tenant):
            return tenant in view.tenants
        case Limit("model"):
            return False
        case _:
            return True


def _agent(directive: Directive | Migrate) -> AgentName | None:
    if isinstance(directive, Limit):
        return AgentName(directive.name) if directive.scope == "agent" else None
    return None if isinstance(directive, Drain | Kill) else directive.agent
