"""What is run live, and what the simulator says of the same. Pure."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from benchmarks.paper.compressed import Compressed
from nalar.cluster.loading import make_policy, parameters_of
from nalar.cluster.policy import Policy
from nalar.sim.control import Cadence
from nalar.sim.invocation import Invocation
from nalar.sim.metrics import Figures
from nalar.sim.placing import Lanes, Placement
from nalar.sim.simulate import Strategy, simulate
from nalar.sim.strategies import chosen, level
from nalar.sim.workload import AgentModel

#: Between two decisions of the controller, and two reports of a worker, in seconds of the clock.
PERIOD_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Plan:
    """One run; each process is told, and draws the same from it."""

    workload: str
    strategy: str
    rate: float
    requests: int
    scale: float
    seed: int

    @classmethod
    def of(cls, words: Sequence[str]) -> "Plan":
        """Return the plan that a child was started with."""
        workload, strategy, rate, requests, scale, seed = words
        return cls(workload, strategy, float(rate), int(requests), float(scale), int(seed))

    @property
    def words(self) -> list[str]:
        """What `of` reads."""
        return [str(it) for it in dataclasses.astuple(self)]

    def drawn(self) -> Compressed:
        """Return the workload."""
        return Compressed(self.workload, self.rate, self.requests, self.scale, self.seed)

    @property
    def named(self) -> Strategy:
        """The strategy as the simulator has it, at full length."""
        return chosen([self.strategy])[0]

    @property
    def placement(self) -> Placement | None:
        """What gives a call to a worker when it is made; None: workers ask for calls."""
        chance = Random(f"placement {self.seed}")  # noqa: S311 -- which worker, not secrets
        placement = self.named.placement(chance)
        return None if isinstance(placement, Lanes) else placement

    @property
    def priorities(self) -> bool:
        """Whether calls have the priorities that programs give them."""
        return self.named.priorities and not self.ranks

    @property
    def ranks(self) -> bool:
        """Whether calls have the priority that the service of their requests gives them."""
        return self.named.rank is not None

    def level(self, attained_s: float) -> int:
        """Return the priority that so much service gives, in seconds of the clock."""
        return level(attained_s * self.scale)

    @property
    def policies(self) -> list[str]:
        """What the controller runs, made faster, as `nalar controller --policy` takes it."""
        return [_told(it, self.scale) for it in self.named.policies(self.drawn().agents())]

    def predict(self) -> Figures:
        """Return what the simulator comes to, in seconds of the clock."""
        strategy = replace(
            self.named, policies=self._faster, rank=self._rank if self.ranks else None
        )
        cadence = Cadence(PERIOD_S, PERIOD_S)
        return simulate(self.drawn(), strategy, seed=self.seed, cadence=cadence)

    def _faster(self, _: Sequence[AgentModel]) -> list[Policy]:
        return [make_policy(it) for it in self.policies]

    def _rank(self, invocation: Invocation) -> int:
        request = invocation.request
        return 0 if request is None else self.level(request.attained_s)


def _told(policy: Policy, scale: float) -> str:
    """Return a policy by its name and what differs from the default; what takes time takes less."""
    given = {name: str(getattr(policy, name)) for name in parameters_of(type(policy))}
    given |= {
        name: f"{float(text) / scale:g}" for name, text in given.items() if name.endswith("_s")
    }
    return ",".join([policy.name, *(f"{name}={text}" for name, text in given.items())])
