"""Policies as no one should write them, for the controller to contain; and one that is well."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from nalar.cluster.policy import Suggestion
from nalar.cluster.view import ClusterView
from nalar.directives import Limit, Provision, SetPriority, Shed
from nalar.ids import AgentName


@dataclass(slots=True)
class Well:
    """Takes a tenant first."""

    name: ClassVar[str] = "well"
    tenant: str = "acme"
    value: int = 1

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        del view
        yield SetPriority("tenant", self.tenant, self.value)


@dataclass(slots=True)
class HoldsUp:
    """Sheds, once."""

    name: ClassVar[str] = "holds up"
    agent: str = "desk"
    done: bool = field(default=False, init=False)

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        del view
        if not self.done:
            self.done = True
            yield Shed(AgentName(self.agent), 1, 30.0)


@dataclass(slots=True)
class Raises:
    """Raises, after having suggested something."""

    name: ClassVar[str] = "raises"

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        yield SetPriority("tenant", "raised", 1)
        raise KeyError(sorted(view.workers))


@dataclass(slots=True)
class Loops:
    """Does not come back."""

    name: ClassVar[str] = "loops"

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        while True:
            view.agents()


@dataclass(slots=True)
class Blocks:
    """Does not come back, and cannot be interrupted meanwhile."""

    name: ClassVar[str] = "blocks"

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        del view
        time.sleep(3.0)
        return ()


@dataclass(slots=True)
class Floods:
    """Suggests without end."""

    name: ClassVar[str] = "floods"

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        del view
        number = 0
        while True:
            number += 1
            yield SetPriority("session", f"s{number}", 1)


@dataclass(slots=True)
class Dribbles:
    """Suggests as much as it may, and other things each time."""

    name: ClassVar[str] = "dribbles"
    often: int = 3_000
    _told: int = 0

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        del view
        first, self._told = self._told, self._told + self.often
        return [SetPriority("tenant", f"t{number}", 1) for number in range(first, self._told)]


@dataclass(slots=True)
class Counts:
    """Directs something else each time, and does no harm."""

    name: ClassVar[str] = "counts"
    _turn: int = 0

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        del view
        self._turn += 1
        yield SetPriority("tenant", "counted", self._turn)


@dataclass(slots=True)
class Wanders:
    """Names agents that nobody serves."""

    name: ClassVar[str] = "wanders"

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        del view
        yield Provision(AgentName("Nobody"), 3)


@dataclass(slots=True)
class Swings:
    """Changes its mind each time."""

    name: ClassVar[str] = "swings"
    _turn: int = 0

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        del view
        self._turn += 1
        yield Limit("tenant", "acme", 1 + self._turn % 2)
