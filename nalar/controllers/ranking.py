"""Which of the calls that could start comes first: by directives, then by priority. Pure."""

from dataclasses import dataclass
from typing import Final

from nalar.directives import Order, PriorityScope, QueueOrder, SetPriority
from nalar.ids import AgentName

#: Where a call stands in a queue: the smaller goes first.
Rank = tuple[float, float, int]

_SCOPES: Final[tuple[PriorityScope, ...]] = ("request", "session", "tenant")


@dataclass(frozen=True, slots=True)
class Traits:
    """What directives can tell calls apart by."""

    agent: AgentName | None = None
    session: str = ""
    root: str = ""
    tenant: str = ""
    #: Callers above it; a request's own call has none.
    depth: int = 0
    #: When its request was made, as far as is known, Unix time.
    request_at: float = 0.0
    method: str = ""


NO_TRAITS: Final = Traits()


class Ranking:
    """The standing directives on priority and order."""

    def __init__(self) -> None:
        #: By scope, name, and agent where it holds for one alone.
        self._priorities: dict[tuple[PriorityScope, str, AgentName | None], int] = {}
        self._orders: dict[AgentName, QueueOrder] = {}

    def set_priority(self, directive: SetPriority, *, withdrawn: bool = False) -> None:
        """Obey a directive, or no longer."""
        key = (directive.scope, directive.name, directive.agent)
        if withdrawn:
            self._priorities.pop(key, None)
        else:
            self._priorities[key] = directive.value

    def set_order(self, directive: Order, *, withdrawn: bool = False) -> None:
        """Obey a directive, or no longer."""
        if withdrawn:
            self._orders.pop(directive.agent, None)
        else:
            self._orders[directive.agent] = directive.order

    def priority(self, traits: Traits, own: int) -> int:
        """Return what counts as the priority of a call that carries `own`.

        The narrower directive wins: request before session before tenant, one agent before all.
        """
        if self._priorities:
            names = (traits.root, traits.session, traits.tenant)
            for scope, name in zip(_SCOPES, names, strict=True):
                for agent in (traits.agent, None):
                    value = self._priorities.get((scope, name, agent))
                    if value is not None:
                        return value
        return own

    def rank(self, traits: Traits, own: int, deadline: float, order: int) -> Rank:
        """Return the rank of a call that came as number `order`."""
        by = "arrival" if traits.agent is None else self._orders.get(traits.agent, "arrival")
        key = 0.0
        if by == "deadline":
            key = deadline
        elif by == "request_age":
            key = traits.request_at
        elif by == "depth":
            key = -float(traits.depth)
        return (-float(self.priority(traits, own)), key, order)
