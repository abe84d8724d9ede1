"""Telling callers what is served: an agent's description in the registry."""

import os
import socket
from typing import Any, Final

import orjson

from nalar.agents.describe import describe_agent
from nalar.agents.spec import AgentSpec
from nalar.controllers.roster import WORKERS, read_worker
from nalar.errors import UsageError
from nalar.statestore.port import KeyValue

#: Where the registry keeps what is served, in the control bucket.
AGENTS: Final = "agent"


def here() -> dict[str, object]:
    """Return what the registry shows of this process."""
    return {"host": socket.gethostname(), "pid": os.getpid()}


async def register(control: KeyValue, agent: AgentSpec, slots: int) -> None:
    """Describe `agent`, whose sessions are spread over so many slots (0: it keeps no state).

    Raises UsageError when they have been spread over another number.
    """
    key = f"{AGENTS}.{agent.name}"
    entry = await control.get(key)
    before = slots_of(entry.value if entry is not None else None) or slots
    if slots and before and before != slots:
        raise UsageError(
            f"the sessions of {agent.name} are spread over {before} slots, and this worker "
            f"would look for them in {slots}: set slots to {before} (NALAR_SET_SLOTS={before})"
        )
    await control.put(key, orjson.dumps(describe_agent(agent) | {"slots": slots}))


async def live_workers(control: KeyValue) -> list[dict[str, Any]]:
    """Return what each live worker says of itself, by name."""
    entries = await control.scan(WORKERS)
    return [told for entry in entries if (told := read_worker(entry.value or b""))]


def slots_of(value: bytes | None) -> int:
    """Return over how many slots an agent's sessions are spread; 0 where nothing says so."""
    try:
        told: Any = orjson.loads(value or b"{}")
        return int(told.get("slots", 0))
    except (ValueError, TypeError, AttributeError):
        return 0
