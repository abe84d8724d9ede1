"""Ending held calls before they have a result: cancelled, or past their deadline.

The order matters. First the notice that covers the call's children, then its record, then the
acknowledgement; its code is told at the same time, and keeps its place until it has ended.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from nalar.agents.executor import Outcome
from nalar.backend import Backend
from nalar.calls.calls import Calls
from nalar.calls.cancel import put_notice
from nalar.calls.notices import Notices
from nalar.clock import Clock
from nalar.controllers.held import Held
from nalar.controllers.local_events import Why
from nalar.controllers.outcomes import cancelled, expired, not_started
from nalar.controllers.run import Runner
from nalar.errors import NalarError

log = logging.getLogger("nalar.worker")

#: A call whose end could not be stored is handed back for this long, in seconds.
_HAND_BACK_S = 1.0


class Stops:
    """Ends calls early, for one worker."""

    def __init__(
        self,
        backend: Backend,
        calls: Calls,
        runner: Runner,
        notices: Notices,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._backend = backend
        self._calls = calls
        self._runner = runner
        self._notices = notices
        self._clock = clock
        self._spawn = spawn

    def outcome(self, held: Held, why: Why) -> Outcome:
        """Return how a call ends that is stopped."""
        if why == "cancelled":
            return cancelled(held.invocation)
        if held.slot is None:
            return not_started(held.invocation, self._clock.now_s())
        return expired(held.invocation)

    def stop(self, held: Held, why: Why) -> None:
        """Commit the end of a call that has been started, and tell its code to stop."""
        held.stopping = self._spawn(self._end(held, self.outcome(held, why)))
        flag = held.stop_flag
        if flag is None:
            return  # Its code has not begun, and will not.
        flag.set(why)
        if flag.running and held.leaves_when_cancelled and held.task is not None:
            held.task.cancel()

    async def _end(self, held: Held, outcome: Outcome) -> None:
        try:
            await self.commit(held, outcome)
        except NalarError as error:
            log.warning("%s could not be ended, and comes again: %s", held.invocation.target, error)
            held.delivery.hand_back(_HAND_BACK_S)
        else:
            held.delivery.ack()

    async def commit(self, held: Held, outcome: Outcome) -> None:
        """Commit `outcome` for a call that has no result; what it has made is cancelled with it."""
        if outcome.status == "cancelled":
            await self._pass_on(held)
        await self._runner.commit(held, outcome)

    async def _pass_on(self, held: Held) -> None:
        """Give notice to the calls that this one may have made, unless one covers them."""
        ref = held.invocation.ref
        if ref.future in self._notices or ref.root in self._notices:
            return
        if held.suspect or self._calls.has_children(ref.future):
            now_s = self._clock.now_s()
            until_s = held.invocation.deadline
            await put_notice(self._backend, ref.root, ref.future, now_s, until_s)

    async def over(self, held: Held) -> None:
        """The code of a stopped call has ended: wait until its end is stored."""
        if held.slot is not None:
            held.slot.finish()
        if held.stopping is not None:
            await asyncio.wait([held.stopping])
