"""Sending a failed call's next attempt: the shell of `agents.retry`."""

import logging
import random
from dataclasses import replace

from nalar.agents.executor import Outcome
from nalar.agents.retry import is_retryable, next_delay_s
from nalar.backend import Backend
from nalar.calls.routes import Routes
from nalar.clock import Clock
from nalar.controllers.held import Held
from nalar.controllers.outcomes import in_a_line

log = logging.getLogger("nalar.worker")


class Retries:
    """Decides and publishes, for one worker."""

    def __init__(
        self, backend: Backend, routes: Routes, clock: Clock, chance: random.Random
    ) -> None:
        self._backend = backend
        self._routes = routes
        self._clock = clock
        self._chance = chance

    async def sent(self, held: Held, outcome: Outcome) -> bool:
        """Publish the call's next attempt if `outcome` allows one; say whether it did.

        When it has, the message of this attempt may be acknowledged: the next one is stored. A
        crash before that leaves both, and whichever commits a record first ends the call. Raises
        Unavailable when nobody knows whether it is stored.
        """
        invocation, retry = held.invocation, held.retry
        if not is_retryable(retry, outcome.status, outcome.error, outcome.kinds):
            return False
        delay_s = next_delay_s(
            retry,
            invocation.attempt,
            self._chance.random(),
            retry_after_s=outcome.retry_after_s,
        )
        if delay_s is None:
            return False
        not_before = self._clock.now_s() + delay_s
        if not_before >= invocation.deadline:
            return False
        again = replace(
            invocation,
            attempt=invocation.attempt + 1,
            not_before=not_before,
            after=None,  # What it followed has ended, or it would not have run.
        )
        lane = self._routes.lane(again, stateful=held.agent.stateful)
        await self._backend.queue.publish(lane, again)
        log.warning(
            "%s failed, attempt %d of %d: %s; the next is in %.3g s",
            invocation.target, invocation.attempt, retry.max_attempts, in_a_line(outcome.error),
            delay_s,
        )  # fmt: skip
        return True
