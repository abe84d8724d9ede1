"""What the local controller is told, and what it asks for. Pure: records, no behaviour."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from nalar.call_policy import Batch
from nalar.controllers.ranking import NO_TRAITS, Traits
from nalar.directives import Directive
from nalar.ids import AgentName, Ref

#: Why a call is to end before it has a result.
Why = Literal["cancelled", "expired"]

# Events, in the past tense. `key` names a held call; the shell chooses it.


@dataclass(frozen=True, slots=True)
class Arrived:
    """A call was delivered. `missing` are the refs whose records it needs first."""

    key: str
    #: The session it must have to itself, or None (stateless, read-only).
    lock: str | None
    priority: int
    deadline: float
    missing: frozenset[Ref]
    #: That one of `missing` which only orders: any terminal record will do.
    after: Ref | None
    at_s: float
    #: When its code is to stop, should it have started by then; `deadline` is for its start.
    stop_at: float = math.inf
    #: What directives can tell it by.
    traits: Traits = NO_TRAITS
    #: Slot of its session, of a call that may change it.
    slot: int | None = None
    #: How its method gathers calls, if it does.
    batch: Batch | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """A record that held calls wait for stands; `ok` when it carries a result."""

    ref: Ref
    ok: bool


@dataclass(frozen=True, slots=True)
class Left:
    """A running call waits for a future: its slot is free."""

    key: str


@dataclass(frozen=True, slots=True)
class Returned:
    """What a waiting call waited for is there: it wants a slot again."""

    key: str


@dataclass(frozen=True, slots=True)
class Rejoined:
    """A call runs again at once, even beyond the limit.

    It is on its way out of a wait, or runs a second time because its session moved on.
    """

    key: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The call's code has finished: its slot is free, its session is not until it is settled."""

    key: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A call is settled (committed and acknowledged, or handed back): forget it."""

    key: str
    #: What its code has used, by model.
    tokens: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed."""

    at_s: float


@dataclass(frozen=True, slots=True)
class LaneLost:
    """These calls are no longer ours to start (their slot went to another worker)."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StopRequested:
    """A call is to end now, wherever it stands; one that is held no longer, or settles, does."""

    key: str
    why: Why


@dataclass(frozen=True, slots=True)
class Directed:
    """A directive is to be obeyed from now on, in place of any under the same key."""

    directive: Directive
    #: It no longer stands.
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class PeersChanged:
    """Workers have come or gone: so many are alive, and so many serve each agent."""

    workers: int
    serving: Mapping[AgentName, int]


@dataclass(frozen=True, slots=True)
class DrainBegan:
    """Start nothing more; give back what has not started."""


Event = (
    Arrived
    | Settled
    | Left
    | Returned
    | Rejoined
    | Finished
    | Ended
    | Ticked
    | LaneLost
    | StopRequested
    | Directed
    | PeersChanged
    | DrainBegan
)


# Effects, in the imperative.


@dataclass(frozen=True, slots=True)
class Start:
    """Run the call: it has a slot, and its session if it needs one."""

    key: str
    #: The calls that share its slot and one run of their method's body, itself among them.
    batch: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Resume:
    """Let the waiting call go on: it has a slot again."""

    key: str


@dataclass(frozen=True, slots=True)
class Fail:
    """Commit DependencyFailed for the call: `cause` has no result. It will not start."""

    key: str
    cause: Ref


@dataclass(frozen=True, slots=True)
class Expire:
    """Commit Expired for the call: its deadline passed before it could start."""

    key: str


@dataclass(frozen=True, slots=True)
class HandBack:
    """Give the call back to the queue."""

    key: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Commit the end of the call; tell its code to stop if it has started. It will not start."""

    key: str
    why: Why


Effect = Start | Resume | Fail | Expire | HandBack | Stop
