"""What a simulation measures, and the figures that come of it. Pure."""

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from nalar.sim.invocation import Request


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the ordered values lie; NaN when there are none."""
    if not ordered:
        return math.nan
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


def jain(shares: Iterable[float]) -> float:
    """Return Jain's index of fairness: 1 when all have the same, 1/n when one has all."""
    values = list(shares)
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


@dataclass(slots=True)
class Figures:
    """What one run comes to. Times in seconds."""

    strategy: str
    requests: int
    futures: int
    p50_s: float
    p95_s: float
    p99_s: float
    mean_s: float
    #: Requests a second that ended within their deadline; those without one count as soon as ended.
    goodput: float
    #: Share of the requests begun that ended within their deadline.
    in_time: float
    #: Jain's index over tenants, of the mean of latency.
    fairness: float
    #: Share of all slot time in which code ran.
    utilisation: float
    #: Sessions moved, and calls that had to fetch state from elsewhere.
    migrations: int
    transfers: int
    #: Share of the tokens of prompts that a prefix cache spared.
    cached: float
    #: Mean latency of the last quarter of requests against the second: above 1, a queue grows.
    growth: float
    #: Requests refused.
    shed: int
    #: Requests not ended when the simulation was.
    unfinished: int
    virtual_s: float
    #: Latency of the fastest request, of the slowest, and at each percentile between.
    curve_s: tuple[float, ...]


@dataclass(slots=True)
class Metrics:
    """Told of each request as it ends."""

    begun: int = 0
    futures: int = 0
    migrations: int = 0
    transfers: int = 0
    shed: int = 0
    in_time: int = 0
    #: When the last answer was there.
    last_s: float = 0.0
    begun_s: "array[float]" = field(default_factory=lambda: array("d"))
    latency_s: "array[float]" = field(default_factory=lambda: array("d"))
    tenants: dict[str, tuple[int, float]] = field(default_factory=dict[str, tuple[int, float]])

    def ended(self, request: Request, now_s: float) -> None:
        """A request's answer is there."""
        self.last_s = now_s
        latency_s = now_s - request.begun_s - request.paused_s
        self.begun_s.append(request.begun_s)
        self.latency_s.append(latency_s)
        self.in_time += request.begun_s + latency_s <= request.deadline_s
        count, total_s = self.tenants.get(request.tenant, (0, 0.0))
        self.tenants[request.tenant] = (count + 1, total_s + latency_s)

    def figures(
        self, strategy: str, *, virtual_s: float, utilisation: float, cached: float
    ) -> Figures:
        """Return what it comes to."""
        ordered = sorted(self.latency_s)
        ended = len(ordered)
        return Figures(
            strategy=strategy,
            requests=self.begun,
            futures=self.futures,
            p50_s=percentile(ordered, 0.50),
            p95_s=percentile(ordered, 0.95),
            p99_s=percentile(ordered, 0.99),
            mean_s=sum(ordered) / ended if ended else math.nan,
            goodput=self.in_time / virtual_s if virtual_s else 0.0,
            in_time=self.in_time / self.begun if self.begun else 0.0,
            fairness=jain(total / count for count, total in self.tenants.values()),
            utilisation=utilisation,
            migrations=self.migrations,
            transfers=self.transfers,
            cached=cached,
            growth=self._growth(),
            shed=self.shed,
            unfinished=self.begun - ended,
            virtual_s=virtual_s,
            curve_s=tuple(percentile(ordered, share / 100) for share in range(101))
            if ended
            else (),
        )

    def _growth(self) -> float:
        pairs = sorted(zip(self.begun_s, self.latency_s, strict=True))
        quarter = len(pairs) // 4
        if not quarter:
            return 1.0
        second = sum(latency for _, latency in pairs[quarter : 2 * quarter])
        last = sum(latency for _, latency in pairs[-quarter:])
        return last / second if second else 1.0
