"""Agents that do what a script says, and an engine that takes time and computes nothing."""

import asyncio
from collections.abc import Callable, Iterable
from contextvars import Context
from typing import Any, cast

import nalar
from benchmarks.paper.compressed import Script
from nalar.sim.llm import LlmEngine, LlmModel, Prompt
from nalar.sim.workload import AgentModel

_Stub = Callable[[Script], nalar.Future[None]]


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


class Cast:
    """The agents of a workload, declared in this process under the names of their models."""

    def __init__(self, models: Iterable[AgentModel], *, pinned: bool) -> None:
        self._pinned = pinned
        self._stubs: dict[str, Any] = {}
        #: Agents that each worker process serves, by the name of its first.
        self.served: dict[str, list[str]] = {}
        self._engine: Engine | None = None
        by_name = {model.name: model for model in models}
        for model in by_name.values():
            if pinned and model.beside and by_name[model.beside].stateful and model.llm:
                # What is read for a session is read where the session is.
                self._stubs[model.name] = self._stubs[model.beside]
                continue
            self._stubs[model.name] = self._declare(model)
            self.served.setdefault(model.host, []).append(model.name)

    def ask(self, agent: str, script: Script, **options: Any) -> nalar.Future[None]:
        """Call an agent; options that are None or empty are those of the caller."""
        given = {name: value for name, value in options.items() if value not in (None, "")}
        if self._pinned:
            given.pop("priority", None)
        return cast("_Stub", self._stubs[agent].options(**given))(script)

    def _declare(self, model: AgentModel) -> Any:
        if not model.stateful:

            @nalar.tool(name=model.name)
            async def tool(script: list[Any]) -> None:
                await self._play(script, model)

            return tool

        play = self._play

        class Sessions(nalar.Agent, stateful=True, name=model.name):
            @nalar.method(read_only=not model.exclusive)
            async def run(self, script: list[Any]) -> None:
                await play(script, model)

        return Sessions.run

    async def _play(self, script: Script, model: AgentModel) -> None:
        for step in script:
            if isinstance(step, list):
                await asyncio.gather(*[self._call(it, model) for it in cast("list[Any]", step)])
            elif isinstance(step, dict):
                assert model.llm is not None, "only who has an engine generates"
                self._engine = self._engine or Engine(model.llm)
                prompt = Prompt(**cast("dict[str, Any]", step))
                await self._engine.generate(nalar.context().session, prompt)
            else:
                await asyncio.sleep(step)

    async def _call(self, told: dict[str, Any], model: AgentModel) -> None:
        if told["agent"] is None:
            await self._play(told["script"], model)
            return
        await self.ask(told["agent"], told["script"], priority=told["priority"])
