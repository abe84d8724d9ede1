"""Whether workers are ready: for `nalar health`, and for probes. It looks, and changes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nalar.client.client import Client
from nalar.errors import Unavailable, suggest

State = Literal["ready", "draining", "blocked"]


@dataclass(frozen=True, slots=True)
class Health:
    """One worker, by its last sign of life: of late, or it would not count as alive."""

    worker: str
    state: State
    #: Why it is not ready; empty when it is.
    why: str
    #: Slots of stateful agents that it leases.
    slots: int
    #: Calls whose code runs, and calls that wait for a place.
    running: int
    queued: int
    #: How often it lost the server since it started, and for how long the last time, in seconds.
    reconnects: int
    away_s: float
    #: How often others took it for dead and had its slots.
    lapses: int


async def health_of(client: Client, worker: str = "") -> list[Health]:
    """Return how all workers that are alive are, or the one named.

    Raises Unavailable for one that is not alive, when there is none at all, and when the server
    does not answer.
    """
    alive = {str(told["worker"]): told for told in await client.workers()}
    if worker and worker not in alive:
        raise Unavailable(
            f"no worker {worker!r} is alive: it has ended, is cut off from the server, or was "
            f"never started under that name.{suggest(worker, list(alive))}"
        )
    if not alive:
        raise Unavailable("no worker is alive; start one: nalar worker MODULE")
    return [judge(told) for name, told in alive.items() if worker in ("", name)]


def judge(told: Mapping[str, Any]) -> Health:
    """Return how a worker is that tells this of itself."""
    state: State = "ready"
    why = ""
    if told.get("draining"):
        state, why = "draining", "it takes no new calls and ends once those it has have ended"
    if told.get("blocked_s"):
        state = "blocked"
        why = f"{told.get('blocked_in')} blocks its event loop, for {told['blocked_s']} s by now"
    counts = {
        name: told[name] if isinstance(told.get(name), int) else 0
        for name in ("slots", "running", "queued", "reconnects", "lapses")
    }
    away_s = told.get("away_s")
    return Health(
        str(told["worker"]), state, why,
        away_s=float(away_s) if isinstance(away_s, int | float) else 0.0, **counts,
    )  # fmt: skip
