"""Which slots of a stateful agent a worker should own. Pure.

Every live worker computes the same shares from the same entries, so that they agree without
talking; the compare-and-set on each lease settles what they do not agree on.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SlotPlan:
    """What to do about the slots of one agent."""

    #: Free slots (or a dead worker's) to take, in this order.
    claim: tuple[int, ...]
    #: Own slots to give up so that others reach their share.
    release: tuple[int, ...]


def plan_slots(
    slots: int,
    owners: Mapping[int, str],
    workers: Collection[str],
    own: str,
    weights: Mapping[str, float] | None = None,
) -> SlotPlan:
    """Return what worker `own` should claim and release.

    `owners` maps leased slots to workers, dead ones included; `workers` are those alive that
    serve the agent. Each owns as many as its weight says (1 where `weights` says nothing); what
    cannot be shared evenly goes to the first by name.
    """
    alive = sorted({*workers, own})
    rank = alive.index(own)
    share = _shares(slots, [(weights or {}).get(name, 1.0) for name in alive])[rank]
    mine = sorted(slot for slot, owner in owners.items() if owner == own and slot < slots)
    if len(mine) > share:
        return SlotPlan((), tuple(mine[share:]))
    free = [slot for slot in range(slots) if owners.get(slot) not in alive]
    # Each worker starts elsewhere, so that newcomers do not all grab the same slot.
    start = rank * len(free) // len(alive)
    return SlotPlan(tuple((free[start:] + free[:start])[: share - len(mine)]), ())


def _shares(slots: int, weights: Sequence[float]) -> list[int]:
    """Return how many slots each of these weights gets: none at all where all are 0."""
    total = sum(weights)
    if not total:
        return [0] * len(weights)
    exact = [slots * weight / total for weight in weights]
    shares = [int(part) for part in exact]
    missing = slots - sum(shares)
    by_rest = sorted(range(len(weights)), key=lambda rank: (shares[rank] - exact[rank], rank))
    for rank in by_rest[:missing]:
        shares[rank] += 1
    return shares
