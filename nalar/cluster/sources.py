"""Where a controller's view comes from: reports, the registry, standing directives, the queues.

Notices keep it up to date; listings now and then, and after a lost connection, put it right. What
is heard goes to the mind, which takes it in before its next decision.
"""

import asyncio
import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import orjson

from nalar.backend import Backend
from nalar.bus.port import Watch
from nalar.cluster.mind import Mind
from nalar.cluster.view import ClusterView
from nalar.controllers.registering import AGENTS
from nalar.controllers.roster import WORKERS
from nalar.directives import DIRECTIVE, Issued, decode_directive
from nalar.errors import MalformedMessage, NalarError
from nalar.ids import AgentName, WorkerId
from nalar.loops import set_within
from nalar.reports import Report
from nalar.statestore.heard import Heard
from nalar.statestore.port import KeyValueEntry

log = logging.getLogger("nalar.controller")

#: How often the queues are looked at, in seconds.
_QUEUES_S: Final = 1.0
#: How long a listener that misses reports all the time rests between asking, at the most.
_ASK_MAX_S: Final = 30.0
#: How often registry and directives are listed, in case a notice was lost, in seconds.
_LIST_S: Final = 30.0
#: How long a newcomer waits for the reports of all workers before it decides without some.
_PATIENCE_S: Final = 6.0
#: Workers of an agent that sets no bound.
_INSTANCES_MAX: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Standing:
    """A directive as it stands."""

    revision: int
    issued: Issued


class Sources:
    """Feeds one mind from one backend."""

    def __init__(self, backend: Backend, mind: Mind) -> None:
        self._backend = backend
        self._control = backend.control
        self._mind = mind
        self.standing: dict[str, Standing] = {}
        self._told = Heard()
        self._workers: set[WorkerId] = set()
        self._agents: dict[AgentName, tuple[int, int]] = {}
        self._wake = asyncio.Event()
        self._listed_s = self._begun_s = float("-inf")
        #: A report was missed: told by the mind's thread.
        self._missed = False
        #: When it was asked for last, and how long not to ask again.
        self._asked_s, self._rest_s = float("-inf"), _QUEUES_S
        self._watches: list[Watch] = []
        backend.on_reconnect(self._doubt)

    def is_complete(self) -> bool:
        """Say whether all workers that are registered have reported, or had time to."""
        waited_s = asyncio.get_running_loop().time() - self._begun_s
        missing = self._workers - self._mind.view.workers.keys()
        return not missing or waited_s > _PATIENCE_S

    async def begin(self) -> None:
        """Hear, and list what stands; raises Unavailable."""
        self._begun_s = asyncio.get_running_loop().time()
        for prefix in (WORKERS, DIRECTIVE):
            self._watches.append(self._control.watch(prefix, self._heard))
        self._watches.append(self._backend.reports.watch(self._reported))
        await self._list()

    def close(self) -> None:
        """Hear nothing more."""
        for watch in self._watches:
            watch.close()

    async def run(self) -> None:
        """Look at the queues, list again, and ask for what was missed, until cancelled."""
        while True:
            await set_within(self._wake, _QUEUES_S)
            try:
                if self._mind.overrun or self._wake.is_set() or self._is_stale():
                    self._wake.clear()
                    self._mind.overrun = False
                    await self._list()
                self._ask_for_missed()
                await self._look_at_queues()
            except NalarError as error:
                log.warning("the cluster cannot be seen: %s", error)

    def _ask_for_missed(self) -> None:
        """Ask for all there is if something was missed; more rarely if that goes on.

        Who cannot keep up would be swamped by what it asks for.
        """
        now_s = asyncio.get_running_loop().time()
        if now_s - self._asked_s < self._rest_s:
            return
        self._rest_s = min(_ASK_MAX_S, 2 * self._rest_s) if self._missed else _QUEUES_S
        if self._missed:
            self._missed, self._asked_s = False, now_s
            self._backend.reports.ask()

    # Reports.

    def _reported(self, report: Report) -> None:
        self._mind.hear(partial(self._take, report))

    def _take(self, report: Report, view: ClusterView) -> None:
        """Take a report in: in the mind's thread."""
        if not view.take(report):
            self._missed = True

    # The control bucket.

    def _doubt(self) -> None:
        """Notices and reports may have been lost."""
        self._missed = True
        self._wake.set()

    def _is_stale(self) -> bool:
        return asyncio.get_running_loop().time() - self._listed_s > _LIST_S

    async def _list(self) -> None:
        self._listed_s = asyncio.get_running_loop().time()
        for entry in await self._control.scan(AGENTS):
            self._describe(entry)
        self._mind.bounds = replace(self._mind.bounds, agents=dict(self._agents))
        for prefix in (WORKERS, DIRECTIVE):
            since = self._told.newest
            listed = await self._control.scan(prefix)
            for entry in self._told.news(prefix, listed, since=since):
                self._apply(entry)
        self._mind.hear(partial(_forget_others, frozenset(self._workers)))

    def _heard(self, entry: KeyValueEntry) -> None:
        if self._told.note(entry.key, entry.revision):
            self._apply(entry)

    def _apply(self, entry: KeyValueEntry) -> None:
        kind, _, name = entry.key.partition(".")
        if kind == DIRECTIVE:
            self._stands(entry)
        elif entry.value:
            self._workers.add(WorkerId(name))
        else:
            self._workers.discard(WorkerId(name))
            self._mind.hear(partial(_forget, WorkerId(name)))

    def _stands(self, entry: KeyValueEntry) -> None:
        issued: Issued | None = None
        if entry.value:
            try:
                issued = decode_directive(entry.key, entry.value)
            except MalformedMessage as error:
                log.warning("a directive is left alone: %s", error)
        self.note(entry.key, entry.revision, issued)

    def note(self, key: str, revision: int, issued: Issued | None) -> None:
        """A directive stands from now on, or no longer."""
        self._told.note(key, revision)
        if issued is None:
            self.standing.pop(key, None)
        else:
            self.standing[key] = Standing(revision, issued)
        self._mind.hear(partial(_note, key, issued))

    def _describe(self, entry: KeyValueEntry) -> None:
        """Take an agent's hints in: how many workers it wants."""
        name = AgentName(entry.key.partition(".")[2])
        told = instances_of(entry.value or b"")
        if told is None:
            self._agents.setdefault(name, (0, _INSTANCES_MAX))
        else:
            self._agents[name] = told

    async def _look_at_queues(self) -> None:
        agents = sorted(self._agents)
        stores = (await self._backend.stores(agents))[-len(agents) :] if agents else []
        stored = {
            agent: 0 if store.error else store.messages
            for agent, store in zip(agents, stores, strict=True)
        }
        self._mind.hear(partial(_queued, stored))


def instances_of(value: bytes) -> tuple[int, int] | None:
    """Return how many workers a described agent wants, at least and at most; None if unknown."""
    try:
        hints = orjson.loads(value)["hints"]
        least, most = hints.get("min_instances"), hints.get("max_instances")
        return int(least or 0), int(most or _INSTANCES_MAX)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _forget(name: WorkerId, view: ClusterView) -> None:
    view.forget(name)


def _forget_others(registered: frozenset[WorkerId], view: ClusterView) -> None:
    """Forget workers that have reported and are not, or no longer, in the registry."""
    for name in [name for name in view.workers if name not in registered]:
        view.forget(name)


def _note(key: str, issued: Issued | None, view: ClusterView) -> None:
    if issued is None:
        view.standing.pop(key, None)
    else:
        view.standing[key] = issued


def _queued(stored: dict[AgentName, int], view: ClusterView) -> None:
    """Of the calls that a queue keeps, those that no worker holds are its backlog."""
    for agent, calls in stored.items():
        load = view.load(agent)
        held = load.queued + load.parked + load.running + load.waiting
        view.backlog[agent] = max(0, calls - held)
