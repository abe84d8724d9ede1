"""Policies that say which calls go first. Pure.

Those about requests look only at what has changed since the last decision, and only at requests
with calls that wait: where nobody waits, no order matters and nothing is published. Priorities
come in levels, each twice as far as the one before, so that few directives change.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import ClassVar, Final

from nalar.cluster.policies.ranges import Calls, Levels, Span
from nalar.cluster.policy import Suggestion
from nalar.cluster.view import ClusterView, RequestView
from nalar.directives import Order, SetPriority

#: Requests whose priority is told in one decision.
TOLD_MAX: Final = 2_000


@dataclass(slots=True)
class Srtf:
    """Shortest remaining time first: requests that have come further go first."""

    name: ClassVar[str] = "srtf"
    #: So many calls that have ended are the first level.
    step: Calls = 2.0

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        """Return the priorities of requests that wait."""
        for request in waiting(view):
            yield SetPriority("request", request.root, level(request.finished / self.step))


@dataclass(slots=True)
class Lpt:
    """Longest processing time first: requests that have had more service go first."""

    name: ClassVar[str] = "lpt"
    #: So much service is the first level, in seconds.
    quantum_s: Span = 1.0

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        """Return the priorities of requests that wait."""
        for request in waiting(view):
            yield SetPriority("request", request.root, level(request.busy_s / self.quantum_s))


@dataclass(slots=True)
class LeastAttained:
    """Least attained service first: requests that have had less service go first."""

    name: ClassVar[str] = "least_attained"
    #: So much service is the first level, in seconds.
    quantum_s: Span = 1.0

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        """Return the priorities of requests that wait."""
        for request in waiting(view):
            yield SetPriority("request", request.root, -level(request.busy_s / self.quantum_s))


@dataclass(slots=True)
class EarliestDeadline:
    """Earliest deadline first: workers start the call first that has to be ready first."""

    name: ClassVar[str] = "earliest_deadline"

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        """Return an order for each agent: workers keep to it by themselves."""
        for agent in view.agents():
            yield Order(agent, "deadline")


@dataclass(slots=True)
class FairShare:
    """Fair share by tenant: who has had less service of late than others goes first."""

    name: ClassVar[str] = "fair_share"
    #: What was had so long ago counts half, in seconds.
    half_life_s: Span = 60.0
    levels: Levels = 5
    #: What each has had: counted less by age, and in all.
    _had: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])
    _at_s: float = 0.0

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        """Return the tenants' priorities."""
        fade = 0.5 ** ((view.now_s - self._at_s) / self.half_life_s)
        self._at_s, before = view.now_s, self._had
        self._had = {}
        for name, tenant in view.tenants.items():
            late_s, all_s = before.get(name, (0.0, tenant.busy_s))
            self._had[name] = (late_s * fade + tenant.busy_s - all_s, tenant.busy_s)
        active = [name for name, tenant in view.tenants.items() if name and tenant.parts]
        mean_s = sum(self._had[name][0] for name in active) / max(1, len(active))
        for name in active if mean_s > 0 else ():
            steps = round(math.log2(mean_s / max(self._had[name][0], 1e-9)))
            yield SetPriority("tenant", name, max(-self.levels, min(self.levels, steps)))


def waiting(view: ClusterView) -> Iterator[RequestView]:
    """Yield requests that have changed and of which calls wait, the oldest first.

    Not all at once: what is left over is told when it changes again.
    """
    changed = (view.requests.get(root) for root in sorted(view.changed_requests))
    yield from islice((it for it in changed if it is not None and it.queued), TOLD_MAX)


def level(share: float) -> int:
    """Return 0 below 1, 1 below 3, 2 below 7, and so on."""
    return int(math.log2(1 + share))
