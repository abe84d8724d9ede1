"""What is measured, as data: the rows of the table and how each loads both sides. Pure."""

from dataclasses import dataclass
from typing import Literal

Call = Literal["tool", "state", "fan", "nap"]

#: Slots of the worker that serves the throughput rows.
CONCURRENCY = 512
#: Slots of the worker whose calls sleep; twice as many are in flight, so that a slot that is
#: free always has a call waiting for it.
NAP_CONCURRENCY = 64
NAP_IN_FLIGHT = 128
FAN_WIDTH = 32
NAP_S = 0.05
#: Sessions of the stateful rows, in turns. A multiple of what is in flight: one call a session.
SESSIONS = 512


@dataclass(frozen=True, slots=True)
class Row:
    """One load, and what is told of it."""

    name: str
    title: str
    call: Call
    in_flight: int
    #: Tell p50 and p99, held to the bar of latency.
    latency: bool = False
    #: Tell calls per second, held to the bar of throughput; a request counts for so many.
    calls_each: int = 0


ROWS = (
    Row("tool-1", "tool, 1 in flight", "tool", 1, latency=True),
    Row("tool-64", "tool, 64 in flight", "tool", 64, calls_each=1),
    Row("tool-512", "tool, 512 in flight", "tool", 512, calls_each=1),
    Row("state-1", "stateful, 1 in flight", "state", 1, latency=True),
    Row("state-64", "stateful, 64 in flight", "state", 64, calls_each=1),
    Row("state-512", "stateful, 512 in flight", "state", 512, calls_each=1),
    Row("fan", f"fan-out of {FAN_WIDTH}", "fan", 1, latency=True, calls_each=FAN_WIDTH),
)
#: Measured against the ideal, not the floor, with a worker of its own.
NAP = Row("nap", f"{NAP_S * 1000:.0f} ms sleeps, {NAP_CONCURRENCY} slots", "nap", NAP_IN_FLIGHT)


def chosen(only: list[str]) -> list[Row]:
    """Return the rows whose name is, or begins with, one of `only`; all when it is empty."""
    rows = [*ROWS, NAP]
    unknown = [name for name in only if not any(row.name.startswith(name) for row in rows)]
    if unknown:
        known = ", ".join(row.name for row in rows)
        raise ValueError(f"no row is named {unknown[0]!r}; there are {known}")
    return [row for row in rows if not only or row.name.startswith(tuple(only))]
