"""Waking suspended calls: what each waits for is looked at by whoever may have ended its wait."""

import contextlib

from nalar.backend import Backend
from nalar.calls.notices import concerns, notice_key
from nalar.calls.own_records import sent_pattern
from nalar.calls.suspended import SUSPENDED, Suspended, suspended_key
from nalar.errors import NalarError
from nalar.ids import Ref, encode_token
from nalar.statestore.port import KeyValue, KeyValueEntry


async def wake_for(backend: Backend, stored: Ref) -> None:
    """The record of `stored` stands: wake the call it belongs to, if that waits for it suspended.

    Without the server nothing is done: a suspended call looks for itself now and then.
    """
    with contextlib.suppress(NalarError):
        entry = await backend.control.get(suspended_key(stored.root, stored.parent))
        sleeping = _decoded(entry)
        if sleeping is not None and sleeping.waits_for(stored):
            backend.queue.hurry(sleeping.lease)


async def wake_cancelled(backend: Backend, root: str, token: str) -> None:
    """A notice covers `token`, of the run `root`: wake what it ends, so that it ends now."""
    with contextlib.suppress(NalarError):
        for entry in await backend.control.scan(f"{SUSPENDED}.{root}"):
            sleeping = _decoded(entry)
            if sleeping is not None and concerns(token, sleeping.ref):
                backend.queue.hurry(sleeping.lease)


async def has_come(backend: Backend, sleeping: Suspended) -> bool:
    """Ask whether anything stands that ends the wait of a suspended call, its time aside."""
    ref = sleeping.ref
    tokens = dict.fromkeys((ref.future, ref.parent, ref.root))
    if await backend.control.get_all([notice_key(token) for token in tokens]):
        return True
    if sleeping.calls and await backend.ledger.read(sleeping.calls):
        return True
    for name, seen in sleeping.signals.items():
        if await backend.ledger.find(sent_pattern(ref.root, ref.future, name), after=seen):
            return True
    return False


async def all_suspended(control: KeyValue, run: str = "") -> list[Suspended]:
    """Return the suspended calls, of one run if it is named, by when they go on at the latest."""
    entries = await control.scan(f"{SUSPENDED}.{encode_token(run)}" if run else SUSPENDED)
    return sorted(filter(None, map(_decoded, entries)), key=lambda it: it.until)


def _decoded(entry: KeyValueEntry | None) -> Suspended | None:
    return None if entry is None or entry.value is None else Suspended.decode(entry.value)
