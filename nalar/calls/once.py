"""Storing a record that nothing but its own key guards: whoever writes first has decided."""

import asyncio
import dataclasses
from typing import Final

from nalar.backend import Backend
from nalar.bus.codec import encode_record
from nalar.errors import CommitLost, CommitUnknown, NalarError
from nalar.messages import Payload, Record
from nalar.settings import Settings
from nalar.statestore.port import LedgerEntry

#: Pauses between tries while nobody knows what stands, in seconds.
_PAUSE_FIRST_S: Final = 0.05
_PAUSE_MAX_S: Final = 2.0


async def commit_once(
    backend: Backend, settings: Settings, record: Record, deadline: float
) -> LedgerEntry:
    """Store `record`, of effect "r", unless one stands; return what stands then.

    Keeps at it while the server is away, until it is cancelled. `deadline` is that of the call it
    belongs to. Raises ValueTooLarge.
    """
    ref = record.ref
    body = await _fitted(backend, record)
    ttl_s = max(1.0, deadline - record.finished) + settings.retention_s
    pause_s = _PAUSE_FIRST_S
    while True:
        try:
            revision = await backend.ledger.commit(ref, body, expected=0, ttl_s=ttl_s)
            return LedgerEntry(ref, revision, body)
        except (CommitLost, CommitUnknown):
            entry = await _standing(backend, record)
            if entry is not None:
                return entry
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, _PAUSE_MAX_S)


async def _standing(backend: Backend, record: Record) -> LedgerEntry | None:
    try:
        return (await backend.ledger.read([record.ref])).get(record.ref)
    except NalarError:
        return None  # Still no server: nothing is known.


async def _fitted(backend: Backend, record: Record) -> bytes:
    """Encode `record`, with its value in the object store if it is large."""
    body = encode_record(record)
    for name in ("result", "arguments"):
        payload: Payload | None = getattr(record, name)
        if len(body) > backend.inline_max_bytes and payload is not None and payload.text:
            blob = await backend.blobs.put(payload.text)
            record = dataclasses.replace(record, **{name: Payload(None, blob)})
            body = encode_record(record)
    return body
