"""One simulation from beginning to end: a workload under a strategy gives figures."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from nalar.cluster.policy import Policy
from nalar.sim.control import Cadence, Control
from nalar.sim.engine import Timeline
from nalar.sim.fabric import Fabric
from nalar.sim.invocation import Invocation
from nalar.sim.metrics import Figures
from nalar.sim.placing import Placement
from nalar.sim.supervising import Supervising
from nalar.sim.workload import AgentModel, Workload
from nalar.sim.world import Costs, World

#: Events between two reports of progress.
_EVENTS_BETWEEN = 20_000


@dataclass(frozen=True, slots=True)
class Strategy:
    """How calls find their workers, and what steers them meanwhile."""

    name: str
    about: str
    #: Makes what places calls; chance comes from the seed.
    placement: Callable[[Random], Placement]
    #: Makes the policies for these agents, in the order in which they are asked.
    policies: Callable[[Sequence[AgentModel]], list[Policy]] = field(default=lambda _: [])
    #: The priority of a call that arrives; None: what it carries.
    rank: Callable[[Invocation], int] | None = None
    #: Whether calls have the priorities that programs give them.
    priorities: bool = True


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a simulation has come."""

    virtual_s: float
    futures: int
    requests: int


def simulate(  # noqa: PLR0913 -- each by its name
    workload: Workload,
    strategy: Strategy,
    *,
    seed: int = 1,
    futures_max: int = 0,
    until_s: float = float("inf"),
    costs: Costs | None = None,
    cadence: Cadence | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Figures:
    """Run a workload and return what it comes to; the same for the same arguments.

    Ends when the workload has, or about `futures_max` futures were made, and all requests begun
    have ended; or at `until_s`, whatever is still open.
    """
    timeline = Timeline()
    world = World(
        timeline,
        Fabric.of(workload.agents()),
        strategy.placement(Random(f"placement {seed}")),
        costs or Costs(),
        futures_max=futures_max,
        flat=not strategy.priorities,
    )
    if strategy.rank is not None:
        world.rank = strategy.rank
    policies = strategy.policies(workload.agents())
    world.metered = bool(policies)
    supervising = Supervising(world)
    supervising.begin()
    control = Control(world, supervising, policies, cadence or Cadence())
    world.admit(workload.arrivals())
    control.begin()
    thresholds = gc.get_threshold()
    gc.set_threshold(200_000, 50, 50)  # Calls refer to their callers, not in circles.
    try:
        while timeline.run(until_s, _EVENTS_BETWEEN):
            if progress is not None:
                ended = len(world.metrics.latency_s)
                progress(Progress(timeline.now_s, world.metrics.futures, ended))
    finally:
        gc.set_threshold(*thresholds)
    return world.figures(strategy.name)
