"""Keeping storage bounded and commits cheap: logs that snapshots cover, blobs that nobody names.

The one part of Nalar that removes anything; what has a time to live goes by itself. It is safe
to run at any time and twice, and to kill in the middle. Needs the right to purge streams, which
workers do without.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from nalar.backend import Backend
from nalar.client.archiving import Archiver, Bounds
from nalar.errors import Conflict, NalarError
from nalar.ids import AgentName, is_wire_token
from nalar.settings import Settings
from nalar.statestore.port import KeyValueEntry
from nalar.statestore.sessions import GROWN, SNAPSHOTS

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
    #: Entries moved from long logs to the archive.
    archived: int = 0
    #: Entries removed from logs for good.
    entries: int = 0
    #: Blobs removed.
    blobs: int = 0


def _log_swept(swept: Swept | None) -> None:
    if swept is not None and (swept.archived or swept.entries or swept.blobs):
        log.info(
            "archived entries=%d, removed entries=%d blobs=%d",
            swept.archived, swept.entries, swept.blobs,
        )  # fmt: skip


class Housekeeper:
    """Keeps house on one backend; several may, they take turns."""

    def __init__(
        self, backend: Backend, settings: Settings, *, bounds: Bounds | None = None
    ) -> None:
        self._backend = backend
        #: Snapshot's key -> its revision when nothing was left to cut below it.
        self._settled: dict[str, int] = {}
        #: What is younger may still be asked for: by a run within its deadline, or by a person.
        self._keep_s = settings.deadline_s + settings.retention_s
        self._archiver = Archiver(backend.ledger, kept_s=self._keep_s, bounds=bounds)
        #: What tells that a log has grown, by key, and its revision.
        self._grown: dict[str, int] = {}
        self._heard = asyncio.Event()

    async def sweep(self) -> Swept | None:
        """Do one round; None when another keeper is at it. Raises Unavailable."""
        control = self._backend.control
        own = secrets.token_hex(8).encode()
        try:
            turn = await control.put(KEEPER, own, expected=0, ttl_s=KEEPER_S)
        except Conflict:
            return None
        try:
            swept = await self._cut_logs()
            return replace(swept, blobs=await self._drop_blobs())
        finally:
            try:
                await control.delete(KEEPER, expected=turn)
            except NalarError:
                log.debug("the turn at %s lapses by itself", KEEPER)

    async def run(self, every_s: float, tell: Callable[[Swept | None], None] = _log_swept) -> None:
        """Do a round every `every_s` seconds, until cancelled, and `tell` of it.

        In between cut logs as workers tell that they have grown.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._cut_grown())
            while True:
                try:
                    tell(await self.sweep())
                except NalarError as error:
                    log.warning("housekeeping is put off: %s", error)
                await asyncio.sleep(every_s)

    # Session logs.

    async def _cut_logs(self) -> Swept:
        cutoff = await self._backend.ledger.revision_before(self._keep_s)
        keys = iter(await self._backend.snapshots.keys(SNAPSHOTS))
        sessions = archived = removed = 0
        while chunk := list(islice(keys, _SESSIONS)):
            for snapshot in await self._backend.snapshots.get_all(chunk):
                if self._settled.get(snapshot.key) == snapshot.revision:
                    continue
                cut = await self._archiver.cut(snapshot, cutoff=cutoff)
                if cut.settled:
                    self._settled[snapshot.key] = snapshot.revision
                sessions += 1
                archived += cut.archived
                removed += cut.removed
        return Swept(sessions, archived, removed)

    async def _cut_grown(self) -> None:
        """Cut logs that workers say have grown. What is missed here the next round looks at."""
        watch = self._backend.control.watch(GROWN, self._told)
        try:
            while True:
                await self._heard.wait()
                self._heard.clear()
                while self._grown:
                    await self._cut_one(*self._grown.popitem())
        finally:
            watch.close()

    def _told(self, entry: KeyValueEntry) -> None:
        if entry.value is not None:
            self._grown[entry.key] = entry.revision
            self._heard.set()

    async def _cut_one(self, key: str, revision: int) -> None:
        try:
            await self._backend.control.delete(key, expected=revision)
            snapshot = await self._backend.snapshots.get(SNAPSHOTS + key.removeprefix(GROWN))
            if snapshot is not None:
                await self._archiver.cut(snapshot, cutoff=0)
        except Conflict:
            pass  # Another keeper has taken it on, or it was told again.
        except NalarError as error:
            log.warning("cutting the log of %s is put off: %s", key.removeprefix(GROWN), error)

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
