"""Directives that stand in a simulated cluster, and which workers have been told of each. Pure.

Live, every worker hears of every directive. Here one about a single request is told to the workers
that have calls of it, and to others before they get one: the same effect, at a cost that does not
grow with the cluster.
"""

from dataclasses import dataclass, field

from nalar.controllers.local_events import Directed
from nalar.directives import Directive, Limit, SetPriority, key_of


def is_narrow(directive: Directive) -> bool:
    """Say whether a directive is about one request, and need not be told to everybody."""
    return isinstance(directive, SetPriority) and directive.scope == "request"


@dataclass(slots=True)
class Standing:
    """What stands: directives to all, by key, and those about single requests, by request."""

    _broad: dict[str, Directive] = field(default_factory=dict[str, Directive])
    _narrow: dict[str, dict[str, Directive]] = field(
        default_factory=dict[str, dict[str, Directive]]
    )
    #: Workers that have been told what stands about a request.
    _told: dict[str, set[str]] = field(default_factory=dict[str, set[str]])

    def put(self, directive: Directive) -> None:
        """Let a directive stand."""
        if isinstance(directive, SetPriority) and is_narrow(directive):
            self._narrow.setdefault(directive.name, {})[key_of(directive)] = directive
            self._told[directive.name] = set()
        else:
            self._broad[key_of(directive)] = directive

    def withdraw(self, directive: Directive) -> None:
        """Let it stand no longer."""
        if isinstance(directive, SetPriority) and is_narrow(directive):
            known = self._narrow.get(directive.name, {})
            known.pop(key_of(directive), None)
            if not known:
                self.forget(directive.name)
        else:
            self._broad.pop(key_of(directive), None)

    @property
    def has_rates(self) -> bool:
        """Whether anything stands that time lets go on."""
        return any(
            isinstance(it, Limit) and (it.requests_per_min, it.tokens_per_min) != (None, None)
            for it in self._broad.values()
        )

    def joining(self) -> list[Directed]:
        """Return what a worker that joins must be told."""
        return [Directed(directive) for directive in self._broad.values()]

    def arriving(self, worker: str, root: str) -> list[Directed]:
        """Return what a worker must be told before it gets a call of a request."""
        told = self._told.get(root)
        if told is None or worker in told:
            return []
        told.add(worker)
        return [Directed(directive) for directive in self._narrow[root].values()]

    def forget(self, root: str) -> list[Directed]:
        """A request has ended: return what workers need not heed any more."""
        self._told.pop(root, None)
        gone = self._narrow.pop(root, {})
        return [Directed(directive, withdrawn=True) for directive in gone.values()]
