"""Calls and requests as they run in a simulation. Records, no behaviour."""

from dataclasses import dataclass, field

from nalar.controllers.ranking import NO_TRAITS, Traits
from nalar.sim.workload import AgentModel, Program


@dataclass(slots=True, eq=False)
class Request:
    """A request: a call that a user made, and all below it."""

    root: str
    session: str
    tenant: str
    priority: int
    begun_s: float
    deadline_s: float
    #: Service that its calls have had so far, in seconds.
    attained_s: float = 0.0
    #: Time for which it waited for a human, or a timer, rather than for us.
    paused_s: float = 0.0
    futures: int = 0
    #: Workers that have had calls of it.
    workers: set[str] = field(default_factory=set[str])


@dataclass(slots=True, eq=False)
class Invocation:
    """A call from the moment it is made until it has ended; or a driver, which has no request."""

    key: str
    program: Program
    parent: "Invocation | None" = None
    agent: AgentModel | None = None
    request: Request | None = None
    session: str = ""
    priority: int = 0
    depth: int = 0
    made_s: float = 0.0
    arrived_s: float = 0.0
    started_s: float = 0.0
    #: When what it does now began.
    step_s: float = 0.0
    busy_s: float = 0.0
    #: Calls that it waits for.
    pending: int = 0
    #: Name of the worker that has it.
    worker: str = ""
    #: Slot of its session, when it came through one.
    slot: int = -1
    #: What directives and reports know it by, once a worker has it.
    traits: Traits = NO_TRAITS
    #: A worker gave it back: it may have been started, and shares no run with others.
    given_back: bool = False
    ended: bool = False
