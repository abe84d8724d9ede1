"""Suspending calls that wait for long, and looking after them: the shell of `suspend`.

In this order: what the call waits for is written down; all of it is read once more, for whoever
stored it before could not know; then its code is ended, and its message handed back for as long as
the wait may take. Whatever is stored after that wakes it (`nalar.calls.waking`). A crash in between
has the message delivered again, and the call goes on: the entry can only delay it while it holds.
"""

import asyncio
import contextlib
import math
from collections.abc import Iterable
from typing import Final

from nalar.backend import Backend
from nalar.bus.together import together
from nalar.calls.durable import Durable
from nalar.calls.suspended import Suspended, suspended_key
from nalar.calls.waking import has_come
from nalar.clock import Clock
from nalar.controllers.attending import attend
from nalar.controllers.held import Held, Postponed
from nalar.controllers.suspend import Patience, Rest, Resting, asleep_s
from nalar.errors import NalarError
from nalar.settings import Settings

#: How often calls that wait are looked at, at the least, in seconds.
_LOOK_MAX_S: Final = 1.0
#: Calls that are suspended at the same time.
_AT_ONCE: Final = 256
#: How much longer than its deadline a call is remembered as suspended, in seconds.
_KEPT_S: Final = 60.0


class Suspender:
    """Suspends the calls of one worker, and says of those that come again whether they go on."""

    def __init__(self, backend: Backend, settings: Settings, clock: Clock) -> None:
        attend(asyncio.get_running_loop())
        self._backend = backend
        self._clock = clock
        self._look_s = min(_LOOK_MAX_S, settings.suspend_after_s / 2)
        #: Set when a call has begun to wait: there is something to look at again.
        self.stirred = asyncio.Event()
        self._resting = Resting(
            Patience(settings.suspend_after_s, settings.suspend_on_calls_after_s)
        )

    async def run(self, held: dict[str, Held]) -> None:
        """Suspend what has waited for long among `held`, until cancelled."""
        while True:
            await self.stirred.wait()
            await asyncio.sleep(self._look_s)
            due = self._due(held.values())
            for start in range(0, len(due), _AT_ONCE):
                await together(self._suspend(it) for it in due[start : start + _AT_ONCE])

    def _due(self, held: Iterable[Held]) -> list[Held]:
        now_s = self._clock.now_s()
        waiting = [it for it in held if _may_be_suspended(it)]
        if not waiting:
            self.stirred.clear()
        self._resting.forget(frozenset(it.key for it in waiting))
        return [it for it in waiting if self._resting.due(it.key, _rest(it), now_s)]

    async def _suspend(self, held: Held) -> None:
        """Suspend a call unless something of it moves meanwhile."""
        living = held.living
        sleeping = self._described(held)
        if living is None or sleeping is None:
            return
        before, delivery = living.awaited(), held.delivery
        try:
            await self._write(sleeping)
            come = await has_come(self._backend, sleeping)
        except NalarError:
            come = True  # Not now.
        now_s = self._clock.now_s()
        if (
            come
            or living.awaited() != before
            or held.living is not living
            or held.delivery is not delivery
            or not _may_be_suspended(held)
        ):
            await self._remove(held)
            return
        held.asleep_s = asleep_s(sleeping, now_s, come=False)
        living.call.stop.set("suspended")
        assert held.task is not None, "a call that runs has a task"
        held.task.cancel()

    def _described(self, held: Held) -> Suspended | None:
        living = held.living
        if living is None or (awaited := living.awaited()) is None:
            return None
        idle = living.waits.idle()
        if idle is None:
            return None
        first_s = min((timer.until_s for timer in idle), default=math.inf)
        calls = {it.ref for it in awaited if it.ref is not None and not isinstance(it, Durable)}
        invocation = held.invocation
        return Suspended(
            ref=invocation.ref,
            target=invocation.target,
            lease=held.delivery.lease,
            since=self._clock.now_s(),
            until=min(first_s, invocation.deadline),
            calls=tuple(sorted(calls, key=str)),
            signals={token: living.waits.seen(token) for token in idle.values() if token},
            sleeps=first_s < invocation.deadline,
        )

    async def _write(self, sleeping: Suspended) -> None:
        ttl_s = max(1.0, sleeping.until - self._clock.now_s()) + _KEPT_S
        await self._backend.control.put(sleeping.key, sleeping.encode(), ttl_s=ttl_s)

    async def _remove(self, held: Held) -> None:
        ref = held.invocation.ref
        with contextlib.suppress(NalarError):
            await self._backend.control.delete(suspended_key(ref.root, ref.future))

    async def awoken(self, held: Held) -> bool:
        """Say whether a call that has come again was suspended, and is to go on.

        Raises Postponed for one that sleeps on, Unavailable when nobody knows.
        """
        ref = held.invocation.ref
        if held.delivery.deliveries == 1:
            return False
        entry = await self._backend.control.get(suspended_key(ref.root, ref.future))
        if entry is None or entry.value is None:
            return False
        sleeping = Suspended.decode(entry.value)
        now_s = self._clock.now_s()
        if sleeping is not None and now_s < sleeping.until:
            come = await has_come(self._backend, sleeping)
            delay_s = asleep_s(sleeping, now_s, come=come)
            if delay_s > 0:
                raise Postponed(delay_s)
        await self._remove(held)
        return sleeping is not None

    async def forget(self, held: Held) -> None:
        """The call has ended: nobody is to wake it."""
        ref = held.invocation.ref
        with contextlib.suppress(NalarError):
            if await self._backend.control.get(suspended_key(ref.root, ref.future)) is not None:
                await self._remove(held)


def _rest(held: Held) -> Rest | None:
    return None if held.living is None else held.living.rest()


def _may_be_suspended(held: Held) -> bool:
    """Say whether a call waits that nothing else hangs on: no session, thread, stream or limit."""
    return (
        held.living is not None
        and held.living.call.slot.waiting
        and held.asleep_s is None
        and held.stopping is None
        and held.invocation.ref.effect == "r"
        and held.spec.is_async
        and not held.spec.is_generator
        and held.timeout_s is None
    )
