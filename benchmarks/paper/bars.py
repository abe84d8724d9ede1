"""Whether the bars are met, by how much, or by how much not. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.paper.cases import PEERS
from nalar.sim.metrics import Figures

#: P99 of the financial workload must be this much below that of pinned sessions.
TAIL_CUT = 0.74
#: Software engineering must be this many times faster than the worst.
SPEEDUP = 3.4
#: The paper counts the router as sustained while its mean is below this, in seconds.
SUSTAINED_S = 50.0

Runs = Mapping[str, Figures]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One bar."""

    what: str
    is_met: bool
    figures: str


def judge(workload: str, runs: Runs) -> list[Verdict]:
    """Return the bars of a workload whose peers, and ours, have all been run."""
    if "nalar" not in runs or not set(PEERS) <= runs.keys():
        return []
    return _JUDGES[workload](runs)


def _financial(runs: Runs) -> list[Verdict]:
    ours, pinned = runs["nalar"], runs["pinned"]
    cut = 1 - ours.p99_s / pinned.p99_s
    best = min(PEERS, key=lambda name: runs[name].p50_s)
    ratio = ours.p50_s / runs[best].p50_s
    return [
        Verdict(
            f"P99 at least {TAIL_CUT:.0%} below pinned",
            cut >= TAIL_CUT,
            f"{cut:.1%}: {ours.p99_s:.1f} s against {pinned.p99_s:.1f} s",
        ),
        Verdict(
            "median no worse than any baseline's",
            ratio <= 1.0,
            f"{ratio:.3f} of the best, {best}: {ours.p50_s:.1f} s against {runs[best].p50_s:.1f} s",
        ),
    ]


def _router(runs: Runs) -> list[Verdict]:
    sustained = {name: runs[name].mean_s < SUSTAINED_S for name in ("nalar", *PEERS)}
    means = ", ".join(f"{name} {runs[name].mean_s:.1f} s" for name in sustained)
    return [
        Verdict(
            f"mean below {SUSTAINED_S:.0f} s, where every static split's is above",
            sustained["nalar"] and not any(sustained[name] for name in PEERS),
            means,
        )
    ]


def _software(runs: Runs) -> list[Verdict]:
    ours = runs["nalar"].mean_s
    worst = max(PEERS, key=lambda name: runs[name].mean_s)
    best = min(PEERS, key=lambda name: runs[name].mean_s)
    over_worst, over_best = runs[worst].mean_s / ours, runs[best].mean_s / ours
    return [
        Verdict(
            f"at least {SPEEDUP} times faster than the worst in the mean",
            over_worst >= SPEEDUP,
            f"{over_worst:.2f} times, {worst}",
        ),
        Verdict(
            "better than every baseline in the mean",
            over_best > 1.0,
            f"{over_best:.2f} times the best, {best}",
        ),
    ]


_JUDGES: dict[str, Callable[[Runs], list[Verdict]]] = {
    "financial": _financial,
    "router": _router,
    "software": _software,
}
