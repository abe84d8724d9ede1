"""Keeps what runs to the newest set of policies: swaps them in motion, rolls faulty ones back.

Only the leader loads them: code that is the end of a process is to be that of one at a time.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from nalar.bus.port import Watch
from nalar.clock import Clock
from nalar.cluster.loading import make_policy
from nalar.cluster.mind import Mind
from nalar.cluster.policy import Policy
from nalar.cluster.policy_set import BY_START, PolicySet, canonical, is_to_start, without
from nalar.cluster.policy_store import PolicyStore
from nalar.cluster.tenure import PROVEN_DECISIONS, Tenure, begin, suspects
from nalar.cluster.watchdog import Overdue, WatchedThread
from nalar.errors import Conflict, NalarError, Unavailable, UsageError
from nalar.ids import new_name
from nalar.loops import set_within

log = logging.getLogger("nalar.controller")

#: Who applies a set in place of one with a faulty policy.
BY_CONTROLLER: Final = "controller"
#: How often the newest set is looked for, in case a notice was lost, in seconds.
_LOOK_S: Final = 15.0
#: How long loading a policy may take: a file of the user's own is run for it, in seconds.
_LOAD_S: Final = 10.0
#: So many sets, one after the other, are taken back before it is tried anew.
_REPLACED_MAX: Final = 5
#: When it is tried again to read what stands, in seconds.
_AGAIN_S: Final = 1.0


class PolicyRunner:
    """Gives the mind its policies."""

    def __init__(self, store: PolicyStore, mind: Mind, clock: Clock, lease_s: float) -> None:
        self._store = store
        self._mind = mind
        self._clock = clock
        #: This process, among all that ever ran policies.
        self._who = new_name("t", os.urandom(8))
        self._lease_s = lease_s
        #: In which it leads; 0: it does not.
        self._epoch = 0
        #: As the leader it has loaded what stands.
        self._loaded = False
        self._loading = asyncio.Lock()
        self._tenure: Tenure | None = None
        #: Decisions with the set that runs.
        self._decisions = 0
        self._running: dict[str, Policy] = {}
        self._loader = WatchedThread("nalar-loading")
        self._changed = asyncio.Event()
        self._watch: Watch | None = None
        #: The set that runs; 0: none was ever applied.
        self.version = 0
        #: Policies of that set that run no longer, and why.
        self.suspended: dict[str, str] = {}
        #: Those of them that are still in the newest set.
        self._faulty: dict[str, str] = {}

    @property
    def names(self) -> list[str]:
        """What runs, in order."""
        return [name for name, _ in self._mind.policies]

    async def apply(self, policies: Sequence[str]) -> None:
        """Have these run, unless that was done before and others were applied since.

        Raises UsageError, before anything has changed, if one cannot.
        """
        for text in policies:
            await self._make(text)
        history = await self._store.history()
        if is_to_start(history, canonical(policies)):
            await self._store.apply(policies, by=BY_START, note="as a controller was started")
        elif history[-1].policies != canonical(policies):
            log.warning(
                "version %d stands, applied by %s since a controller was started with these "
                "policies; 'nalar policy apply %s' has them run again",
                history[-1].version, history[-1].by, " ".join(policies),
            )  # fmt: skip

    def begin(self) -> None:
        """Hear of new sets."""
        self._watch = self._store.watch(self._changed.set)

    def lead(self, epoch: int) -> bool:
        """Say in which epoch this controller leads, 0 for none; return whether it runs its set."""
        if epoch != self._epoch:
            self._epoch, self._loaded = epoch, False
            self._changed.set()
        return self._loaded

    async def beat(self) -> None:
        """Say that this process is alive: one that has only lost its lease was not lost."""
        await self._store.beat(self._who, self._lease_s)

    async def run(self) -> None:
        """As the leader take each new set in, until cancelled."""
        while True:
            await set_within(self._changed, _LOOK_S)
            self._changed.clear()
            try:
                if self._epoch:
                    await self._take()
            except NalarError as error:
                log.warning("policies cannot be read: %s", error)
                await asyncio.sleep(_AGAIN_S)
                self._changed.set()

    async def decided(self) -> None:
        """The policies have made a decision, and this process is still there."""
        self._decisions += 1
        if self._decisions < PROVEN_DECISIONS or self._tenure is None or self._tenure.proven:
            return
        async with self._loading:  # The tenure of a set that is being loaded is another one.
            tenure = self._tenure
            if tenure.version == self.version and self._decisions >= PROVEN_DECISIONS:
                await self._note(replace(tenure, proven=True))

    async def end(self) -> None:
        """Write down that this controller ends in order; raises Unavailable."""
        if self._epoch and self._tenure is not None:
            await self._note(replace(self._tenure, closed=True))

    def close(self) -> None:
        """Hear of no other set, and let the loading thread end."""
        if self._watch is not None:
            self._watch.close()
        self._loader.close()

    def suspend(self, faults: Mapping[str, str]) -> None:
        """Run these no longer."""
        for name, why in faults.items():
            if name in self._running and name not in self.suspended:
                log.error("policy %s is suspended: it %s", name, why)
                self.suspended[name] = self._faulty[name] = why
        self._use()

    async def roll_back(self) -> None:
        """Go back to the set before what was suspended: the leader's business.

        Raises Unavailable; then it is to be tried again.
        """
        version, faulty = self.version, dict(self._faulty)
        if not faulty:
            return
        history = await self._store.history()
        if history and history[-1].version == version:
            told = "; ".join(f"{name} was suspended: it {why}" for name, why in faulty.items())
            await self._replace(history, list(faulty), told)
        await self._take()

    async def _replace(
        self, history: Sequence[PolicySet], faulty: Sequence[str], note: str
    ) -> None:
        with contextlib.suppress(Conflict):  # Somebody has applied another set: that counts.
            await self._store.apply(
                without(history, faulty),
                by=BY_CONTROLLER, note=note, expected=history[-1].version, faulty=faulty,
            )  # fmt: skip

    async def _take(self) -> None:
        async with self._loading:
            newest = await self._newest()
            if newest.version != self.version:
                await self._load(newest)
            self._loaded = self._epoch > 0

    async def _newest(self) -> PolicySet:
        """Return the newest set that is not in doubt, having written down that it is to run."""
        for _ in range(_REPLACED_MAX):
            history = await self._store.history()
            newest = history[-1] if history else PolicySet(0, (), 0.0)
            if self._loaded and newest.version == self.version:
                return newest
            before = await self._store.tenure()
            tenure = begin(before, self._who, newest.version, self._clock.now_s())
            if before is not None and tenure.is_in_doubt and newest.policies:
                await asyncio.sleep(self._lease_s)  # One that is alive has said so by then.
                if await self._store.is_alive(before.who):
                    tenure = replace(tenure, lost=0)
            if not (tenure.is_in_doubt and newest.policies):
                await self._note(tenure)
                return newest
            faulty = suspects(history)
            told = f"{tenure.lost} controllers were" if tenure.lost > 1 else "its controller was"
            why = f"{', '.join(faulty)} was suspended: {told} lost while running it"
            log.error("version %d is taken back: %s", newest.version, why)
            await self._replace(history, faulty, why)
        raise Unavailable("sets of policies that were taken back are still the newest")

    async def _note(self, tenure: Tenure) -> None:
        await self._store.note_tenure(tenure)
        self._tenure = tenure

    async def _load(self, newest: PolicySet) -> None:
        running: dict[str, Policy] = {}
        broken: dict[str, str] = {}
        for name in newest.policies:
            known = self._running.get(name)
            try:
                running[name] = known if known is not None else await self._make(name)
            except UsageError as error:
                broken[name] = f"cannot be loaded: {error}"
                log.error("policy %s %s", name, broken[name])  # noqa: TRY400 -- no bug of ours
        self._running, self.version = running, newest.version
        self.suspended, self._faulty = broken, dict(broken)
        self._decisions = 0
        self._use()
        log.info("version %d runs: %s", self.version, ", ".join(running) or "no policy")

    def _use(self) -> None:
        self._mind.policies = [
            (name, policy) for name, policy in self._running.items() if name not in self.suspended
        ]

    async def _make(self, text: str) -> Policy:
        loop = asyncio.get_running_loop()
        due_s = loop.time() + _LOAD_S
        try:
            return await self._loader.run(lambda: make_policy(text), lambda: due_s - loop.time())
        except Overdue:
            raise UsageError(f"{text}: loading it takes longer than {_LOAD_S:g} s") from None
