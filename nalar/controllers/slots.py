"""Which slots of a stateful agent a worker should own. Pure.

Every live worker computes the same shares from the same entries, so that they agree without
talking; the compare-and-set on each lease settles what they do not agree on.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SlotPlan:
    """What to do about the slots of one agent."""

    #: Free slots (or a dead worker's) to take, in this order.
    claim: tuple[int, ...]
    #: Own slots to give up so that others reach their share.
    release: tuple[int, ...]


def plan_slots(
    slots: int, owners: Mapping[int, str], workers: Collection[str], own: str
) -> SlotPlan:
    """Return what worker `own` should claim and release.

    `owners` maps leased slots to workers, dead ones included; `workers` are those alive that
    serve the agent. The first `slots % n` workers by name have one slot more than the others.
    """
    alive = sorted({*workers, own})
    rank = alive.index(own)
    share = slots // len(alive) + (rank < slots % len(alive))
    mine = sorted(slot for slot, owner in owners.items() if owner == own and slot < slots)
    if len(mine) > share:
        return SlotPlan((), tuple(mine[share:]))
    free = [slot for slot in range(slots) if owners.get(slot) not in alive]
    # Each worker starts elsewhere, so that newcomers do not all grab the same slot.
    start = rank * len(free) // len(alive)
    return SlotPlan(tuple((free[start:] + free[:start])[: share - len(mine)]), ())
