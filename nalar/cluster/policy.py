"""What a policy is: a pure function from what the cluster looks like to what should be done."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from nalar.cluster.view import ClusterView
from nalar.directives import Directive
from nalar.ids import AgentName, SessionId, WorkerId


@dataclass(frozen=True, slots=True)
class Migrate:
    """Serve a session in a worker, whichever of its slots: becomes a `directives.Route`."""

    agent: AgentName
    session: SessionId
    to: WorkerId


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take back the directive that stands under the same key as this one."""

    directive: Directive


@dataclass(frozen=True, slots=True)
class Together:
    """All of these directives or none: half of an exchange would be a loss."""

    directives: tuple[Directive, ...]


#: What may be asked for by itself.
Single = Directive | Migrate | Withdraw
#: What policies ask for.
Suggestion = Single | Together


@runtime_checkable
class Policy(Protocol):
    """Decides. A dataclass whose fields are its parameters, with defaults.

    `decide` may keep what it has learnt on itself, but asks no clock and does nothing: time is
    `view.now_s`. What it repeats costs nothing: only what differs from what stands is published.
    """

    #: What it is called on the command line.
    name: ClassVar[str]

    def decide(self, view: ClusterView) -> Iterable[Suggestion]:
        """Return what should be done now."""
        ...
