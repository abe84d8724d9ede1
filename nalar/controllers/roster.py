"""Who works, and who owns which slot: what a worker knows of the others. Pure.

Kept up to date from the notices that the control bucket gives, and put right by a listing now and
then. Says when something has changed that matters to the sharing of slots: that a worker has given
another sign of life does not.
"""

from collections.abc import Iterable
from typing import Any, Final

import orjson

from nalar.ids import AgentName, WorkerId
from nalar.statestore.heard import Mirror
from nalar.statestore.port import KeyValueEntry

#: Where workers and leases stand, in the control bucket.
WORKERS: Final = "worker"
LEASES: Final = "lease"
#: An entry that was not renewed for so many leases is that of a dead worker.
OVERDUE_LEASES: Final = 2.0


class Roster(Mirror):
    """The live workers with the agents they serve, and the leases."""

    def __init__(self) -> None:
        super().__init__()
        self._serves: dict[str, frozenset[str]] = {}
        #: Agent -> slot -> revision of the lease, and its owner.
        self._leases: dict[str, dict[int, tuple[int, WorkerId]]] = {}

    def peers(self, agent: AgentName) -> list[str]:
        """Return the live workers that serve `agent`."""
        return [name for name, serves in self._serves.items() if agent in serves]

    @property
    def alive(self) -> int:
        """How many workers are alive."""
        return len(self._serves)

    def leases(self, agent: AgentName) -> dict[int, tuple[int, WorkerId]]:
        """Return slot -> (revision, owner) of an agent's leases, dead owners included."""
        return dict(self._leases.get(agent, {}))

    def _apply(self, entry: KeyValueEntry) -> bool:
        """Return whether it matters to the sharing of slots."""
        kind, _, name = entry.key.partition(".")
        if kind == WORKERS:
            return self._take_worker(name, entry.value)
        return self._take_lease(name, entry.revision, entry.value)

    def _take_worker(self, name: str, value: bytes | None) -> bool:
        before = self._serves.get(name)
        if value is None:
            self._serves.pop(name, None)
            return before is not None
        serves = self._serves[name] = _served(value)
        return serves != before

    def _take_lease(self, name: str, revision: int, value: bytes | None) -> bool:
        agent, _, number = name.rpartition(".")
        if not number.isdecimal():
            return False
        leases, slot = self._leases.setdefault(agent, {}), int(number)
        before = leases.get(slot)
        if value is None:
            leases.pop(slot, None)
            return before is not None
        leases[slot] = (revision, WorkerId(value.decode("utf-8", "replace")))
        return leases[slot] != before


class Silence:
    """Which workers gave no sign of life for long, though their entry stands.

    A server that was killed may have forgotten when an entry was to expire.
    """

    def __init__(self) -> None:
        #: Revision of each worker's entry, and when it was listed first.
        self._since: dict[str, tuple[int, float]] = {}

    def overdue(
        self, entries: Iterable[KeyValueEntry], now_s: float, lease_s: float
    ) -> list[KeyValueEntry]:
        """Return those of all `entries` that have not been renewed for leases.

        `lease_s` is that of workers whose entry does not tell theirs.
        """
        before, self._since = self._since, {}
        found: list[KeyValueEntry] = []
        for entry in entries:
            if entry.value is None:
                continue
            revision, since = before.get(entry.key, (0, now_s))
            if revision != entry.revision:
                since = now_s
            self._since[entry.key] = entry.revision, since
            silent_leases = (now_s - since) / OVERDUE_LEASES
            if silent_leases > lease_s and silent_leases > _lease_s(entry.value):
                found.append(entry)
        return found


def _lease_s(value: bytes) -> float:
    told = read_worker(value).get("lease_s", 0.0)
    return told if isinstance(told, int | float) else 0.0


def read_worker(value: bytes) -> dict[str, Any]:
    """Return what a worker says of itself; nothing for what no worker can have written."""
    try:
        told: Any = orjson.loads(value)
        named = isinstance(told["worker"], str) and isinstance(told["agents"], list)
        return told if named and all(isinstance(name, str) for name in told["agents"]) else {}
    except (ValueError, TypeError, KeyError):
        return {}


def _served(value: bytes) -> frozenset[str]:
    """Return the agents that a worker's entry names; none for what cannot be read."""
    return frozenset(read_worker(value).get("agents", ()))
