"""A node: one machine's supervisor of worker processes.

It keeps a pool for each group of agents that it offers to run, as large as `cluster.placement`
says. All nodes tell in the registry what they run, and each computes the same placement from what
all have told: nobody leads.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from nalar.backend import Backend
from nalar.cluster.fleet import PROVISIONS, Fleet
from nalar.cluster.nodes import NODES, Group, GroupState, NodeEntry, decode_node, encode_node
from nalar.cluster.placement import Placement, place, to_hold
from nalar.controllers.pulse import BEATS, Entry
from nalar.errors import Conflict, MalformedMessage, NalarError, UsageError
from nalar.ids import new_name
from nalar.loops import set_within
from nalar.processes.child import StopSignals
from nalar.processes.place import Command
from nalar.processes.pool import Pool
from nalar.settings import Settings
from nalar.statestore.port import KeyValueEntry

log = logging.getLogger("nalar.processes.node")

#: A notice may be lost: in so many signs of life the registry is read once.
_LISTED_EVERY: Final = BEATS


@dataclass(frozen=True, slots=True)
class Offer:
    """A group that a node can run, and the command of its workers."""

    group: Group
    command: Command


class Node:
    """Runs what is this machine's to run, until it is told to stop."""

    def __init__(
        self, backend: Backend, settings: Settings, about: NodeEntry, stop: StopSignals
    ) -> None:
        self._control = backend.control
        self._pause_s = settings.lease_s / BEATS
        #: What we tell of ourselves, as it was told last.
        self._about = about
        self._entry = Entry(
            backend.control, f"{NODES}.{about.node}", settings.lease_s, self._is_ours
        )
        self._stop = stop
        self._fleet = Fleet()
        self._offers: dict[str, Offer] = {}
        self._pools: dict[str, Pool] = {}
        #: Pools that drain since nobody offers what they run any more, or not as they run it.
        self._draining: set[asyncio.Task[None]] = set()
        self._stale = True
        self._wake = asyncio.Event()
        self._told = b""
        self._short: dict[str, int] = {}
        backend.on_reconnect(self._doubt)

    @property
    def name(self) -> str:
        return self._about.node

    def offer(self, offers: Sequence[Offer]) -> None:
        """Offer to run these groups from now on; others drain.

        A group whose command is another one gets fresh workers in the place of those that run.
        """
        if self._about.leaving:
            return
        before, self._offers = self._offers, {it.group.key: it for it in offers}
        sizes: dict[str, int] = {}
        for key, old in before.items():
            new = self._offers.get(key)
            if new is None or new.command != old.command:
                sizes[key] = self._pools[key].count
                self._retire(key)
        for key, new in self._offers.items():
            if key not in self._pools:
                self._pools[key] = Pool(new.command, 0, self._stop, changed=self._wake.set)
                if sizes.get(key):  # Successors start while the others drain.
                    self._pools[key].resize(sizes[key])
        self._wake.set()

    def renew(self) -> None:
        """Start fresh workers, with the code as it is now, in the place of those that run."""
        for pool in self._pools.values():
            pool.renew()

    async def run(self, offers: Sequence[Offer]) -> None:
        """Run what is ours to run until the user asks to stop; then let it drain.

        Raises UsageError when another node of this name is alive.
        """
        if not await self._take_name():
            return
        self.offer(offers)
        watches = [self._control.watch(prefix, self._heard) for prefix in (NODES, PROVISIONS)]
        try:
            await self._keep_on()
        finally:
            for watch in watches:
                watch.close()
            await self._leave()

    # Among others.

    async def _take_name(self) -> bool:
        """Make sure that no other node has our name; False when the user asks to stop first."""
        key = f"{NODES}.{self.name}"
        stands = await self._control.get(key)
        if stands is None or (other := _node(stands)) is None:
            return True
        if other.host == self._about.host and not _is_alive(other.pid):
            await self._control.delete(key)
            return True
        log.info("a node %s is or was there, process %d of %s", self.name, other.pid, other.host)
        lapsed = asyncio.get_running_loop().time() + self._pause_s * BEATS
        while (again := await self._control.get(key)) is not None:
            late = asyncio.get_running_loop().time() > lapsed
            if again.revision != stands.revision or late:
                raise self._taken(other)
            if await set_within(self._stop.asked, self._pause_s / 2):
                return False
        return True

    def _taken(self, other: NodeEntry | None = None) -> UsageError:
        who = "" if other is None else f", process {other.pid} of {other.host}"
        return UsageError(
            f"a node named {self.name} is alive{who}: give this one another name (--name, or name "
            "under [node] in nalar.toml)"
        )

    def _is_ours(self, value: bytes) -> bool:
        """Say whether an entry under our name is our own."""
        with contextlib.suppress(MalformedMessage):
            return decode_node(value).instance == self._about.instance
        return False

    def _heard(self, entry: KeyValueEntry) -> None:
        if self._fleet.take(entry):
            self._wake.set()

    def _doubt(self) -> None:
        """Notices may have been lost: read the registry again."""
        self._stale = True
        self._wake.set()

    async def _list(self) -> None:
        since = self._fleet.newest
        for prefix in (NODES, PROVISIONS):
            self._fleet.put_right(prefix, await self._control.scan(prefix), since=since)
        self._stale = False

    async def _keep_on(self) -> None:
        clock = asyncio.get_running_loop().time
        # Tell before starting anything: who begins beside us must know of us.
        await self._tell(due=True)
        beaten_at, beats = clock(), 0
        while not self._stop.asked.is_set():
            due = clock() - beaten_at >= self._pause_s
            if due:
                beaten_at, beats = clock(), beats + 1
                self._stale = self._stale or beats % _LISTED_EVERY == 0
            try:
                await self._turn(due=due)
            except UsageError:
                raise
            except NalarError as error:
                # Without the server what runs goes on.
                log.debug("%s tries again: %s", self.name, error)
            await self._next(max(0.0, beaten_at + self._pause_s - clock()))

    async def _turn(self, *, due: bool) -> None:
        if self._stale:
            await self._list()
        self._act()
        await self._tell(due=due)

    async def _next(self, pause_s: float) -> None:
        """Wait for news, a stop, or for so long."""
        loop = asyncio.get_running_loop()
        waits = [loop.create_task(it.wait()) for it in (self._wake, self._stop.asked)]
        try:
            await asyncio.wait(waits, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            self._wake.clear()

    # What to run.

    def _act(self) -> None:
        """Run what is ours to run by all that is known."""
        own = self._about = self._described()
        others = [it for name, it in self._fleet.nodes.items() if name != self.name]
        placement = place([own, *others], self._fleet.provisioned)
        for key, count in to_hold(placement, [own, *others], self.name).items():
            pool = self._pools[key]
            if pool.count != count:
                name, now = own.groups[key].group.name, pool.count
                log.info("workers of %s: %d instead of %d", name, count, now)
                pool.resize(count)
        self._say_short(placement)

    def _say_short(self, placement: Placement) -> None:
        short = {key: n for key, n in placement.missing.items() if key in self._offers}
        for key, missing in short.items():
            if self._short.get(key) != missing:
                log.warning(
                    "no room for %d of %d workers of %s (`nalar nodes ls`)",
                    missing, placement.wanted[key], self._offers[key].group.name,
                )  # fmt: skip
        self._short = short

    def _described(self) -> NodeEntry:
        groups: dict[str, GroupState] = {}
        for key, offer in self._offers.items():
            pool = self._pools[key]
            trouble = pool.trouble()
            groups[key] = GroupState(
                offer.group,
                pool.count,
                len(pool.serving()),
                "" if trouble is None else trouble.ending,
                0 if trouble is None else trouble.failures,
            )
        return replace(self._about, groups=groups)

    async def _tell(self, *, due: bool) -> None:
        """Write our entry if it is another one, or a sign of life is due."""
        self._about = self._described()
        told = encode_node(self._about)
        if due or told != self._told:
            try:
                stood = await self._entry.renew(told)
            except Conflict:
                # We were frozen or cut off, and another of our name has come.
                raise self._taken() from None
            if not stood and self._told:
                log.warning("%s: others took this node for dead, and run its share", self.name)
            self._told = told

    # Going.

    def _retire(self, key: str) -> None:
        task = asyncio.get_running_loop().create_task(self._pools.pop(key).stop())
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)

    async def _leave(self) -> None:
        """Say that others are to do what we did, let the workers drain, and go."""
        self._about = replace(self._described(), leaving=True)
        count = sum(pool.count for pool in self._pools.values())
        log.info("%s leaves, draining workers=%d", self.name, count)
        for key in list(self._pools):
            self._retire(key)
        telling = asyncio.get_running_loop().create_task(self._say_goodbye())
        try:
            while self._draining:
                await asyncio.wait(set(self._draining))
        finally:
            telling.cancel()
            await asyncio.wait({telling})
            stands = None
            with contextlib.suppress(NalarError):
                stands = await self._control.get(f"{NODES}.{self.name}")
            if stands is not None and self._is_ours(stands.value or b""):
                await self._entry.remove()

    async def _say_goodbye(self) -> None:
        while True:
            with contextlib.suppress(NalarError):
                await self._entry.renew(encode_node(self._about))
            await asyncio.sleep(self._pause_s)


def _node(entry: KeyValueEntry) -> NodeEntry | None:
    with contextlib.suppress(MalformedMessage):
        return decode_node(entry.value or b"")
    return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def machine(name: str, max_workers: int, resources: dict[str, float]) -> NodeEntry:
    """Return what a node of this process tells of itself before it runs anything."""
    return NodeEntry(
        name,
        socket.gethostname(),
        os.getpid(),
        max_workers,
        resources,
        instance=new_name("", os.urandom(8)),
    )
