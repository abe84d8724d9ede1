"""Whether a call that may have killed its worker is started once more. Pure.

The first delivery of a call is not counted: it costs nothing. Each later start is written down
before it happens and taken back when it comes to an end in its worker, however it ends. What
stays written was ended by the death of its worker.
"""

import hashlib
import math
from dataclasses import dataclass
from typing import Final

import orjson

#: Longest extra wait between two starts of a call that seems to kill, in seconds.
_APART_MAX_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Starts:
    """The starts of one call that have not ended, as they are kept under `start.<future>`."""

    #: How many there are.
    count: int = 0
    #: Unix time of the newest.
    at: float = 0.0
    #: The process that it happened in.
    process: str = ""
    #: The attempt that the call is at.
    attempt: int = 0
    #: Where the ledger stood, of this call's children, when the attempt was first started.
    upto: int = 0

    def encode(self) -> bytes:
        """Return the entry's value."""
        return orjson.dumps(
            {
                "starts": self.count,
                "at": self.at,
                "process": self.process,
                "attempt": self.attempt,
                "upto": self.upto,
            }
        )

    @classmethod
    def decode(cls, value: bytes | None) -> "Starts":
        """Return what `encode` wrote; what is none counts as no start."""
        try:
            told = orjson.loads(value or b"{}")
            at = float(told.get("at", 0.0))
            return cls(
                _count(told.get("starts", 0)),
                at if math.isfinite(at) else 0.0,
                str(told.get("process", "")),
                _count(told.get("attempt", 0)),
                _count(told.get("upto", 0)),
            )
        except (ValueError, TypeError, AttributeError):
            return cls()


def _count(told: float | str) -> int:
    """Return a count as it is told, in bounds in which it can be told again."""
    return min(max(0, int(told)), 1 << 62)


@dataclass(frozen=True, slots=True)
class Go:
    """Start it; `starts` is to be written first, and `back` put back when it has ended."""

    starts: Starts
    back: Starts


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet: calls that died together are started apart, so that the guilty one dies alone."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Condemn:
    """Never again: its worker died so many times while it ran."""

    deaths: int


def decide(  # noqa: PLR0913 -- all that it depends on
    known: Starts,
    *,
    future: str,
    attempt: int,
    upto: int,
    process: str,
    now_s: float,
    lease_s: float,
    crashes_max: int,
) -> Go | Wait | Condemn:
    """Say what to do with a call that is about to be started and may have been before.

    `upto` is where its children's records end now; it is kept for the rest of this attempt. A
    start that `process` itself wrote down and that is over did not kill it.
    """
    count = known.count
    if count and known.process == process:
        count -= 1
    if count >= crashes_max:
        return Condemn(count)
    if count and (early_s := known.at + lease_s + apart_s(future, count) - now_s) > 0:
        return Wait(early_s)
    same = known.attempt == attempt
    back = Starts(count, known.at, known.process, attempt, known.upto if same else upto)
    return Go(Starts(count + 1, now_s, process, attempt, back.upto), back)


def apart_s(future: str, count: int) -> float:
    """Return how long to wait beyond a lease before another start; differs from call to call."""
    digest = hashlib.blake2b(f"{future}/{count}".encode(), digest_size=4).digest()
    return min(2.0**count, _APART_MAX_S) * int.from_bytes(digest) / 2**32
