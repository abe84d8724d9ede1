"""What must hold when a simulation has come to rest, looked up at the broker itself."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from nalar.bus.codec import decode_record
from nalar.bus.subjects import slot_lane
from nalar.errors import MalformedMessage
from nalar.ids import AgentName
from nalar.statestore.port import LedgerEntry
from nalar.statestore.session import SessionFold
from tests.simulation.scripts import Scripts
from tests.simulation.workloads import STATEFUL, STATELESS
from tests.simulation.world import World


@dataclass(slots=True)
class Findings:
    """What was found wrong in one simulation."""

    world: World
    scripts: Scripts
    found: list[str] = field(default_factory=list[str])

    def add(self, what: str) -> None:
        self.found.append(what)

    def all_ended(
        self, running: Iterable[asyncio.Task[None]], hanging: Iterable[asyncio.Task[None]]
    ) -> None:
        """Every future resolves."""
        # In an order of our own: asyncio hands out sets.
        for where in sorted(map(_where, hanging)):
            self.add(f"a script hangs: {where}")
        for task in running:
            if task.done() and (error := task.exception()) is not None:
                self.add(f"a script failed: {error!r}")


def _name(task: asyncio.Task[None]) -> str:
    coroutine: Any = task.get_coro()
    return str(coroutine.__qualname__)


def _where(task: asyncio.Task[None]) -> str:
    """Say where a task waits. Without addresses: a seed is to find the same each time."""
    lines: list[str] = []
    coroutine: Any = task.get_coro()
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        lines.append(f"{coroutine.__qualname__}:{frame.f_lineno}")
        coroutine = coroutine.cr_await
    return " > ".join(lines)


def look(findings: Findings) -> None:
    """Look for everything that must not be."""
    _look_at_outcomes(findings)
    _look_at_commits(findings)
    _look_at_sessions(findings)
    _look_at_races(findings)
    _look_at_queues(findings)
    _look_at_slots(findings)
    _look_at_processes(findings)


def _look_at_outcomes(findings: Findings) -> None:
    outcomes = findings.scripts.outcomes
    for label, expected in findings.scripts.expected.items():
        if outcomes.get(label) != expected:
            findings.add(f"{label} ended in {outcomes.get(label)!r}, not in {expected!r}")


def _look_at_commits(findings: Findings) -> None:
    for ref, revisions in findings.world.commits.items():
        if len(revisions) > 1:
            findings.add(f"committed {len(revisions)} times: {ref} at {revisions}")
        stands = findings.world.broker.log.get(ref)
        if stands is None or stands.revision not in revisions:
            findings.add(f"committed at {revisions}, and stands as {stands}: {ref}")


def sessions_of(world: World, *, but: tuple[str, ...]) -> dict[str, Any]:
    """Return the state of every session, folded from its log, lists sorted.

    Left out are the sessions named `but`, whose end depends on who was faster.
    """
    return {
        name: {field: _settled(value) for field, value in fold.state.items()}
        for name, fold in _folds(world).items()
        if not name.partition("/")[2].startswith(but)
    }


def _settled(value: Any) -> Any:
    return sorted(cast("list[str]", value)) if isinstance(value, list) else value


def _folds(world: World) -> dict[str, SessionFold]:
    folds: dict[str, SessionFold] = {}
    for log in world.broker.log.histories():
        fold = SessionFold.empty()
        try:
            for entry in log:
                _advance(world, fold, entry)
        except MalformedMessage as error:
            fold.state = {"unreadable": str(error)}
        folds[f"{log[0].ref.agent}/{log[0].ref.session}"] = fold
    return folds


def _advance(world: World, fold: SessionFold, entry: LedgerEntry) -> None:
    record = decode_record(entry.ref, entry.body)
    delta = record.delta
    text = None if delta is None else delta.text
    if delta is not None and delta.blob is not None:
        text = world.broker.blobs[delta.blob.name][0]
    fold.advance(entry.revision, entry.ref.future, text, record.finished)


def _look_at_sessions(findings: Findings) -> None:
    """Each entry once, each caller's in the order of its calls, both fields in step."""
    for name, fold in _folds(findings.world).items():
        if "unreadable" in fold.state:
            findings.add(f"{name}: {fold.state}")
        written = _strings(fold, "entries") + _strings(fold, "steps")
        for entry, times in Counter(written).items():
            if times > 1:
                findings.add(f"{name}: {entry} is there {times} times")
        for caller in {entry.partition("#")[0] for entry in written}:
            own = [entry for entry in written if entry.partition("#")[0] == caller]
            if own != sorted(own, key=_number):
                findings.add(f"{name}: out of order: {own}")
        counts = cast("dict[str, int]", fold.state.get("counts", {}))
        if "entries" in fold.state and counts != Counter(map(_caller, written)):
            findings.add(f"{name}: {counts} are counted of {written}")


def _caller(entry: str) -> str:
    return entry.partition("#")[0]


def _number(entry: str) -> int:
    return int(re.sub(r"\D", "", entry.partition("#")[2]) or 0)


def _look_at_races(findings: Findings) -> None:
    """A call that has a value has taken effect; one that was cancelled or expired has not."""
    folds = _folds(findings.world)
    for (session, entry), outcome in findings.scripts.raced.items():
        fold = folds.get(f"SimLog/{session}")
        there = fold is not None and entry in _strings(fold, "entries")
        if there is not isinstance(outcome, int):
            findings.add(f"{session}: {entry} ended in {outcome}, and is there: {there}")
        if isinstance(outcome, str) and outcome not in {"Cancelled", "Expired"}:
            findings.add(f"{session}: {entry} ended in {outcome}")


def _strings(fold: SessionFold, name: str) -> list[str]:
    return cast("list[str]", fold.state.get(name, []))


def _look_at_queues(findings: Findings) -> None:
    for name in (*STATELESS, *STATEFUL):
        left = findings.world.broker.queues.waiting(AgentName(name))
        if left:
            findings.add(f"{left} messages are left in the queue of {name}")


def _look_at_slots(findings: Findings) -> None:
    for wrong in misplaced_slots(findings.world):
        findings.add(wrong)


def misplaced_slots(world: World) -> list[str]:
    """Return the slots that are not leased by a live worker that serves them, and it alone."""
    serving: dict[str, list[str]] = {}
    found: list[str] = []
    for node in world.workers():
        if node.host.worker is None:
            found.append(f"{node.name} neither serves nor has ended")
            continue
        for lane in node.host.worker._inboxes:
            serving.setdefault(lane, []).append(node.name)
    for agent in STATEFUL:
        for slot in range(world.settings.slots):
            lease = world.broker.control.entries.get(f"lease.{agent}.{slot}")
            owner = lease.value.decode() if lease and lease.value else None
            pulled = serving.get(f"{agent}/{slot_lane(slot)}", [])
            if pulled != [owner]:
                found.append(f"slot {slot} of {agent}: leased by {owner}, served by {pulled}")
    return found


def _look_at_processes(findings: Findings) -> None:
    world = findings.world
    for node in world.nodes.values():
        if not node.alive:
            continue
        if node.host.results and len(node.host.results):
            findings.add(f"{node.name} still awaits {list(node.host.results._expected)}")
        worker = node.host.worker
        if worker is not None and (worker._held or not worker._state.idle):
            findings.add(f"{node.name} still holds {list(worker._held)}")
        for task in node.host._tasks:
            if task.done():
                end = "cancelled" if task.cancelled() else repr(task.exception())
                findings.add(f"{node.name} has lost a task: {_name(task)}, {end}")
    for error in world.errors:
        findings.add(f"unexpected: {error}")
