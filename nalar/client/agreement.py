"""What all processes of one cluster must have in common, whoever set it first.

A session's slot is a hash over the number of slots: a caller with another number would publish to
lanes that nobody serves. So the first process writes the number down, and all others take it.
"""

import asyncio
import dataclasses
import logging
from typing import Final

from nalar.bus.topology import ELECTION_PAUSE_S, ELECTION_S
from nalar.errors import Conflict, Unavailable
from nalar.settings import Settings
from nalar.statestore.port import KeyValue, KeyValueEntry

log = logging.getLogger("nalar.client.agreement")

#: Where the number of slots stands, in the control bucket.
SLOTS: Final = "cluster.slots"
#: A process with this number was probably not set to it: nothing to warn of.
_UNSET: Final = Settings().slots


async def agreed(control: KeyValue, settings: Settings) -> Settings:
    """Return `settings` as the cluster has agreed on them; the first process decides.

    Waits while servers elect a leader. Raises Unavailable when none answers, or when what stands
    there is no number.
    """
    entry = await _patiently(control, settings)
    if entry is None:
        return settings
    slots = _number(entry)
    if settings.slots not in (slots, _UNSET):
        log.warning(
            "this cluster was begun with %d slots, and its sessions are spread over them: the "
            "setting slots=%d is not used",
            slots,
            settings.slots,
        )
    return dataclasses.replace(settings, slots=slots)


async def _patiently(control: KeyValue, settings: Settings) -> KeyValueEntry | None:
    loop = asyncio.get_running_loop()
    until_s = loop.time() + ELECTION_S
    while True:
        try:
            return await _standing(control, settings)
        except Unavailable:
            if loop.time() >= until_s:
                raise
        await asyncio.sleep(ELECTION_PAUSE_S)


async def _standing(control: KeyValue, settings: Settings) -> KeyValueEntry | None:
    """Return what stands, or None after having written our own."""
    entry = await control.get(SLOTS)
    if entry is not None:
        return entry
    try:
        await control.put(SLOTS, b"%d" % settings.slots, expected=0)
    except Conflict:
        # Another process was quicker, or our own answer was lost: what stands is agreed.
        return await control.get(SLOTS)
    return None


def _number(entry: KeyValueEntry) -> int:
    text = entry.value or b""
    if not text.isdigit() or int(text) < 1:
        raise Unavailable(
            f"entry {SLOTS} of the control bucket holds {text[:40]!r}, not the number of slots of "
            "this cluster: put back the number that its sessions were spread over (16 by default)"
        )
    return int(text)
