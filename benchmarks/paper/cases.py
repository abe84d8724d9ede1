"""What is run: three workloads at the scale of the paper, by ours, ours in parts, and peers."""

from dataclasses import dataclass
from typing import Final

from nalar.sim.strategies import STRATEGIES

#: The paper's emulation has 128 agents and 131,072 futures; ours goes on to a million.
AGENTS: Final = 128
FUTURES: Final = 131_072
MILLION: Final = 1_000_000
QUICK: Final = 3_000


@dataclass(frozen=True, slots=True)
class Case:
    """One workload at one rate."""

    workload: str
    #: Requests a second: for the first two the highest of the paper.
    rate: float
    #: Ablations that say something here.
    ablations: tuple[str, ...]
    #: What is compared in the bar: the figure of the baseline is divided by ours.
    figure: str

    @property
    def strategies(self) -> tuple[str, ...]:
        return (*STRATEGIES, *self.ablations)


CASES: Final = (
    Case("financial", 8.0, ("no_migration", "no_priority", "with_srtf"), "p99_s"),
    Case("router", 80.0, ("no_reassignment",), "mean_s"),
    Case("software", 3.4, ("no_reassignment", "no_priority", "with_srtf"), "mean_s"),
)
PEERS: Final = tuple(name for name in STRATEGIES if name != "nalar")
