"""Keeping storage bounded: session logs that a snapshot covers, and blobs that nobody names.

The one part of Nalar that removes anything; what has a time to live goes by itself. It is safe
to run at any time and twice, and to kill in the middle. Needs the right to purge streams, which
workers do without.
"""

import asyncio
import logging
import secrets
from dataclasses import dataclass
from itertools import islice
from typing import Final

import orjson

from nalar.backend import Backend
from nalar.errors import Conflict, NalarError
from nalar.ids import AgentName, SessionId, is_wire_token
from nalar.settings import Settings
from nalar.statestore.port import KeyValueEntry
from nalar.statestore.sessions import SNAPSHOTS

log = logging.getLogger("nalar.client.housekeeping")

#: Who keeps house stands here, in the control bucket, for as long as it takes.
KEEPER: Final = "housekeeper"
#: How long a keeper that has died keeps others away, in seconds.
KEEPER_S: Final = 300.0
#: Snapshots looked at together.
_SESSIONS: Final = 50


@dataclass(frozen=True, slots=True)
class Swept:
    """What one round has done."""

    #: Sessions whose log was looked at.
    sessions: int = 0
    #: Entries removed from their logs.
    entries: int = 0
    #: Blobs removed.
    blobs: int = 0


class Housekeeper:
    """Keeps house on one backend; several may, they take turns."""

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self._backend = backend
        self._settings = settings
        #: Snapshot's key -> its revision when nothing was left to trim below it.
        self._trimmed: dict[str, int] = {}
        #: What is younger may still be asked for: by a run within its deadline, or by a person.
        self._keep_s = settings.deadline_s + settings.retention_s

    async def sweep(self) -> Swept | None:
        """Do one round; None when another keeper is at it. Raises Unavailable."""
        control = self._backend.control
        own = secrets.token_hex(8).encode()
        try:
            turn = await control.put(KEEPER, own, expected=0, ttl_s=KEEPER_S)
        except Conflict:
            return None
        try:
            sessions, entries = await self._trim_sessions()
            blobs = await self._drop_blobs()
        finally:
            try:
                await control.delete(KEEPER, expected=turn)
            except NalarError:
                log.debug("the turn at %s lapses by itself", KEEPER)
        return Swept(sessions, entries, blobs)

    async def run(self, every_s: float) -> None:
        """Do a round every `every_s` seconds, until cancelled."""
        while True:
            try:
                swept = await self.sweep()
                if swept is not None and (swept.entries or swept.blobs):
                    log.info("removed entries=%d blobs=%d", swept.entries, swept.blobs)
            except NalarError as error:
                log.warning("housekeeping is put off: %s", error)
            await asyncio.sleep(every_s)

    # Session logs.

    async def _trim_sessions(self) -> tuple[int, int]:
        cutoff = await self._backend.ledger.revision_before(self._keep_s)
        keys = iter(await self._backend.snapshots.keys(SNAPSHOTS))
        sessions = entries = 0
        while chunk := list(islice(keys, _SESSIONS)):
            for snapshot in await self._backend.snapshots.get_all(chunk):
                if self._trimmed.get(snapshot.key) != snapshot.revision:
                    sessions += 1
                    entries += await self._trim(snapshot, cutoff)
        return sessions, entries

    async def _trim(self, snapshot: KeyValueEntry, cutoff: int) -> int:
        """Remove what the snapshot covers and nobody may ask for any more."""
        upto = _covered(snapshot.value)
        tokens = snapshot.key.split(".")[1:]
        if len(tokens) != 2:  # noqa: PLR2004 -- agent and session: no other key is ours
            return 0
        agent, session = tokens
        before = min(cutoff, upto)
        gone = await self._backend.ledger.trim(AgentName(agent), SessionId(session), before=before)
        if before == upto:
            self._trimmed[snapshot.key] = snapshot.revision
        return gone

    # Blobs.

    async def _drop_blobs(self) -> int:
        """Remove blobs that were not put for long and that nothing names.

        Candidates first, names after: what is named meanwhile was put meanwhile, and putting a
        blob again makes it young.
        """
        candidates = await self._backend.blobs.unused_for(self._keep_s)
        if not candidates:
            return 0
        keys = await self._backend.control.keys("agent")
        names = [key.partition(".")[2] for key in keys]
        agents = [AgentName(name) for name in names if is_wire_token(name)]
        named = await self._backend.blobs.referred_to(agents)
        unnamed = [name for name in candidates if name not in named]
        await self._backend.blobs.drop(unnamed)
        return len(unnamed)


def _covered(snapshot: bytes | None) -> int:
    """Return up to which revision a snapshot covers its log; 0 when it does not say."""
    try:
        return int(orjson.loads(snapshot or b"{}").get("upto", 0))
    except (orjson.JSONDecodeError, TypeError, ValueError, AttributeError):
        return 0
