"""Batches in a simulation: calls that were started together meet, and end together. Pure.

When they start, and how many, their worker's local controller decides as a live one does.
"""

from dataclasses import dataclass

from nalar.errors import UsageError
from nalar.sim.invocation import Invocation
from nalar.sim.workload import Work


@dataclass(slots=True, eq=False)
class Gathered:
    """The calls of one batch; it takes as long as the longest of them would by itself."""

    calls: list[Invocation]
    #: Calls that have come: their sessions' state is there.
    came: int = 0

    def join(self) -> float | None:
        """One more of the calls has come; return how long the run takes if that was the last."""
        self.came += 1
        return max(map(_takes_s, self.calls)) if self.came == len(self.calls) else None


def _takes_s(call: Invocation) -> float:
    """Return how long a call would take by itself."""
    seconds = 0.0
    for step in call.program:
        if not isinstance(step, Work):
            name = call.agent.name if call.agent is not None else "a driver"
            raise UsageError(
                f"{name} gathers calls, so that they do nothing but Work: a batch belongs to none "
                "of its calls, and neither calls, waits nor generates"
            )
        seconds += step.seconds
    return seconds
