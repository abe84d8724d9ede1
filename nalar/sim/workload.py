"""What is simulated: agents, and programs that call them. Pure.

A program is a Python generator that yields what it does next: `Work`, a `Prompt`, `Calls`, `Pause`,
or, in a driver that stands for a user, a `Turn`. It goes on when that is done.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from nalar.call_policy import Batch
from nalar.sim.llm import LlmModel, Prompt


@dataclass(frozen=True, slots=True)
class Work:
    """Run code for so long, in a slot of the worker."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for so long, and hold no slot: a human thinks, a timer runs."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Calls:
    """Make calls at the same time and go on when all have ended. A waiting call holds no slot."""

    calls: "tuple[Call, ...]"


@dataclass(frozen=True, slots=True)
class Turn:
    """A request: what a user asks, measured from here until its answer is there."""

    call: "Call"
    tenant: str = ""
    priority: int = 0
    #: Within this the answer is of use: what goodput counts.
    deadline_s: float | None = None


Step = Work | Pause | Calls | Turn | Prompt
Program = Generator[Step]


@dataclass(frozen=True, slots=True)
class Call:
    """One call. With no agent it is a branch of its caller: no future, no worker, no slot."""

    agent: str | None
    program: Program
    #: Empty: the caller's.
    session: str = ""
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class AgentModel:
    """An agent as the simulator sees it."""

    name: str
    #: Workers that serve it at the start.
    workers: int
    #: Calls at a time, in each worker.
    concurrency: int = 1
    #: Its sessions have state, or a prefix cache: their calls go to one worker.
    stateful: bool = False
    #: One call of a session at a time (state), or several (read-only, an LLM).
    exclusive: bool = True
    #: Its workers have an engine of this kind, each one of their own.
    llm: LlmModel | None = None
    #: Size of a session's state: what moving it costs.
    state_bytes: int = 0
    #: How long a worker of it takes to start: its process, or its model.
    start_s: float = 5.0
    #: Workers of agents in one group can take each other's place.
    group: str = ""
    #: Served by the workers of this agent, on their slots and engines, and not by any of its own.
    beside: str = ""
    #: Calls that a worker prefetches, as a multiple of its concurrency: none where calls are long.
    prefetch: float = 1.0
    #: Its calls, which do nothing but `Work` then, share runs.
    batch: Batch | None = None

    @property
    def host(self) -> str:
        """The agent whose workers serve this one."""
        return self.beside or self.name


@dataclass(frozen=True, slots=True)
class Arrival:
    """A user comes."""

    at_s: float
    driver: Program


class Workload(Protocol):
    """A workload: the agents, and who comes when. Drawn anew from its seed each time."""

    name: str

    def agents(self) -> list[AgentModel]:
        """Return the agents, each with its share of the workers."""
        ...

    def arrivals(self) -> Iterator[Arrival]:
        """Return who comes, by time."""
        ...


@dataclass(slots=True)
class Size:
    """How large a simulation is to be, and how heavily loaded."""

    #: Requests that begin per second.
    rate: float
    #: Workers in all.
    workers: int
    #: End after about so many futures; 0: no limit.
    futures: int = 0
    #: End after so much virtual time.
    until_s: float = float("inf")
    seed: int = 1
    more: dict[str, float] = field(default_factory=dict[str, float])
