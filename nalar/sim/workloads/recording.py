"""Traffic as it was: records of the ledger, made the lines of a workload file. Pure.

A record says when its call was made, began and ended, and who made it. From that the shape of a
request is worked out as well as it can be: what began when all before had ended waited for all of
that; what overlaps goes on side by side, each after the last that had ended before it. How long a
call waited for a slot is left out: that is what a simulation is to find out anew.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from nalar.calls.own_records import SENT, SIGNAL, TIMER, UNTIL, until_ref
from nalar.ids import NO_SESSION, FutureId, readable_token
from nalar.messages import Record
from nalar.sim.workloads.recorded import DEPTH_MAX

#: One step of a call in a workload file: seconds in a slot, a pause, or calls side by side.
Step = float | dict[str, Any] | list[dict[str, Any]]

#: A branch is a level of the file, and so is the call in it.
_DEPTH_MAX: Final = DEPTH_MAX - 2
#: Digits of the seconds that are written: tenths of a millisecond.
_DIGITS: Final = 4
#: The least that anything takes, in seconds.
_MOMENT_S: Final = 1e-6
#: Ends this close together, in seconds, cannot be told apart by what followed them.
_SAME_TIME_S: Final = 0.02
#: Gaps in a branch that are shorter, in seconds, are messages on their way: simulated as such.
_GAP_MIN_S: Final = 0.002
_WAITS: Final = frozenset((TIMER, SIGNAL))


@dataclass(slots=True)
class _Part:
    """What a call waited for: a call that it made, or time or word from outside."""

    #: From when on nothing but a worker was missing.
    ready_s: float
    ended_s: float
    #: The call that it is; None for a wait.
    record: Record | None
    #: Time between the end of what it follows and its own beginning.
    gap_s: float = 0.0
    followers: "list[_Part]" = field(default_factory=list["_Part"])


def requests_of(records: Iterable[Record], *, since_s: float = 0.0) -> list[dict[str, Any]]:
    """Return the requests that `records` tell of, as they stand in a workload file, oldest first.

    Those that ran and were made at `since_s`, a Unix time, or later. A request whose own record is
    not among `records` has not ended, and is left out with its calls.
    """
    roots: list[Record] = []
    made: dict[FutureId, list[Record]] = defaultdict(list)
    for record in records:
        if record.ref.future == record.ref.root:
            if record.worker and record.created >= since_s:
                roots.append(record)
        else:
            made[FutureId(record.ref.parent)].append(record)
    roots.sort(key=lambda record: record.created)
    return [
        {
            "at": _rounded(root.created - roots[0].created),
            **_session(root, root.ref.root),
            **({"tenant": root.tenant} if root.tenant else {}),
            **_Calls(made).told(root, 0),
        }
        for root in roots
    ]


def agents_of(
    agents: Iterable[dict[str, Any]], workers: Sequence[dict[str, Any]], called: Collection[str]
) -> list[dict[str, Any]]:
    """Return the lines that declare those of `agents` that are `called`, as `workers` serve them.

    Agents that the same workers serve share these workers' slots. One that nobody serves is left
    to the simulation's own number of workers. One gathers calls if all its methods do, and alike.
    """
    hosts: dict[frozenset[str], str] = {}
    lines: list[dict[str, Any]] = []
    for told in agents:
        name: str = told["name"]
        if name not in called:
            continue
        line: dict[str, Any] = {"name": name}
        serving = [worker for worker in workers if name in worker["agents"]]
        names = frozenset(str(worker["worker"]) for worker in serving)
        if names in hosts:
            line["beside"] = hosts[names]
        elif names:
            hosts[names] = name
            each = [int(worker.get("concurrency", 1)) for worker in serving]
            line |= {"workers": len(names), "concurrency": max(1, sum(each) // len(each))}
        if told["hints"]["stateful"]:
            line["stateful"] = True
        if (batch := _batch(told["methods"].values())) is not None:
            line["batch"] = batch
        lines.append(line)
    return lines


def _batch(methods: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """Return how all of an agent's methods gather calls; None if they do not, or not alike."""
    first, *others = [method.get("batch") for method in methods] or [None]
    return first if all(batch == first for batch in others) else None


def called(requests: Iterable[dict[str, Any]]) -> set[str]:
    """Return the agents that requests call, directly or further down."""
    names: set[str] = set()
    left: list[object] = list(requests)
    while left:
        it = left.pop()
        if isinstance(it, list):
            left += cast("list[object]", it)
        elif isinstance(it, dict):
            told = cast("dict[str, Any]", it)
            names |= {told["agent"]} if "agent" in told else set()
            left += told.get("steps", [])
    return names


class _Calls:
    """Tells of calls by what they made."""

    def __init__(self, made: dict[FutureId, list[Record]]) -> None:
        self._made = made

    def told(self, record: Record, depth: int) -> dict[str, Any]:
        """Return a call with all that came of it."""
        return {"agent": record.ref.agent, "steps": self._steps(record, depth)}

    def _steps(self, record: Record, depth: int) -> list[Step]:
        parts = _parts(record, self._made.get(record.ref.future, ()))
        if depth >= _DEPTH_MAX or not parts:
            return _time(record.finished - record.started)
        # A call that was suspended began earlier than where it ended says.
        at_s = min(record.started, parts[0].ready_s)
        steps: list[Step] = []
        for side_by_side in _joined(parts):
            first = side_by_side[0]
            steps += _time(first.ready_s - at_s)
            at_s = max(part.ended_s for part in side_by_side)
            if len(side_by_side) == 1 and first.record is None:
                steps.append({"pause": _rounded(first.ended_s - first.ready_s)})
            else:
                heads = _threaded(side_by_side)
                steps.append([self._branch(part, record, depth + 1) for part in heads])
        return steps + _time(record.finished - at_s)

    def _branch(self, part: _Part, caller: Record, depth: int) -> dict[str, Any]:
        """Return a part with what followed it, as one call or as a branch of its caller."""
        steps: list[Step] = []
        while True:
            steps += _time(part.gap_s) if part.gap_s >= _GAP_MIN_S else []
            if part.record is None:
                steps.append({"pause": _rounded(part.ended_s - part.ready_s)})
            else:
                session = _session(part.record, caller.session)
                steps.append([session | self.told(part.record, depth + 1)])
            if len(part.followers) != 1 or depth >= _DEPTH_MAX:
                break
            part = part.followers[0]
        if part.followers and depth < _DEPTH_MAX:
            steps.append([self._branch(it, caller, depth + 1) for it in part.followers])
        match steps:
            case [[alone]]:
                return alone
            case _:
                return {"steps": steps}


def _parts(record: Record, made: Sequence[Record]) -> list[_Part]:
    """Return what the call `record` waited for, in the order in which it was ready."""
    ended = {it.ref.future: it.finished for it in made if it.ref.agent != SENT}
    began = {it.ref.future: it.created for it in made if it.ref.agent == UNTIL}
    parts: list[_Part] = []
    for it in made:
        if it.worker:
            ready_s = max(it.created, *(ended.get(of.future, 0.0) for of in it.dependencies), 0.0)
        elif it.ref.agent in _WAITS:
            ready_s = began.get(until_ref(it.ref).future, it.created)
            if it.ref.agent == SIGNAL and it.finished - ready_s < _SAME_TIME_S:
                # A call that was resumed has asked anew: it waits since the end of what was before.
                ready_s = max(record.created, *(s for s in ended.values() if s <= it.created), 0.0)
        else:
            continue
        ready_s = min(ready_s, it.finished - _MOMENT_S)
        parts.append(_Part(ready_s, it.finished, it if it.worker else None))
    return sorted(parts, key=lambda part: part.ready_s)


def _joined(parts: Sequence[_Part]) -> list[list[_Part]]:
    """Return the parts in groups: each group begins when all of those before it have ended."""
    groups: list[list[_Part]] = []
    ended_s = float("-inf")
    for part in parts:
        if part.ready_s >= ended_s:
            groups.append([])
        groups[-1].append(part)
        ended_s = max(ended_s, part.ended_s)
    return groups


def _threaded(parts: Sequence[_Part]) -> list[_Part]:
    """Say of each part which one it followed; return those that followed none."""
    began_s = parts[0].ready_s
    heads: list[_Part] = []
    by_end = sorted(parts, key=lambda part: part.ended_s, reverse=True)
    last: _Part | None = None
    free: list[_Part] = []  # Those that have ended, and that nothing follows.
    for part in parts:
        while by_end[-1].ended_s <= part.ready_s:
            last = by_end.pop()
            free.append(last)
        if last is None:
            part.gap_s = part.ready_s - began_s
            heads.append(part)
            continue
        near = free and free[-1].ended_s >= last.ended_s - _SAME_TIME_S
        followed = free.pop() if near else last
        followed.followers.append(part)
        part.gap_s = part.ready_s - followed.ended_s
    return heads


def _session(record: Record, of: str) -> dict[str, str]:
    """Return the session to be named: none where it is the one that is had anyway."""
    if record.session in (of, NO_SESSION):
        return {}
    return {"session": readable_token(record.session)}


def _time(seconds: float) -> list[Step]:
    return [rounded] if (rounded := _rounded(seconds)) else []


def _rounded(seconds: float) -> float:
    return max(0.0, round(seconds, _DIGITS))
