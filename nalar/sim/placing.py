"""Which worker gets a call, decided at the moment when it is made: our way, and the peers'."""

from random import Random
from typing import Protocol

from nalar.sim.fabric import Fabric
from nalar.sim.invocation import Invocation
from nalar.sim.worker import SimWorker


class Placement(Protocol):
    """Decides for each call as it is made."""

    def place(self, invocation: Invocation, fabric: Fabric) -> SimWorker | None:
        """Return the worker that gets the call for good; None: it waits where workers ask."""
        ...


class Lanes:
    """Ours: calls wait in lanes for whoever is free, those of sessions for their slot's owner."""

    def place(self, invocation: Invocation, fabric: Fabric) -> SimWorker | None:
        del invocation, fabric
        return None


class AtRandom:
    """Any worker, whatever it has to do and wherever the session was."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def place(self, invocation: Invocation, fabric: Fabric) -> SimWorker | None:
        return self._rng.choice(_serving(invocation, fabric))


class Pinned:
    """A session gets a worker of each agent in turn when it is first seen, and stays there."""

    def __init__(self) -> None:
        self._pins: dict[tuple[str, str], SimWorker] = {}
        self._next: dict[str, int] = {}

    def place(self, invocation: Invocation, fabric: Fabric) -> SimWorker | None:
        assert invocation.agent is not None
        key = (invocation.agent.host, invocation.session)
        worker = self._pins.get(key)
        if worker is None:
            workers = _serving(invocation, fabric)
            turn = self._next.get(key[0], 0)
            self._next[key[0]] = turn + 1
            worker = self._pins[key] = workers[turn % len(workers)]
        return worker


class Assigned:
    """The worker with the fewest calls at this moment, for good: a session's at its first call."""

    def __init__(self) -> None:
        self._pins: dict[tuple[str, str], SimWorker] = {}

    def place(self, invocation: Invocation, fabric: Fabric) -> SimWorker | None:
        agent = invocation.agent
        assert agent is not None
        if not agent.stateful:
            return least_busy(invocation, fabric)
        key = (agent.host, invocation.session)
        worker = self._pins.get(key)
        if worker is None:
            worker = self._pins[key] = least_busy(invocation, fabric)
        return worker


def least_busy(invocation: Invocation, fabric: Fabric) -> SimWorker:
    """Return the worker with the fewest calls per slot; of several, the first."""
    return min(_serving(invocation, fabric), key=lambda it: len(it.held) / it.concurrency)


def _serving(invocation: Invocation, fabric: Fabric) -> list[SimWorker]:
    assert invocation.agent is not None
    return fabric.serving[invocation.agent.name]
