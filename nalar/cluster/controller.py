"""The global controller: sees, decides, directs. Several may run; one leads, the others are warm.

Nothing waits for it. With none alive workers obey what stands, and work goes on. All it knows it
rebuilds from reports and the control bucket.
"""

import asyncio
import contextlib
import logging
import math
import os
import socket
from collections.abc import Awaitable, Callable, Collection, Generator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, TypeVar

from nalar.backend import Backend
from nalar.clock import Clock
from nalar.cluster.arbiter import Granted
from nalar.cluster.journal import Journal, describe
from nalar.cluster.leadership import LEASE_S, Leadership
from nalar.cluster.mind import Mind, Thought
from nalar.cluster.policy_runner import PolicyRunner
from nalar.cluster.policy_store import PolicyStore
from nalar.cluster.sources import Sources
from nalar.directives import (
    BY_HAND,
    Drain,
    Issued,
    Kill,
    Route,
    encode_directive,
    holds_up,
    key_of,
    lifetime_s,
)
from nalar.errors import Conflict, NalarError
from nalar.ids import new_name

log = logging.getLogger("nalar.controller")

_T = TypeVar("_T")

#: Between two decisions, in seconds.
PERIOD_S: Final = 0.5
#: What policies have directed to hold calls up stands for so many leases, and is renewed in time:
#: with no controller alive to take it back, calls would wait for good.
_HOLDS_LEASES: Final = 6
_RENEWED_LEASES: Final = 2
#: Directives that are put at the same time.
_TOGETHER: Final = 500


@dataclass(slots=True)
class Figures:
    """How the controller does, for who looks."""

    decisions: int = 0
    directed: int = 0
    #: The last decision: taking in what was new, deciding, publishing; in seconds.
    update_s: float = 0.0
    decide_s: float = 0.0
    publish_s: float = 0.0


class Controller:
    """One controller; `run` is all of it."""

    def __init__(
        self,
        backend: Backend,
        clock: Clock,
        *,
        name: str = "",
        period_s: float = PERIOD_S,
        lease_s: float = LEASE_S,
        mind: Mind | None = None,
    ) -> None:
        self.name = name or new_name("c", os.urandom(5))
        self._clock = clock
        self._control = backend.control
        self._period_s = period_s
        self._lease_s = lease_s
        #: When what holds calls up was renewed.
        self._renewed_s = -math.inf
        self.mind = mind or Mind()
        self.sources = Sources(backend, self.mind)
        self.policies = PolicyRunner(PolicyStore(backend.control, clock), self.mind, clock, lease_s)
        self._told: dict[str, object] = {
            "name": self.name, "host": socket.gethostname(), "pid": os.getpid(),
        }  # fmt: skip
        self.leadership = Leadership(backend.control, clock, self._told, lease_s=lease_s)
        self._journal = Journal(backend.control)
        #: Epoch and version for which nothing stands any more that an older set had directed.
        self._swept: tuple[int, int] = (0, 0)
        self.figures = Figures()

    async def run(
        self, policies: Sequence[str] = (), *, ready: Callable[[], None] = lambda: None
    ) -> None:
        """Control until cancelled; `policies` are applied first, else those that stand run.

        `ready` is called once it sees the cluster, whether it leads or not.
        Raises UsageError for policies that cannot be meant, Unavailable without a server.
        """
        if policies:
            await self.policies.apply(policies)
        in_order = False
        try:
            await self.sources.begin()
            self.policies.begin()
            ready()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.sources.run())
                tasks.create_task(self.policies.run())
                tasks.create_task(self._lead())
                tasks.create_task(self._decide())
        except asyncio.CancelledError:
            in_order = True  # Whatever else it ends by may be the doing of its policies.
            raise
        finally:
            self.sources.close()
            self.policies.close()
            self.mind.close()
            with contextlib.suppress(NalarError):
                if in_order:
                    await self.policies.end()
            with contextlib.suppress(NalarError):
                await self.leadership.give_up()

    async def _lead(self) -> None:
        while True:
            figures = self.figures
            self._told |= {
                "version": self.policies.version, "decisions": figures.decisions,
                "directed": figures.directed, "workers": len(self.mind.view.workers),
                "loop_ms": round(
                    1_000 * (figures.update_s + figures.decide_s + figures.publish_s), 3
                ),
            }  # fmt: skip
            try:
                await self.leadership.keep()
                await self.policies.beat()
            except NalarError as error:
                log.warning("the lease cannot be kept: %s", error)
            await asyncio.sleep(self._lease_s / 3)

    async def _decide(self) -> None:
        """Decide at each period, as long as this controller leads."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            epoch = self.leadership.epoch
            decide = self.policies.lead(epoch) and self.sources.is_complete()
            if epoch:
                await self._renew(epoch)
            thought = await self.mind.think(self._clock.now_s(), decide=decide)
            if decide and epoch == self.leadership.epoch:
                try:
                    await self._act(thought, epoch)
                except NalarError as error:
                    log.warning("what was decided cannot be published: %s", error)
            # A late decision does not make those after it come thick and fast.
            due_s = max(due_s + self._period_s, loop.time())
            await asyncio.sleep(due_s - loop.time())

    async def _act(self, thought: Thought, epoch: int) -> None:
        begun_s = asyncio.get_running_loop().time()
        version = self.policies.version
        self.policies.suspend(thought.suspended)
        await self.policies.roll_back()
        names = self.policies.names
        granted = [it for it in thought.verdict.granted if it.withdrawn or it.policy in names]
        granted += self._left_behind(epoch, {key_of(it.directive) for it in granted})
        published = await self._for_each(granted, epoch, lambda it: self._direct(it, epoch))
        granted = granted[:published]
        await self.policies.decided()
        figures = self.figures
        figures.decisions += 1
        figures.directed += len(granted)
        figures.update_s, figures.decide_s = thought.update_s, thought.decide_s
        figures.publish_s = asyncio.get_running_loop().time() - begun_s
        thought.verdict.granted = granted
        await self._journal.write(
            describe(
                thought.verdict, thought.suspended,
                at_s=self._clock.now_s(), epoch=epoch, version=version,
            )
        )  # fmt: skip

    def _left_behind(self, epoch: int, changed: Collection[str]) -> list[Granted]:
        """Return what policies have directed that run no longer, beside what changes anyway.

        In lots, so that no decision takes long; looks through all that stands until there is none,
        once for each set and leader. Sessions stay where they are: to move them all back at once
        would help nobody.
        """
        current = (epoch, self.policies.version)
        if self._swept == current:
            return []
        running = {BY_HAND, *self.policies.names}
        left = (
            Granted(it.issued.by, it.issued.directive, "its policy runs no longer", withdrawn=True)
            for key, it in self.sources.standing.items()
            if it.issued.by not in running
            and key not in changed
            and not isinstance(it.issued.directive, Route | Drain | Kill)
        )
        lot = list(islice(left, self.mind.bounds.changes_max))
        if not lot:
            self._swept = current
        return lot

    async def _direct(self, granted: Granted, epoch: int) -> None:
        """Put a directive, or take it back, unless somebody else was faster."""
        directive = granted.directive
        key = key_of(directive)
        stands = self.sources.standing.get(key)
        revision = 0 if stands is None else stands.revision
        if granted.withdrawn:
            with _unless_changed(key):
                await self._control.delete(key, expected=revision)
                self.sources.note(key, revision, None)
            return
        now_s = self._clock.now_s()
        issued = Issued(directive, granted.policy, granted.reason, now_s, epoch)
        await self._put(issued, revision)

    async def _renew(self, epoch: int) -> None:
        """Have what holds calls up stand for longer, now and then."""
        now_s = self._clock.now_s()
        if now_s - self._renewed_s < _RENEWED_LEASES * self._lease_s:
            return
        self._renewed_s = now_s
        theirs = [
            it
            for it in self.sources.standing.values()
            if it.issued.by != BY_HAND and holds_up(it.issued.directive)
        ]
        try:
            await self._for_each(
                theirs, epoch, lambda it: self._put(replace(it.issued, epoch=epoch), it.revision)
            )
        except NalarError as error:
            log.warning("what stands cannot be renewed: %s", error)

    async def _for_each(
        self, those: Sequence[_T], epoch: int, do: Callable[[_T], Awaitable[None]]
    ) -> int:
        """Do it for many at a time, as long as this controller leads; return for how many."""
        for start in range(0, len(those), _TOGETHER):
            if self.leadership.epoch != epoch:  # The next leader decides on what is left.
                return start
            await asyncio.gather(*map(do, those[start : start + _TOGETHER]))
        return len(those)

    async def _put(self, issued: Issued, revision: int) -> None:
        key = key_of(issued.directive)
        held_s = _HOLDS_LEASES * self._lease_s
        ttl_s = held_s if holds_up(issued.directive) else lifetime_s(issued.directive)
        with _unless_changed(key):
            put = await self._control.put(
                key, encode_directive(issued), expected=revision, ttl_s=ttl_s
            )
            self.sources.note(key, put, issued)


@contextlib.contextmanager
def _unless_changed(key: str) -> Generator[None]:
    try:
        yield
    except Conflict:
        log.debug("%s was changed by somebody else meanwhile", key)
