"""A workload small enough to be run live: its first requests, few workers, and faster time. Pure.

Requests are drawn as for the simulator and written out, so that it and real processes are asked
for the very same. Engines are as fast, and waits as short, as the scale says.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any, Final, cast

from nalar.sim.llm import LlmModel, Prompt
from nalar.sim.workload import AgentModel, Arrival, Call, Calls, Pause, Program, Size, Turn, Work
from nalar.sim.workloads import WORKLOADS

#: All that a call will do, as JSON: a number is so many seconds of work, an object a generation,
#: a list calls that are made at the same time and awaited.
Script = list[Any]

#: Engines of each agent that has more than one.
ENGINES: Final = {"LLM": 3, "Chat": 3, "Code": 3, "Planner": 2, "Developer": 3, "Tester": 2}
#: Calls at a time in the one worker of all agents without an engine: what they do is wait.
WIDE: Final = 512


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asks, after having thought for so long."""

    after_s: float
    agent: str
    session: str
    tenant: str
    script: Script


@dataclass(frozen=True, slots=True)
class User:
    """One user, with all that this one will ask."""

    at_s: float
    requests: tuple[Request, ...]

    @property
    def times_s(self) -> list[float]:
        """When each request would be made if answers took no time."""
        return [self.at_s + it for it in accumulate(it.after_s for it in self.requests)]

    def until(self, until_s: float) -> "User":
        """Return the same user, who asks nothing after that."""
        return User(self.at_s, self.requests[: sum(it <= until_s for it in self.times_s)])


class Compressed:
    """A workload up to so many requests: then nobody comes, and nobody asks again."""

    def __init__(self, name: str, rate: float, requests: int, scale: float, seed: int) -> None:
        self.name = name
        self._requests = requests
        self._scale = scale
        self._drawn = WORKLOADS[name](Size(rate, 1, seed=seed))

    def agents(self) -> list[AgentModel]:
        """Return the agents: each engine in a worker of its own, all others in one more."""
        models = self._drawn.agents()
        host = next(it.name for it in models if it.llm is None)
        return [self._agent(model, host) for model in models]

    def arrivals(self) -> Iterator[Arrival]:
        """Return the users as the simulator has them."""
        return (Arrival(user.at_s, _driver(user)) for user in self.users)

    @cached_property
    def users(self) -> list[User]:
        """The users, with all that they ask written out."""
        users: list[User] = []
        asked_s: list[float] = []
        for arrival in self._drawn.arrivals():
            at_s = arrival.at_s / self._scale
            users.append(User(at_s, tuple(self._asked(arrival.driver))))
            asked_s += users[-1].times_s
            if sum(it <= at_s for it in asked_s) >= self._requests:
                break
        return [user.until(users[-1].at_s) for user in users]

    def _agent(self, model: AgentModel, host: str) -> AgentModel:
        if model.llm is not None:
            workers = 0 if model.beside else ENGINES.get(model.name, 1)
            start_s = model.start_s / self._scale
            return replace(model, workers=workers, llm=self._engine(model.llm), start_s=start_s)
        if model.name == host:
            return replace(model, workers=1, concurrency=WIDE)
        return replace(model, workers=0, concurrency=WIDE, beside=host)

    def _engine(self, model: LlmModel) -> LlmModel:
        return replace(
            model,
            step_s=model.step_s / self._scale,
            sequence_s=model.sequence_s / self._scale,
            kv_token_s=model.kv_token_s / self._scale,
            prefill_tokens_per_s=model.prefill_tokens_per_s * self._scale,
        )

    def _asked(self, driver: Program) -> Iterator[Request]:
        after_s = 0.0
        for step in driver:
            match step:
                case Pause(seconds):
                    after_s = seconds / self._scale
                case Turn(call, tenant):
                    assert call.agent is not None, "users ask agents"
                    script = self._script(call.program)
                    yield Request(after_s, call.agent, call.session, tenant, script)
                case _:
                    raise AssertionError("users think and ask, and nothing else")

    def _script(self, program: Program) -> Script:
        # Depth first, step by step: what is drawn depends on what was drawn before.
        return [self._told(step) for step in program]

    def _told(self, step: object) -> object:
        match step:
            case Work(seconds):
                return seconds / self._scale
            case Prompt():
                return asdict(step)
            case Calls(calls):
                return [
                    {"agent": it.agent, "priority": it.priority, "script": self._script(it.program)}
                    for it in calls
                ]
            case _:
                raise AssertionError(f"calls do not make {step}")


def _driver(user: User) -> Program:
    for asked in user.requests:
        if asked.after_s:
            yield Pause(asked.after_s)
        yield Turn(Call(asked.agent, _program(asked.script), asked.session), asked.tenant)


def _program(script: Script) -> Program:
    for step in script:
        if isinstance(step, list):
            told = cast("list[dict[str, Any]]", step)
            yield Calls(
                tuple(
                    Call(it["agent"], _program(it["script"]), priority=it["priority"])
                    for it in told
                )
            )
        elif isinstance(step, dict):
            yield Prompt(**cast("dict[str, Any]", step))
        else:
            yield Work(step)
