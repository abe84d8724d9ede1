"""Keeps what runs to the newest set of policies: swaps them in motion, rolls faulty ones back."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Final

from nalar.bus.port import Watch
from nalar.cluster.loading import make_policy
from nalar.cluster.mind import Mind
from nalar.cluster.policy import Policy
from nalar.cluster.policy_set import PolicySet, without
from nalar.cluster.policy_store import PolicyStore
from nalar.cluster.watchdog import Overdue, WatchedThread
from nalar.errors import Conflict, NalarError, UsageError
from nalar.loops import set_within

log = logging.getLogger("nalar.controller")

#: Who applies a set in place of one with a faulty policy.
BY_CONTROLLER: Final = "controller"
#: How often the newest set is looked for, in case a notice was lost, in seconds.
_LOOK_S: Final = 15.0
#: How long loading a policy may take: a file of the user's own is run for it, in seconds.
_LOAD_S: Final = 10.0


class PolicyRunner:
    """Gives the mind its policies."""

    def __init__(self, store: PolicyStore, mind: Mind) -> None:
        self._store = store
        self._mind = mind
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
        """Have these run; raises UsageError, before anything has changed, if one cannot."""
        for text in policies:
            await self._make(text)
        await self._store.apply(policies, note="as a controller was started")

    async def begin(self) -> None:
        """Run what stands; raises Unavailable."""
        self._watch = self._store.watch(self._changed.set)
        await self._take()

    async def run(self) -> None:
        """Take each new set in, until cancelled."""
        while True:
            await set_within(self._changed, _LOOK_S)
            self._changed.clear()
            try:
                await self._take()
            except NalarError as error:
                log.warning("policies cannot be read: %s", error)

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
        if not self._faulty:
            return
        history = await self._store.history()
        if history and history[-1].version == self.version:
            told = "; ".join(
                f"{name} was suspended: it {why}" for name, why in self._faulty.items()
            )
            with contextlib.suppress(Conflict):  # Somebody has applied another set: that counts.
                await self._store.apply(
                    without(history, list(self._faulty)),
                    by=BY_CONTROLLER, note=told, expected=self.version,
                )  # fmt: skip
        await self._take()

    async def _take(self) -> None:
        history = await self._store.history()
        newest = history[-1] if history else PolicySet(0, (), 0.0)
        if newest.version == self.version:
            return
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
