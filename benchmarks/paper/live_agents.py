"""Agents that do what a script says, and an engine that takes time and computes nothing."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, replace
from typing import Any, cast

import nalar
from benchmarks.paper.compressed import Script
from benchmarks.paper.live_placing import Sent, workers_of
from benchmarks.paper.live_plan import Plan
from nalar.sim.llm import LlmEngine, LlmModel, Prompt
from nalar.sim.workload import AgentModel

_Stub = Callable[[Script], nalar.Future[float]]


class Engine:
    """The simulator's model of an engine, by the clock of this process."""

    def __init__(self, model: LlmModel) -> None:
        self._model = LlmEngine(model)
        self._loop = asyncio.get_running_loop()
        #: The model's clock begins here: near zero its sums are exact.
        self._began_s = self._loop.time()
        self._open: dict[str, asyncio.Future[None]] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._asked = 0

    async def generate(self, session: str, prompt: Prompt) -> None:
        """Return when a real engine would have written its answer."""
        self._catch_up()
        self._asked += 1
        key = str(self._asked)
        done = self._open[key] = self._loop.create_future()
        self._model.submit(key, session, prompt, self._now_s())
        self._set_alarm()
        await done

    def _now_s(self) -> float:
        return self._loop.time() - self._began_s

    def _catch_up(self) -> None:
        """Do what was due, at the times at which it was: an alarm that is late costs nothing."""
        now_s = self._now_s()
        while (due_s := self._model.next_s()) <= now_s:
            for key in self._model.advance(due_s):
                done = self._open.pop(key)
                if not done.done():
                    done.set_result(None)

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        due_s = self._model.next_s()
        if due_s < float("inf"):
            # Of no call: whose call sets it is chance.
            self._alarm = self._loop.call_at(self._began_s + due_s, self._due, context=Context())

    def _due(self) -> None:
        self._catch_up()
        self._set_alarm()


@dataclass(frozen=True, slots=True)
class Hosted:
    """Agents that share their worker processes."""

    host: AgentModel
    agents: tuple[str, ...]
    workers: int


class Cast:
    """The agents of a plan, declared in this process.

    Under the names of their models, any of whose workers takes a call; or, where callers choose
    among engines, each engine under a name of its own.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        models = plan.drawn().agents()
        placement = plan.placement
        self._sent = None if placement is None else Sent(models, placement)
        #: Agents among whose engines callers choose.
        self._engines = {it.name for it in models if it.llm is not None and self._sent is not None}
        self._ranks, self._priorities = plan.ranks, plan.priorities
        self._stubs: dict[str, Any] = {}
        #: Those that share their workers, by name.
        self.hosted: dict[str, Hosted] = {}
        self._engine: Engine | None = None
        for model in models:
            if model.name in self._engines:
                for name in workers_of(model):
                    self._declare(name, replace(model, stateful=False))
                    self.hosted[name] = Hosted(model, (name,), 1)
                continue
            self._declare(model.name, model)
            known = self.hosted.get(model.host, Hosted(model, (), model.workers))
            self.hosted[model.host] = replace(known, agents=(*known.agents, model.name))

    def ask(self, agent: str, script: Script, **options: Any) -> nalar.Future[float]:
        """Call an agent; options that are None or empty are those of the caller."""
        given = {name: value for name, value in options.items() if value not in (None, "")}
        return cast("_Stub", self._stubs[agent].options(**given))(script)

    def _declare(self, name: str, model: AgentModel) -> None:
        play = self._play
        if not model.stateful:

            @nalar.tool(name=name)
            async def tool(script: list[Any]) -> float:
                return await play(script, model)

            self._stubs[name] = tool
            return

        class Sessions(nalar.Agent, stateful=True, name=name):
            @nalar.method(read_only=not model.exclusive)
            async def run(self, script: list[Any]) -> float:
                return await play(script, model)

        self._stubs[name] = Sessions.run

    async def _play(self, script: Script, model: AgentModel) -> float:
        """Do what a script says; return for how long an engine of this process was at it."""
        spent_s = 0.0
        for step in script:
            began_s = asyncio.get_running_loop().time()
            if isinstance(step, list):
                await asyncio.gather(*[self._call(it, model) for it in cast("list[Any]", step)])
            elif isinstance(step, dict):
                assert model.llm is not None, "only who has an engine generates"
                self._engine = self._engine or Engine(model.llm)
                prompt = Prompt(**cast("dict[str, Any]", step))
                await self._engine.generate(nalar.context().session, prompt)
                spent_s += asyncio.get_running_loop().time() - began_s
            else:
                await asyncio.sleep(step)
                self._served(step)
        return spent_s

    async def _call(self, told: dict[str, Any], model: AgentModel) -> None:
        agent, script = told["agent"], told["script"]
        if agent is None:
            await self._play(script, model)
            return
        call, priority = nalar.context(), told["priority"] if self._priorities else None
        if self._sent is None or agent not in self._engines:
            await self.ask(agent, script, priority=priority)
            return
        if self._ranks:
            priority = self._plan.level(self._sent.attained_s(call.ref.root))
        with self._sent.to(agent, call.session) as worker:
            self._served(await self.ask(worker, script, priority=priority))

    def _served(self, seconds: float) -> None:
        if self._sent is not None:
            self._sent.served(nalar.context().ref.root, seconds)
