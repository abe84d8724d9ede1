"""Faults on purpose: a process fails at an exact place, `NALAR_FAULT=point[@agent]:action[:nth]`.

For proofs and drills: docs/reliability.md. What is planned stands here, where the points are in
`nalar.faults.ports`. Without the variable nothing of this is in the way of a call.
"""

import asyncio
import math
import os
import re
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
#: What an agent's name looks like: it may be served elsewhere, so that nothing more is known.
_AGENT: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_EXAMPLE = "before_commit:exit, after_commit@Account:drop:2 or before_run:delay=1.5:*"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens when a point is reached."""

    point: str
    action: str
    #: At which time: 1 is the first; 0 is every time.
    nth: int = 1
    delay_s: float = 0.0
    #: Whose calls, sessions or slots alone are counted and meet it; all if empty.
    agent: str = ""

    def __str__(self) -> str:
        point = f"{self.point}@{self.agent}" if self.agent else self.point
        action = f"delay={self.delay_s:g}" if self.action == "delay" else self.action
        return f"{point}:{action}:{self.nth or '*'}"


class Faults:
    """The faults of one process. May be used from any thread."""

    def __init__(self, planned: tuple[Fault, ...]) -> None:
        self.planned = planned
        #: By point and agent; without an agent, by point alone.
        self._reached: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def __str__(self) -> str:
        return ", ".join(map(str, self.planned))

    def at(self, point: str, agent: str) -> Fault | None:
        """Count that `point` is reached; return the fault that is due, for the caller to enact.

        `agent` is whose call, session or slot is there. A fault that ends or stops the process
        has been enacted already.
        """
        names = {"", agent}
        with self._lock:
            self._reached.update((point, name) for name in names)
            counts = {name: self._reached[point, name] for name in names}
        for fault in self.planned:
            met = fault.point == point and fault.agent in counts
            if met and fault.nth in (0, counts[fault.agent]):
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

    async def reach(self, point: str, agent: str, error: type[NalarError]) -> None:
        """Reach `point`, where what is sent or answered may be lost: then `error` is raised."""
        fault = self.at(point, agent)
        if fault is None:
            return
        if fault.action != "delay":
            raise error(f"{FAULT} {fault}")
        await asyncio.sleep(fault.delay_s)

    def pass_on(self, point: str, agent: str, act: Callable[[], None]) -> None:
        """Reach `point`, then `act`: now, later, or not at all."""
        fault = self.at(point, agent)
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
    place, *rest = text.split(":")
    point, marked, agent = place.partition("@")
    if point not in POINTS:
        raise _misuse(text, f"{point!r} is no point.{suggest(point, list(POINTS))}")
    if marked and not _AGENT.fullmatch(agent):
        raise _misuse(text, f"{agent!r} names no agent")
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
    return Fault(point, action, 0 if nth == "*" else int(nth), _seconds(text, value), agent)


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
        f"{FAULT}={text!r}: {why}\nIt is point[@agent]:action[:nth], several separated by commas, "
        f"such as {_EXAMPLE}. The points, and what can happen there:\n{points}"
    )
