"""The lanes that a worker shares with others: open as long as its weight lets it take calls.

What was asked for under another weight is taken back: a lane is closed, and opened anew.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Protocol

from nalar.bus.subjects import SHARED_LANES
from nalar.controllers.weights import Weights
from nalar.errors import NalarError
from nalar.ids import AgentName, WorkerId

log = logging.getLogger("nalar.worker")

#: How long to wait before lanes that could not be opened are tried again, in seconds.
_AGAIN_S: Final = 1.0


class OpenLane(Protocol):
    """Begins to pull from a lane; does nothing where it is open already."""

    async def __call__(
        self, agent: AgentName, lane: str, rank: int, *, share: float = 1.0
    ) -> None: ...


class SharedLanes:
    """Keeps one worker's shared lanes to the weights that stand."""

    def __init__(
        self,
        worker: WorkerId,
        weights: Weights,
        open_: OpenLane,
        close: Callable[[str], Awaitable[None]],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._worker = worker
        self._weights = weights
        self._open = open_
        self._close = close
        self._spawn = spawn
        #: By which share the lanes of each agent are open; None: not yet.
        self.shares: dict[AgentName, float | None] = {}
        #: One change at a time: what one has opened, another must not close half-way.
        self._turn = asyncio.Lock()
        self._retired = False

    async def serve(self, agent: AgentName) -> None:
        """Take calls of an agent, by the worker's weight."""
        async with self._turn:
            self.shares.setdefault(agent, None)
            await self._keep(agent)

    def weighed(self, agent: AgentName) -> None:
        """The agent's weights have changed: follow them soon."""
        self._spawn(self._follow(agent))

    async def retire(self) -> None:
        """Open nothing more: the worker is about to leave."""
        async with self._turn:
            self._retired = True

    async def _follow(self, agent: AgentName) -> None:
        while True:
            try:
                async with self._turn:
                    if agent in self.shares and not self._retired:
                        await self._keep(agent)
            except NalarError as error:
                log.warning("lanes of %s are not open yet: %s", agent, error)
                await asyncio.sleep(_AGAIN_S)
            else:
                return

    async def _keep(self, agent: AgentName) -> None:
        share = self._weights.share(agent, self._worker)
        if self.shares[agent] == share:
            return
        self.shares[agent] = None
        for lane in SHARED_LANES:
            await self._close(f"{agent}/{lane}")
        if share:
            for rank, lane in enumerate(reversed(SHARED_LANES)):
                await self._open(agent, lane, rank, share=share)
        self.shares[agent] = share
