"""A policy to try the simulator with until the shipped ones are there."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from nalar.cluster.policy import Migrate, Suggestion
from nalar.cluster.view import ClusterView, oldest_first


@dataclass(slots=True)
class Relief:
    """Move sessions that wait to workers that have slots free, the longest waiting first."""

    name: ClassVar[str] = "relief"

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        """Return what to move."""
        free = {name: worker.free - worker.queued for name, worker in view.workers.items()}
        for waiting in oldest_first(view.waiting.values()):
            best = max(view.serving(waiting.agent), key=lambda it: free[it.name])
            if free[best.name] <= 0:
                continue
            free[best.name] -= waiting.load.queued
            yield Migrate(waiting.agent, waiting.session, best.name)
