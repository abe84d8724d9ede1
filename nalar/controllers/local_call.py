"""One call that a worker holds, as its local controller sees it. Pure."""

from dataclasses import dataclass, field
from enum import Enum

from nalar.controllers.local_events import Arrived, Why
from nalar.controllers.ranking import Rank
from nalar.ids import Ref


class Place(Enum):
    """Where a call counts in a metric report, and the counts of an agent that it adds to."""

    PARKED = ("parked",)
    QUEUED = ("queued",)
    #: Queued, while another call has its session.
    BLOCKED = ("queued", "blocked")
    RUNNING = ("running",)
    WAITING = ("waiting",)
    #: Its record is being stored, or it will not start.
    ELSEWHERE = ()

    def __init__(self, *counts: str) -> None:
        self.counts = counts
        self.waits = "queued" in counts


class State(Enum):
    """Where a held call stands, what each means is said in `local_state`, and where that counts."""

    PARKED = ("parked", Place.PARKED)
    QUEUED = ("queued", Place.QUEUED)
    RUNNING = ("running", Place.RUNNING)
    WAITING = ("waiting", Place.WAITING)
    RETURNING = ("returning", Place.WAITING)
    SETTLING = ("settling", Place.ELSEWHERE)
    LEAVING = ("leaving", Place.ELSEWHERE)
    #: Held no longer.
    ENDED = ("ended", None)

    def __init__(self, label: str, place: Place | None) -> None:
        del label  # Keeps those apart that count alike.
        self.place = place


@dataclass(slots=True, eq=False)
class SharedSlot:
    """The one execution slot of a batch: free again once no call of it runs."""

    running: int = 0
    #: Calls of it that the meter counts as running.
    counted: int = 0

    def take(self) -> bool:
        """One more call of it runs; return whether that takes the slot."""
        self.running += 1
        return self.running == 1

    def leave(self) -> bool:
        """One call less runs; return whether that frees the slot."""
        self.running -= 1
        return not self.running

    def count(self, by: int) -> bool:
        """One more call of it is counted as running, or (`by` -1) one less.

        Return whether the slot counts with that call: the first that is counted, the last that
        is not.
        """
        self.counted += by
        return self.counted == (by > 0)


@dataclass(slots=True, eq=False)
class LocalCall:
    """One held call."""

    arrival: Arrived
    order: int
    state: State
    missing: set[Ref] = field(default_factory=set[Ref])
    #: Why its code was told to stop, or would have been had it not just finished.
    stopped: Why | None = None
    #: Where it stands in a line.
    rank: Rank = (0.0, 0.0, 0)
    #: Queued, while another call has its session.
    blocked: bool = False
    #: Whether the meter is to hear already that it stands elsewhere than it counts.
    moved: bool = False
    #: Where the meter counts it: None before it was heard of, and when it has ended.
    counted: Place | None = None
    #: Whether the meter counts it for its session and its request as well.
    detailed: bool = False
    #: The shared slot in which the meter counts it.
    counted_in: SharedSlot | None = None
    #: The slot that it shares with others, if it was started in a batch.
    shared: SharedSlot | None = None

    @property
    def place(self) -> Place | None:
        """Where it is to be counted; None once it has ended."""
        return Place.BLOCKED if self.blocked and self.state is State.QUEUED else self.state.place
