"""Writing dead letters of calls: after their record, before their message is acknowledged."""

import logging
from dataclasses import replace

from nalar.backend import Backend
from nalar.calls.letters import DEAD, encode_letter, is_due
from nalar.controllers.held import Held
from nalar.controllers.outcomes import in_a_line
from nalar.errors import Conflict
from nalar.messages import Payload, Record
from nalar.settings import Settings

log = logging.getLogger("nalar.worker")


async def bury(backend: Backend, settings: Settings, held: Held, record: Record) -> None:
    """Write the dead letter of a call that ended in `record`, if it is due and not there.

    Raises NalarError when it may be missing: the message comes again, and this is done again.
    """
    if not is_due(record, held.retry.max_attempts):
        return
    invocation = held.invocation
    value = encode_letter(invocation, record)
    text = invocation.arguments.text
    if len(value) > backend.inline_max_bytes and text is not None:
        blob = await backend.blobs.put(text)
        value = encode_letter(replace(invocation, arguments=Payload(None, blob)), record)
    try:
        key = f"{DEAD}.{held.key}"
        await backend.control.put(key, value, expected=0, ttl_s=settings.retention_s)
    except Conflict:
        return  # An earlier delivery wrote it, and it may say by now what became of it.
    log.warning(
        "%s %s: %s (dead letter %s)",
        invocation.target, record.status, in_a_line(record.error), held.key,
    )  # fmt: skip
