"""Traffic that was recorded: a file with a JSON object a line. docs/simulation.md has the format.

A request's calls take the time that they took, in the shape that they had; when it came, and in
which session, is in the file. What differs is who serves it, and how.
"""

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final, NoReturn, cast

import orjson

from nalar.call_policy import Batch
from nalar.errors import UsageError, suggest
from nalar.sim.workload import AgentModel, Arrival, Call, Calls, Pause, Program, Size, Turn, Work

#: What an agent in the file may say of itself: those fields of `AgentModel` that JSON can hold.
AGENT_FIELDS: Final = tuple(it.name for it in fields(AgentModel) if it.name != "llm")
#: Calls in calls; a file that says more is wrong.
DEPTH_MAX: Final = 200
#: Seconds of anything: thirty years.
SECONDS_MAX: Final = 1e9
#: Workers of an agent, and calls at a time in one.
COUNT_MAX: Final = 100_000
_COUNTS: Final = ("workers", "concurrency")
_REQUEST_FIELDS: Final = ("at", "agent", "session", "tenant", "priority", "deadline_s", "steps")
_BATCH_FIELDS: Final = tuple(it.name for it in fields(Batch))
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "str": (str,), "int": (int,), "float": (int, float), "bool": (bool,),
}  # fmt: skip


class Recorded:
    """The requests of a file; read once and checked, so that a run does not end half-way."""

    def __init__(self, path: Path, size: Size) -> None:
        self.name = path.stem
        self._path = path
        self._agents: dict[str, AgentModel] = {}
        self._declared: set[str] = set()
        self._requests: list[dict[str, Any]] = []
        self._line = 0
        #: Of agents some of whose calls do more than work: the first line that says so.
        self._busy: dict[str, int] = {}
        try:
            lines = path.read_bytes().splitlines()
        except OSError as error:
            raise UsageError(f"the workload {path} cannot be read: {error.strerror}") from error
        for self._line, line in enumerate(lines, 1):
            if line.strip():
                self._take(line)
        if not self._requests:
            raise UsageError(f"the workload {path} has no request")
        self._check_batches()
        self._requests.sort(key=lambda told: told["at"])
        undeclared = [it for it in self._agents.values() if not it.workers and not it.beside]
        for agent in undeclared:
            each = max(1, size.workers // len(undeclared))
            self._agents[agent.name] = replace(agent, workers=each)

    def agents(self) -> list[AgentModel]:
        """Return those that the file declares, and those that it calls."""
        return list(self._agents.values())

    def arrivals(self) -> Iterator[Arrival]:
        """Return the requests, each by a user of its own."""
        return (Arrival(told["at"], self._ask(told)) for told in self._requests)

    def _ask(self, told: dict[str, Any]) -> Program:
        yield Turn(
            Call(told["agent"], self._run(told["steps"]), told.get("session", "")),
            tenant=told.get("tenant", ""),
            priority=told.get("priority", 0),
            deadline_s=told.get("deadline_s"),
        )

    def _run(self, steps: list[Any]) -> Program:
        for step in steps:
            if isinstance(step, list):
                calls = cast("list[dict[str, Any]]", step)
                yield Calls(
                    tuple(
                        Call(it.get("agent"), self._run(it["steps"]), it.get("session", ""))
                        for it in calls
                    )
                )
            elif isinstance(step, dict):
                yield Pause(float(cast("dict[str, float]", step)["pause"]))
            else:
                yield Work(float(step))

    # Reading and checking.

    def _take(self, line: bytes) -> None:
        try:
            told: Any = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            self._refuse(f"is not JSON: {error}")
        if not isinstance(told, dict):
            self._refuse("is not an object")
        given = cast("dict[str, Any]", told)
        if "agent" not in given and {"at", "steps"} & given.keys():
            strange = [repr(name) for name in given if name not in _REQUEST_FIELDS]
            self._refuse('has no "agent"' + (f", but {strange[0]}" if strange else ""))
        if "agent" in given:
            self._number(given, "at", required=True)
            self._number(given, "deadline_s")
            self._check_call(given, 0)
            self._requests.append(given)
        else:
            self._declare(given)

    def _declare(self, given: dict[str, Any]) -> None:
        for name, value in given.items():
            self._check_field(name, value)
        if "name" not in given:
            self._refuse("declares an agent without a name")
        if given["name"] in self._declared:
            self._refuse(f"declares {given['name']} a second time")
        self._declared.add(given["name"])
        declared: dict[str, Any] = {"workers": 0, **given}
        if "batch" in given:
            declared["batch"] = self._batch(given["batch"])
        self._agents[given["name"]] = AgentModel(**declared)

    def _check_field(self, name: str, value: Any) -> None:
        if name not in AGENT_FIELDS:
            self._refuse(f"says {name!r} of an agent.{suggest(name, list(AGENT_FIELDS))}")
        if name == "batch":
            return
        kind = next(it.type for it in fields(AgentModel) if it.name == name)
        if type(value) not in _TYPES[str(getattr(kind, "__name__", kind))]:
            self._refuse(f"has {name} = {value!r}")
        if name in _COUNTS and not 1 <= value <= COUNT_MAX:
            self._refuse(f"has {name} = {value}; 1 to {COUNT_MAX:,} are expected")

    def _batch(self, value: object) -> Batch:
        if not isinstance(value, dict):
            self._refuse(f'has batch = {value!r}; {{"size": 8, "linger_s": 0.01}} is expected')
        told = cast("dict[str, Any]", value)
        for name in told:
            if name not in _BATCH_FIELDS:
                self._refuse(f"says {name!r} of a batch.{suggest(name, list(_BATCH_FIELDS))}")
        try:
            return Batch(**told)
        except UsageError as error:
            self._refuse(f"has batch = {value!r}: {error}")

    def _check_batches(self) -> None:
        """Refuse what does more than work in a call that shares a run with others."""
        for name, line in self._busy.items():
            if self._agents[name].batch is not None:
                self._line = line
                self._refuse(
                    f"has a call of {name} that does more than work, and {name} has a batch: that "
                    "belongs to none of its calls. Declare it without one, or have its caller wait"
                )

    def _check_call(self, given: dict[str, Any], depth: int) -> None:
        # Without an agent it is a branch of its caller: a task of its code.
        name: object = given.get("agent", "")
        steps: object = given.get("steps")
        if not isinstance(name, str) or (not name and "agent" in given):
            self._refuse(f"calls {name!r}, which is no name of an agent")
        if not isinstance(steps, list):
            self._refuse(f'has {f"a call of {name}" if name else "a branch"} without "steps"')
        if depth > DEPTH_MAX:
            self._refuse(f"has calls in calls more than {DEPTH_MAX} deep")
        if name:
            self._agents.setdefault(name, AgentModel(name, 0))
            if not all(isinstance(step, int | float) for step in cast("list[Any]", steps)):
                self._busy.setdefault(name, self._line)
        for step in cast("list[Any]", steps):
            self._check_step(step, depth)

    def _check_step(self, step: object, depth: int) -> None:
        if isinstance(step, dict):
            self._check_pause(cast("dict[str, Any]", step))
            return
        if not isinstance(step, list):
            if type(step) not in (int, float) or not 0 <= cast("float", step) <= SECONDS_MAX:
                self._refuse(
                    f"has the step {step!r}: seconds, a pause or a list of calls is expected"
                )
            return
        for call in cast("list[Any]", step):
            if not isinstance(call, dict):
                self._refuse(f"has {call!r} where a call is expected")
            self._check_call(cast("dict[str, Any]", call), depth + 1)

    def _check_pause(self, step: dict[str, Any]) -> None:
        if list(step) != ["pause"]:
            self._refuse(f'has the step {step!r}: {{"pause": SECONDS}} is expected')
        self._number(step, "pause", required=True)

    def _number(self, given: dict[str, Any], name: str, *, required: bool = False) -> None:
        value = given.get(name)
        if value is None and not required:
            return
        if type(value) not in (int, float) or not 0 <= cast("float", value) <= SECONDS_MAX:
            self._refuse(f"has {name} = {value!r}; seconds are expected")

    def _refuse(self, why: str) -> NoReturn:
        raise UsageError(f"line {self._line} of the workload {self._path} {why}")
