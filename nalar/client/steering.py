"""Steering workers by hand: directives that a person, or a program of his, puts and withdraws."""

import contextlib
from dataclasses import dataclass

from nalar.client.holds import Hold, holds
from nalar.clock import Clock
from nalar.controllers.registering import live_workers
from nalar.controllers.roster import LEASES
from nalar.directives import (
    BY_HAND,
    DIRECTIVE,
    Directive,
    Issued,
    Route,
    decode_directive,
    encode_directive,
    flaw,
    key_of,
    lifetime_s,
)
from nalar.errors import MalformedMessage, UsageError
from nalar.ids import AgentName, SessionId, WorkerId
from nalar.statestore.port import KeyValue


@dataclass(frozen=True, slots=True)
class Standing:
    """A directive as it stands."""

    key: str
    revision: int
    issued: Issued


class Steering:
    """Puts directives, and lists those that stand."""

    def __init__(self, control: KeyValue, clock: Clock) -> None:
        self._control = control
        self._clock = clock

    async def direct(
        self,
        directive: Directive,
        reason: str = "",
        *,
        by: str = BY_HAND,
        stands_s: float | None = None,
    ) -> int:
        """Have workers obey `directive` from now on; return its revision.

        It stands for `stands_s` seconds. Without that, those about one worker, session or request
        expire after an hour; the others stand until withdrawn. Raises UsageError for values that
        no directive may have.
        """
        if wrong := flaw(directive):
            raise UsageError(f"{type(directive).__name__} cannot have {wrong}")
        now_s = self._clock.now_s()
        until_s = 0.0 if stands_s is None else now_s + stands_s
        issued = Issued(directive, by, reason, now_s, until_s=until_s)
        ttl_s = lifetime_s(directive) if stands_s is None else stands_s
        return await self._control.put(key_of(directive), encode_directive(issued), ttl_s=ttl_s)

    async def owners(self, agent: AgentName) -> dict[WorkerId, list[int]]:
        """Return the workers that serve an agent's sessions, each with its slots."""
        owned: dict[WorkerId, list[int]] = {}
        for entry in await self._control.scan(f"{LEASES}.{agent}"):
            owner = WorkerId((entry.value or b"").decode())
            owned.setdefault(owner, []).append(int(entry.key.rpartition(".")[2]))
        return owned

    async def migrate(
        self, agent: AgentName, session: SessionId, worker: WorkerId, reason: str = ""
    ) -> Route:
        """Serve a session in a slot that `worker` owns from now on; return the route.

        Raises UsageError when it owns none: who serves the agent is named.
        """
        owned = await self.owners(agent)
        if worker not in owned:
            others = ", ".join(sorted(owned)) or "nobody"
            raise UsageError(f"{worker} owns no sessions of {agent}; owned by: {others}")
        route = Route(agent, session, min(owned[worker]))
        await self.direct(route, reason)
        return route

    async def withdraw(self, directive: Directive) -> bool:
        """Take the directive back that stands under the key of this one; False if none does."""
        key = key_of(directive)
        stands = await self._control.get(key) is not None
        await self._control.delete(key)
        return stands

    async def standing(self) -> list[Standing]:
        """Return the directives that stand, by key; what cannot be read is left out."""
        found: list[Standing] = []
        for entry in await self._control.scan(DIRECTIVE):
            with contextlib.suppress(MalformedMessage):
                issued = decode_directive(entry.key, entry.value or b"")
                found.append(Standing(entry.key, entry.revision, issued))
        return found

    async def holds(self) -> list[Hold]:
        """Return what keeps calls from starting, or requests out, as directives stand."""
        workers = await live_workers(self._control)
        return holds((it.issued for it in await self.standing()), workers)
