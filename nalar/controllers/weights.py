"""How much of an agent's calls each worker is to get, as directed. Pure."""

from collections.abc import Mapping

from nalar.directives import SetWeights
from nalar.ids import AgentName


class Weights:
    """The weights that stand, by agent."""

    def __init__(self) -> None:
        self._standing: dict[AgentName, Mapping[str, float]] = {}

    def obey(self, directive: SetWeights, *, withdrawn: bool) -> None:
        """Heed an agent's weights from now on, or no longer."""
        if withdrawn:
            self._standing.pop(directive.agent, None)
        else:
            self._standing[directive.agent] = dict(directive.weights)

    def of(self, agent: AgentName) -> Mapping[str, float]:
        """Return the weights of an agent's workers; those that are not named have 1."""
        return self._standing.get(agent, {})

    def share(self, agent: AgentName, worker: str) -> float:
        """Return a worker's weight beside the heaviest there may be: from 0 to 1."""
        weights = self.of(agent)
        return weights.get(worker, 1.0) / max((1.0, *weights.values()))
