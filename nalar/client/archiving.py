"""Keeping the logs of sessions short: what a snapshot covers moves to the archive.

Every commit to a session is compared over its whole log, and the server looks at each entry there
to do so. So of a log that has grown long all but the newest is kept elsewhere, where it is found as
before. First the copies, and only when all of a piece are stored the piece goes: killed in between,
both stand, which is one record to whoever reads. Several may do it at once.
"""

from dataclasses import dataclass
from typing import Final

import orjson

from nalar.ids import AgentName, SessionId
from nalar.statestore.port import KeyValueEntry, Ledger

#: Entries that move together: the server does nothing else for two milliseconds as they go.
PIECE: Final = 250


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a log is long, and how much of it stays."""

    #: A log with more entries is long.
    long: int = 2_000
    #: So many of the newest stay, whatever a snapshot covers.
    kept: int = 1_000


@dataclass(frozen=True, slots=True)
class Cut:
    """What was done with one log."""

    #: Entries that have moved to the archive.
    archived: int = 0
    #: Entries that were removed: nobody may ask for them any more.
    removed: int = 0
    #: Until there is another snapshot, or the log grows, nothing is left to do.
    settled: bool = False


class Archiver:
    """Cuts logs that snapshots cover."""

    def __init__(self, ledger: Ledger, *, kept_s: float, bounds: Bounds | None = None) -> None:
        self._ledger = ledger
        self._kept_s = kept_s
        self._bounds = bounds or Bounds()

    async def cut(self, snapshot: KeyValueEntry, *, cutoff: int) -> Cut:
        """Cut the log of the session whose snapshot is given.

        What stands below the revision `cutoff` is too old to be asked for. Raises Unavailable.
        """
        tokens = snapshot.key.split(".")[1:]
        covered = _covered(snapshot.value)
        if len(tokens) != 2 or not covered:  # noqa: PLR2004 -- agent and session: no other is ours
            return Cut()
        agent, session = AgentName(tokens[0]), SessionId(tokens[1])
        # One entry: most logs are short, and looking for more than there are is dear.
        piece = await self._ledger.oldest(agent, session, count=1)
        removed = 0
        if piece.entries and piece.entries[0].revision < min(cutoff, covered):
            removed = await self._ledger.trim(agent, session, before=min(cutoff, covered))
        length = piece.length - removed
        surplus = length - self._bounds.kept if length > self._bounds.long else 0
        archived = await self._archive(agent, session, covered, surplus)
        return Cut(archived, removed, settled=cutoff >= covered)

    async def _archive(
        self, agent: AgentName, session: SessionId, covered: int, surplus: int
    ) -> int:
        archived = 0
        while surplus > archived:
            count = min(PIECE, surplus - archived)
            piece = await self._ledger.oldest(agent, session, count=count)
            moving = [entry for entry in piece.entries if entry.revision < covered]
            if not moving:
                break
            await self._ledger.archive(moving, kept_s=self._kept_s)
            before = moving[-1].revision + 1
            if not (gone := await self._ledger.trim(agent, session, before=before)):
                break  # Somebody else is at it.
            archived += gone
        return archived


def _covered(snapshot: bytes | None) -> int:
    """Return up to which revision a snapshot covers its log; 0 for what is no snapshot."""
    try:
        told = orjson.loads(snapshot or b"{}")
    except orjson.JSONDecodeError:
        return 0
    match told:
        case {"v": 1, "upto": int(upto), "ids": dict(), "state": dict()}:
            return upto
        case {"blob": dict(), "upto": int(upto)}:
            return upto
        case _:
            return 0
