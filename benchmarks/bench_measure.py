"""What the figures mean: quantiles, medians over rounds, ratios to the floor, bars. Pure."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

#: Ours may take this many times the floor's p50.
LATENCY_BAR = 2.0
#: Ours must reach this share of the floor's throughput.
THROUGHPUT_BAR = 0.5
#: Sleeping calls must reach this share of what concurrency and sleep allow.
IDEAL_BAR = 0.95

Better = Literal["lower", "higher"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One side's figures, of one round or the medians over several."""

    calls: int
    per_s: float
    p50_ms: float
    p99_ms: float


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the `ordered` values lie; nearest rank."""
    if not ordered:
        raise ValueError("there is no quantile of nothing")
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"a quantile is between 0 and 1, not {share}")
    # Rounded first: 0.07 * 100 is a hair more than 7, and would be rank 8.
    rank = -int(-round(share * len(ordered), 9) // 1)
    return ordered[max(0, rank - 1)]


def summarise(latencies_s: Sequence[float], *, completed: int, seconds: float) -> Sample:
    """Return one round's figures: latencies of its calls, and how many ended in `seconds`."""
    ordered = sorted(latencies_s)
    return Sample(
        calls=completed,
        per_s=completed / seconds,
        p50_ms=quantile(ordered, 0.50) * 1000,
        p99_ms=quantile(ordered, 0.99) * 1000,
    )


def median_of(rounds: Sequence[Sample]) -> Sample:
    """Return the median of each figure over `rounds`, and the sum of their calls."""
    return Sample(
        calls=sum(one.calls for one in rounds),
        per_s=statistics.median(one.per_s for one in rounds),
        p50_ms=statistics.median(one.p50_ms for one in rounds),
        p99_ms=statistics.median(one.p99_ms for one in rounds),
    )


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report: ours against a reference, and the bar it is held to, if any."""

    name: str
    unit: str
    ours: float
    #: The floor's figure, or the ideal.
    reference: float
    better: Better
    bar: float | None = None
    #: The same ratio of each round: how far machine and chance move it.
    ratios: tuple[float, ...] = ()

    @property
    def ratio(self) -> float:
        """Ours over the reference."""
        return ratio(self.ours, self.reference)

    @property
    def passed(self) -> bool | None:
        """Whether the bar is met; None where there is none."""
        if self.bar is None:
            return None
        return self.ratio <= self.bar if self.better == "lower" else self.ratio >= self.bar


def ratio(ours: float, reference: float) -> float:
    """Return ours over the reference; a reference of nothing is an error."""
    if reference <= 0:
        raise ValueError(f"the reference must be above zero, not {reference}")
    return ours / reference


def latency_figures(name: str, ours: Sequence[Sample], floor: Sequence[Sample]) -> list[Figure]:
    """Return p50, held to its bar, and p99, which is told without one."""
    our, base = median_of(ours), median_of(floor)
    by_round = tuple(ratio(a.p50_ms, b.p50_ms) for a, b in zip(ours, floor, strict=True))
    return [
        Figure(f"{name} p50", "ms", our.p50_ms, base.p50_ms, "lower", LATENCY_BAR, by_round),
        Figure(f"{name} p99", "ms", our.p99_ms, base.p99_ms, "lower"),
    ]


def throughput_figure(
    name: str, ours: Sequence[Sample], floor: Sequence[Sample], *, calls_each: int = 1
) -> Figure:
    """Return calls per second, where each request counts for `calls_each`."""
    our, base = median_of(ours), median_of(floor)
    by_round = tuple(ratio(a.per_s, b.per_s) for a, b in zip(ours, floor, strict=True))
    return Figure(
        name, "/s", our.per_s * calls_each, base.per_s * calls_each,
        "higher", THROUGHPUT_BAR, by_round,
    )  # fmt: skip


def ideal_figure(name: str, ours: Sequence[Sample], *, concurrency: int, sleep_s: float) -> Figure:
    """Return calls per second of calls that sleep, against what no overhead would give."""
    ideal = concurrency / sleep_s
    by_round = tuple(ratio(one.per_s, ideal) for one in ours)
    return Figure(name, "/s", median_of(ours).per_s, ideal, "higher", IDEAL_BAR, by_round)
