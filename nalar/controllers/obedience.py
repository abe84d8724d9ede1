"""What a worker does when a directive stands, or no longer does."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from nalar.backend import Backend
from nalar.clock import Clock
from nalar.controllers.intake import Intake
from nalar.controllers.lanes import Credits
from nalar.controllers.local_events import Directed, Event, LaneLost
from nalar.controllers.preempting import preempt
from nalar.controllers.weights import Weights
from nalar.directives import Directive, Drain, Kill, Pause, Route, SetWeights, Shed, key_of
from nalar.ids import AgentName, SessionId, WorkerId
from nalar.statestore.sessions import Sessions


class Obedience:
    """Obeys directives, for one worker."""

    def __init__(  # noqa: PLR0913, PLR0917 -- what directives may change
        self,
        worker: WorkerId,
        backend: Backend,
        clock: Clock,
        intake: Intake,
        sessions: Sessions,
        credits_: Credits,
        feed: Callable[[Event], None],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._worker = worker
        self._control = backend.control
        self._clock = clock
        self._intake = intake
        self._sessions = sessions
        self._credits = credits_
        self._feed = feed
        self._spawn = spawn
        #: Agents that are to start nothing.
        self.paused: set[AgentName] = set()
        self.weights = Weights()
        #: Called with an agent whose weights have changed.
        self.on_weights: list[Callable[[AgentName], None]] = []
        #: Called when a directive ends this worker: at once, or once it has drained.
        self.on_end: list[Callable[[Drain | Kill], None]] = []

    def obey(self, directive: Directive, withdrawn: bool) -> None:
        """Do as the directive says from now on, or no longer."""
        match directive:
            case Route():
                # Handed back, they come again, and are passed on to where they belong now.
                elsewhere = self._intake.route(directive, withdrawn=withdrawn)
                self._feed(LaneLost(elsewhere))
                held = self._intake.held
                preempt(held[key] for key in elsewhere if key in held)
                self._spawn(self._give_up(directive.agent, directive.session))
            case SetWeights(agent):
                self.weights.obey(directive, withdrawn=withdrawn)
                for notify in self.on_weights:
                    notify(agent)
            case Shed():
                self._intake.admission.obey(directive, withdrawn)
            case Drain() | Kill():
                if directive.worker == self._worker and not withdrawn:
                    self._spawn(self._end(directive))
            case _:
                if isinstance(directive, Pause):
                    (self.paused.discard if withdrawn else self.paused.add)(directive.agent)
                    self._credits.mute(f"{directive.agent}/", muted=not withdrawn)
                self._feed(Directed(directive, withdrawn=withdrawn))

    def stop_preemptable(self) -> None:
        """Stop what may run elsewhere: this worker drains."""
        preempt(self._intake.held.values())

    async def _give_up(self, agent: AgentName, session: SessionId) -> None:
        """Forget our copy of a session, and write its snapshot for whoever has it next."""
        # Also while a call runs on it, and where the session comes to: it may have been here
        # before, and a copy that was left, or is being loaded, is old by now.
        known = self._sessions.drop_session(agent, session)
        lock = f"{agent}/{session}"
        held = self._intake.held.values()
        if known is not None and all(it.invocation.lock != lock for it in held):
            await self._sessions.save(known, self._clock.now_s())

    async def _end(self, directive: Drain | Kill) -> None:
        # Obeyed once: another worker of this name must not find it.
        await self._control.delete(key_of(directive))
        for notify in self.on_end:
            notify(directive)
