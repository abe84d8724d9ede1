"""Settling a call: the one place where the order of commit and acknowledgement matters.

The record is stored first, with its compare-and-set; whatever is unclear is read again and then
decided (DESIGN.md, section 3, rule 4). Only what is stored is announced, and only what is
stored is acknowledged.
"""

import asyncio
import random
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from enum import Enum, auto

from nalar.backend import Backend
from nalar.bus.codec import encode_record
from nalar.errors import CommitLost, CommitUnknown, MalformedMessage, NalarError, Unavailable
from nalar.messages import Payload, Record
from nalar.settings import Settings
from nalar.statestore.log_chain import LogCut
from nalar.statestore.port import LedgerEntry
from nalar.statestore.session import after_lost
from nalar.statestore.sessions import Session, Sessions

#: Pauses between tries while the outcome of a commit is unknown, in seconds.
_PAUSE_FIRST_S, _PAUSE_MAX_S = 0.05, 2.0
#: Moving a part of fewer bytes than this out of a record gains nothing.
_SMALL = 1024


class Settled(Enum):
    """What became of a commit."""

    #: Stored, by this attempt.
    COMMITTED = auto()
    #: A record of the call stands already, from another attempt.
    DONE = auto()
    #: The session moved on under the call: run it again on the state as it is.
    STALE = auto()


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a commit ended; `entry` is what was stored, when this attempt stored it."""

    how: Settled
    entry: LedgerEntry | None = None


class Settler:
    """Commits records; keeps at it while the server is away."""

    def __init__(
        self, backend: Backend, sessions: Sessions, settings: Settings, chance: random.Random
    ) -> None:
        self._backend = backend
        self._sessions = sessions
        self._settings = settings
        self._chance = chance

    async def settle(self, record: Record, session: Session | None, *, ttl_s: float) -> Settlement:
        """Commit `record`; `session` is the copy that a state-changing call ran on.

        `ttl_s` is how long a record without state is kept. Raises Unavailable when no clear
        answer could be had for several leases: the message comes again, here or elsewhere.
        """
        body = await self._fitted(record)
        deadline = asyncio.get_running_loop().time() + self._settings.lease_s * 5
        pause_s = _PAUSE_FIRST_S
        while True:
            expected = session.fold.revision if session is not None else 0
            try:
                revision = await self._backend.ledger.commit(
                    record.ref, body, expected=expected, ttl_s=ttl_s
                )
            except (CommitLost, CommitUnknown) as refusal:
                told = str(refusal)
                decided = await self._decided(record, session, refusal)
            else:
                return Settlement(Settled.COMMITTED, LedgerEntry(record.ref, revision, body))
            if decided is not None:
                return Settlement(decided)
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable(f"no clear answer to the commit of {record.ref}: {told}")
            await asyncio.sleep(pause_s * (0.5 + self._chance.random()))
            pause_s = min(pause_s * 2, _PAUSE_MAX_S)

    async def _decided(
        self, record: Record, session: Session | None, refusal: NalarError
    ) -> Settled | None:
        """Read what stands and decide; None means "commit the same content again"."""
        if session is None:
            if isinstance(refusal, CommitLost):
                # Its own key, expected absent: a record of this very call stands.
                return Settled.DONE
            return await self._reading(self._plain_done(record))
        return await self._reading(self._fenced_decided(record, session))

    async def _reading(self, decide: Awaitable[Settled | None]) -> Settled | None:
        try:
            return await decide
        except MalformedMessage:
            raise  # What a strange hand wrote into the log stays there.
        except NalarError:
            # Still no server: nothing is known, so nothing is decided.
            return None

    async def _plain_done(self, record: Record) -> Settled | None:
        stands = await self._backend.ledger.read([record.ref])
        return Settled.DONE if stands else None

    async def _fenced_decided(self, record: Record, session: Session) -> Settled | None:
        try:
            entries = await self._sessions.newer(session)
        except LogCut:
            # Others have committed so much that some of it has left the log: a snapshot tells.
            current = await self._sessions.open(session.agent, session.name)
            return Settled.DONE if current.fold.has(record.ref.future) else Settled.STALE
        verdict = after_lost(session.fold, entries, record.ref.future)
        self._sessions.advance(session, entries)
        return {"done": Settled.DONE, "rerun": Settled.STALE, "commit_again": None}[verdict]

    async def _fitted(self, record: Record) -> bytes:
        """Encode `record`, with its largest parts in the object store until it fits."""
        body = encode_record(record)
        for name in ("arguments", "result", "delta"):
            if len(body) <= self._backend.inline_max_bytes:
                break
            payload: Payload | None = getattr(record, name)
            if payload is not None and payload.text is not None and len(payload.text) > _SMALL:
                blob = await self._backend.blobs.put(payload.text)
                record = replace(record, **{name: Payload(None, blob)})
                body = encode_record(record)
        if len(body) > self._backend.inline_max_bytes:
            # What is left is the list of dependencies; the invocation's arguments name them too.
            body = encode_record(replace(record, dependencies=()))
        return body
