"""Sets of policies as they stand in the control bucket: the newest version is what runs."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from nalar.clock import Clock
from nalar.cluster.leadership import LEADER, read_leader
from nalar.cluster.policy_set import (
    POLICY_SETS,
    PolicySet,
    canonical,
    decode_set,
    encode_set,
    key_of_version,
)
from nalar.cluster.tenure import ALIVE, TENURE, Tenure, decode_tenure, encode_tenure
from nalar.directives import BY_HAND
from nalar.errors import Conflict, MalformedMessage, UsageError
from nalar.statestore.port import KeyValue, Watch

#: Versions that are kept.
VERSIONS_MAX: Final = 100
#: Others may apply a set at the same time: so often it is tried again.
_TRIES: Final = 20


class PolicyStore:
    """Reads and writes versions. A version never changes; applying one makes another."""

    def __init__(self, control: KeyValue, clock: Clock) -> None:
        self._control = control
        self._clock = clock

    async def history(self) -> list[PolicySet]:
        """Return the versions that are kept, the newest last; what cannot be read is left out."""
        found: list[PolicySet] = []
        for entry in await self._control.scan(POLICY_SETS):
            with contextlib.suppress(MalformedMessage):
                found.append(decode_set(entry.key, entry.value or b""))
        return sorted(found, key=lambda version: version.version)

    async def version(self, number: int | None = None) -> PolicySet:
        """Return a version, the newest unless a number is given; raises UsageError."""
        history = await self.history()
        if not history:
            raise UsageError("no policies have been applied yet: nalar policy apply NAME...")
        if number is None:
            return history[-1]
        for known in history:
            if known.version == number:
                return known
        numbers = ", ".join(str(known.version) for known in history[-10:])
        raise UsageError(f"there is no version {number}; the last ones are {numbers}")

    async def apply(
        self,
        policies: Sequence[str],
        *,
        by: str = BY_HAND,
        note: str = "",
        expected: int | None = None,
        faulty: Sequence[str] = (),
    ) -> PolicySet:
        """Have these policies run from now on, in this order; return the new version.

        Nothing is done when they run already. With `expected`, only if that version is still the
        newest: raises Conflict. `faulty` are policies whose place these take. Raises UsageError for
        what cannot be a policy.
        """
        chosen = canonical(policies)
        for _ in range(_TRIES):
            history = await self.history()
            newest = history[-1] if history else PolicySet(0, (), 0.0)
            if expected is not None and newest.version != expected:
                raise Conflict(f"version {newest.version} has taken the place of {expected}")
            if newest.version and newest.policies == chosen:
                return newest
            made = PolicySet(
                newest.version + 1, chosen, self._clock.now_s(), by, note, tuple(faulty)
            )  # fmt: skip
            try:
                await self._control.put(key_of_version(made.version), encode_set(made), expected=0)
            except Conflict:
                continue  # Somebody else was faster: look again.
            for old in history[: len(history) + 1 - VERSIONS_MAX]:
                await self._control.delete(key_of_version(old.version))
            return made
        raise Conflict("others apply policies all the time")

    async def rollback(self, number: int | None = None) -> PolicySet:
        """Have an older version run again: the one before the newest, unless a number is given."""
        history = await self.history()
        if number is None:
            older = [it for it in history[:-1] if it.policies != history[-1].policies]
            if not older:
                raise UsageError("there is no version before this one to go back to")
            number = older[-1].version
        chosen = await self.version(number)
        return await self.apply(chosen.policies, note=f"as version {chosen.version}")

    async def tenure(self) -> Tenure | None:
        """Return the newest tenure; None where there is none that can be read."""
        entry = await self._control.get(TENURE)
        with contextlib.suppress(MalformedMessage):
            return decode_tenure((entry.value if entry is not None else None) or b"")
        return None

    async def note_tenure(self, tenure: Tenure) -> None:
        """Write down who runs what: the leader's business."""
        await self._control.put(TENURE, encode_tenure(tenure))

    async def beat(self, who: str, lease_s: float) -> None:
        """Say that a process that runs policies is alive, for so long."""
        await self._control.put(f"{ALIVE}.{who}", b"1", ttl_s=lease_s)

    async def is_alive(self, who: str) -> bool:
        """Say whether a process has said so of late."""
        entry = await self._control.get(f"{ALIVE}.{who}")
        return entry is not None and entry.value is not None

    async def leader(self) -> dict[str, Any] | None:
        """Return what the controller that leads says of itself; None when there is none."""
        entry = await self._control.get(LEADER)
        return None if entry is None or not entry.value else read_leader(entry.value)

    def watch(self, changed: Callable[[], None]) -> Watch:
        """Call `changed` when there may be another version."""
        return self._control.watch(POLICY_SETS, lambda _: changed())
