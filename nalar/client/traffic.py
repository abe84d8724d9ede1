"""What was asked for lately, as a workload that `nalar simulate` runs."""

from typing import Any, Final

from nalar.bus.codec import decode_record
from nalar.client.client import Client
from nalar.errors import MalformedMessage
from nalar.messages import Record
from nalar.sim.workloads.recording import agents_of, called, requests_of
from nalar.statestore.port import LedgerEntry

_ALL: Final = "call.*.*.*.*.*.*"


async def traffic(client: Client, *, since_s: float) -> list[dict[str, Any]]:
    """Return the lines of a workload file: agents, and the requests of the last `since_s` seconds.

    Those that have ended, and that the ledger still remembers: calls that change no session are
    forgotten after the setting `retention_s`. Reads all records of that time. Raises Unavailable
    when the server does not answer.
    """
    backend = client.host.backend
    begin = await backend.ledger.revision_before(since_s)
    now_s = client.host.clock.now_s()
    entries = await backend.ledger.find(_ALL, after=max(0, begin - 1))
    records = [record for entry in entries if (record := _readable(entry)) is not None]
    requests = requests_of(records, since_s=now_s - since_s)
    agents = agents_of(await client.agents(), await client.workers(), called(requests))
    return [*agents, *requests]


def _readable(entry: LedgerEntry) -> Record | None:
    try:
        return decode_record(entry.ref, entry.body)
    except MalformedMessage:
        return None  # A strange hand's, or of a later version.
