"""Who of several controllers acts: the one that holds the lease in the control bucket."""

import contextlib
import logging
from typing import Any, Final

import orjson

from nalar.clock import Clock
from nalar.errors import Conflict, NalarError
from nalar.statestore.port import KeyValue

log = logging.getLogger("nalar.controller")

#: Where the leader stands, in the control bucket.
LEADER: Final = "controller"
#: How long a leader leads without a sign of life, in seconds: then another takes over.
LEASE_S: Final = 5.0


def read_leader(value: bytes) -> dict[str, Any]:
    """Return what a leader's entry says; of one that cannot be read, that it is not known."""
    told: Any = None
    with contextlib.suppress(orjson.JSONDecodeError):
        told = orjson.loads(value)
    unknown = {"name": "?", "host": "?"}
    return unknown | told if isinstance(told, dict) else unknown


class Leadership:
    """Takes the lease when it is free, and keeps it. `epoch` is 0 for who does not lead.

    The epoch is the revision of the entry that began the lease, so it grows with each leader.
    """

    def __init__(
        self, control: KeyValue, clock: Clock, told: dict[str, object], *, lease_s: float = LEASE_S
    ) -> None:
        self._control = control
        self._clock = clock
        #: What the entry says of the leader.
        self._told = told
        self._lease_s = lease_s
        self._revision = 0
        self._sure_until_s = 0.0
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """The epoch in which this controller leads; 0 when it does not, or is not sure of it."""
        return self._epoch if self._clock.now_s() < self._sure_until_s else 0

    async def keep(self) -> int:
        """Renew the lease, or take it if it is free; return the epoch. To be called thrice a lease.

        Raises Unavailable when the server does not answer: the lease lapses by itself.
        """
        asked_s = self._clock.now_s()
        body = orjson.dumps(self._told | {"epoch": self._epoch, "at": asked_s})
        try:
            self._revision = await self._control.put(
                LEADER, body, expected=self._revision, ttl_s=self._lease_s
            )
        except Conflict:
            if not await self._is_ours():
                if self._epoch:
                    log.warning("leads no longer: the lease of epoch %d has lapsed", self._epoch)
                self._revision = self._epoch = 0
                return 0
        if not self._epoch:
            self._epoch = self._revision
            log.info("leads in epoch %d", self._epoch)
        self._sure_until_s = asked_s + self._lease_s
        return self._epoch

    async def give_up(self) -> None:
        """Let another controller lead at once."""
        revision, self._revision, self._epoch = self._revision, 0, 0
        if revision:
            try:
                await self._control.delete(LEADER, expected=revision)
            except NalarError as error:
                log.debug("the lease lapses by itself: %s", error)

    async def _is_ours(self) -> bool:
        """Say whether what stands is ours: of a write whose answer was lost."""
        entry = await self._control.get(LEADER)
        if entry is None or not entry.value or not self._revision:
            return False
        ours = read_leader(entry.value)["name"] == self._told["name"]
        if ours:
            self._revision = entry.revision
        return ours
