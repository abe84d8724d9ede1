"""Suspended calls as they stand in the control bucket. Pure.

A call that has waited for long is held by no worker: its message lies in the queue, handed back for
as long as the wait may take, and `suspended.<root>.<future>` says what it waits for. Whoever
stores something that a call may wait for looks there, and has the message delivered at once.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from nalar.calls.own_records import SENT
from nalar.errors import NalarError
from nalar.ids import Ref, readable_token

#: Where suspended calls are kept, in the control bucket.
SUSPENDED: Final = "suspended"


@dataclass(frozen=True, slots=True)
class Suspended:
    """One suspended call, and all that may end its wait."""

    ref: Ref
    #: `Agent.method`, for people.
    target: str
    #: Names the delivery that was handed back: by it the message is had again.
    lease: bytes
    #: Since when, Unix time.
    since: float
    #: When the first of its timers goes off, or its deadline passes, Unix time.
    until: float
    #: Calls whose records it waits for.
    calls: tuple[Ref, ...]
    #: Signals it waits for, names encoded -> the last that had come, its place in the ledger.
    signals: Mapping[str, int]
    #: Whether one of its timers ends at `until`.
    sleeps: bool = False

    @property
    def key(self) -> str:
        """Where this is kept."""
        return suspended_key(self.ref.root, self.ref.future)

    @property
    def told(self) -> str:
        """What it waits for, for people."""
        waits = [f"signal {readable_token(name)}" for name in sorted(self.signals)]
        agents = sorted({ref.agent for ref in self.calls})
        if self.calls:
            waits.append(f"{len(self.calls)} calls of {', '.join(agents)}")
        return ", ".join(waits) or "time"

    def waits_for(self, ref: Ref) -> bool:
        """Say whether the record of `ref` ends its wait."""
        if ref.agent == SENT:
            return ref.parent == self.ref.future and ref.session in self.signals
        return ref in self.calls

    def encode(self) -> bytes:
        """Return the entry's value."""
        return orjson.dumps(
            {
                "ref": str(self.ref),
                "target": self.target,
                "lease": self.lease.decode(),
                "since": self.since,
                "until": self.until,
                "calls": [str(ref) for ref in self.calls],
                "signals": dict(self.signals),
                "sleeps": self.sleeps,
            }
        )

    @classmethod
    def decode(cls, value: bytes) -> "Suspended | None":
        """Return what `encode` wrote; None for what is none: then the call simply goes on."""
        try:
            told: dict[str, Any] = orjson.loads(value)
            since, until = float(told["since"]), float(told["until"])
            found = cls(
                ref=Ref.parse(told["ref"]),
                target=str(told["target"]),
                lease=str(told["lease"]).encode(),
                since=since,
                until=until,
                calls=tuple(Ref.parse(ref) for ref in told["calls"]),
                signals={str(name): int(at) for name, at in told["signals"].items()},
                sleeps=bool(told["sleeps"]),
            )
        except (ValueError, TypeError, KeyError, AttributeError, NalarError):
            return None
        return found if math.isfinite(since) and math.isfinite(until) else None


def suspended_key(root: str, future: str) -> str:
    """Return where it stands that the call `future` of the run `root` is suspended."""
    return f"{SUSPENDED}.{root}.{future}"
