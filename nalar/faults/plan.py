"""Faults on purpose: `NALAR_FAULT=point:action[:nth]` makes a process fail at an exact place.

For proofs and drills: docs/reliability.md. What is planned stands here, where the points are in
`nalar.faults.ports`. Without the variable nothing of this is in the way of a call.
"""

import asyncio
import math
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from nalar.errors import NalarError, UsageError, suggest

#: The variable's name.
FAULT: Final = "NALAR_FAULT"
#: Exit code of a process that ended itself here.
EXIT_FAULT: Final = 86

_ANYWHERE: Final = ("exit", "stop", "delay")
#: Every point, in the order in which a call meets them: what has just happened there or is about
#: to, and the actions that make sense.
POINTS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "before_publish": ("a call, or its next attempt, is about to be sent", (*_ANYWHERE, "raise")),
    "after_publish": ("it is stored, and its sender does not know yet", (*_ANYWHERE, "drop")),
    "received": ("a message has come, and nothing was done with it", (*_ANYWHERE, "drop")),
    "before_run": ("the code of a call is about to start", (*_ANYWHERE, "raise")),
    "before_commit": ("a record is about to be sent", (*_ANYWHERE, "raise")),
    "after_commit": ("it is stored, and its writer does not know yet", (*_ANYWHERE, "drop")),
    "heard": ("a record was announced, and nobody here was told yet", (*_ANYWHERE, "drop")),
    "before_ack": ("a message is about to be acknowledged", (*_ANYWHERE, "drop")),
    "after_ack": ("it has been, a moment ago", ("exit", "stop")),
    "before_snapshot": ("a snapshot is about to be written", (*_ANYWHERE, "raise")),
    "after_snapshot": ("it is stored, and its writer does not know yet", (*_ANYWHERE, "drop")),
    "before_lease": ("a slot's lease is about to be written", (*_ANYWHERE, "raise")),
    "after_lease": ("it is stored, and its owner does not know yet", (*_ANYWHERE, "drop")),
}
_EXAMPLE = "before_commit:exit, after_commit:drop:2 or before_run:delay=1.5:*"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens when a point is reached."""

    point: str
    action: str
    #: At which time: 1 is the first; 0 is every time.
    nth: int = 1
    delay_s: float = 0.0

    def __str__(self) -> str:
        action = f"delay={self.delay_s:g}" if self.action == "delay" else self.action
        return f"{self.point}:{action}:{self.nth or '*'}"


class Faults:
    """The faults of one process. May be used from any thread."""

    def __init__(self, planned: tuple[Fault, ...]) -> None:
        self.planned = planned
        self._reached: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __str__(self) -> str:
        return ", ".join(map(str, self.planned))

    def at(self, point: str) -> Fault | None:
        """Count that `point` is reached; return the fault that is due, for the caller to enact.

        A fault that ends or stops the process has been enacted already.
        """
        with self._lock:
            self._reached[point] += 1
            count = self._reached[point]
        for fault in self.planned:
            if fault.point == point and fault.nth in (0, count):
                self._enact(fault)
                return fault if fault.action in ("delay", "raise", "drop") else None
        return None

    def _enact(self, fault: Fault) -> None:
        # Past all buffers: it may be the last that this process says.
        os.write(2, f"{FAULT} {fault} in process {os.getpid()}\n".encode())
        if fault.action == "exit":
            os._exit(EXIT_FAULT)
        if fault.action == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)

    async def reach(self, point: str, error: type[NalarError]) -> None:
        """Reach `point`, where what is sent or answered may be lost: then `error` is raised."""
        fault = self.at(point)
        if fault is None:
            return
        if fault.action != "delay":
            raise error(f"{FAULT} {fault}")
        await asyncio.sleep(fault.delay_s)

    def pass_on(self, point: str, act: Callable[[], None]) -> None:
        """Reach `point`, then `act`: now, later, or not at all."""
        fault = self.at(point)
        if fault is None:
            act()
        elif fault.action == "delay":
            asyncio.get_running_loop().call_later(fault.delay_s, act)


def from_environment(environ: Mapping[str, str]) -> Faults | None:
    """Return the faults that `environ` plans, or None.

    Raises UsageError, which lists the points, for what is no plan.
    """
    text = environ.get(FAULT, "").strip()
    if not text:
        return None
    return Faults(tuple(_parse(part.strip()) for part in text.split(",")))


def _parse(text: str) -> Fault:
    point, *rest = text.split(":")
    if point not in POINTS:
        raise _misuse(text, f"{point!r} is no point.{suggest(point, list(POINTS))}")
    if not 1 <= len(rest) <= 2:  # noqa: PLR2004 -- an action, and perhaps which time
        raise _misuse(text, "point:action or point:action:nth is expected")
    action, _, value = rest[0].partition("=")
    _, actions = POINTS[point]
    if action not in actions:
        raise _misuse(text, f"{point} can {', '.join(actions)}, not {action!r}")
    if bool(value) != (action == "delay"):
        raise _misuse(text, "delay=SECONDS has a value, and nothing else has")
    nth = rest[1] if len(rest) > 1 else "1"
    if nth != "*" and (not (nth.isascii() and nth.isdigit()) or int(nth) < 1):
        raise _misuse(text, f"which time is 1, 2, ... or * for every time, not {nth!r}")
    return Fault(point, action, 0 if nth == "*" else int(nth), _seconds(text, value))


def _seconds(text: str, value: str) -> float:
    if not value:
        return 0.0
    try:
        delay_s = float(value)
    except ValueError:
        delay_s = math.nan
    if not 0 <= delay_s < math.inf:
        raise _misuse(text, f"delay={value} is no number of seconds")
    return delay_s


def _misuse(text: str, why: str) -> UsageError:
    points = "\n".join(
        f"  {point:<16}{meaning}: {', '.join(actions)}"
        for point, (meaning, actions) in POINTS.items()
    )
    return UsageError(
        f"{FAULT}={text!r}: {why}\nIt is point:action[:nth], several separated by commas, such as "
        f"{_EXAMPLE}. The points, and what can happen there:\n{points}"
    )
