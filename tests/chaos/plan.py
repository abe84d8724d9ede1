"""Which faults a run meets, and when: by seed. Pure."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

#: A worker process ends as if its machine had lost its power.
WORKER_KILL: Final = "worker killed"
#: A worker is stopped for longer than a lease and wakes up again.
WORKER_FREEZE: Final = "worker frozen"
#: A nats-server is killed and started again on its store.
SERVER_KILL: Final = "server killed"
#: The leader of a stream is stopped for so long that another is elected, and wakes up again.
SERVER_FREEZE: Final = "leader frozen"
#: A caller is killed and started again with its own log.
CALLER_KILL: Final = "caller killed"
#: A controller is killed and started again.
CONTROLLER_KILL: Final = "controller killed"
#: Who keeps house is killed and started again.
KEEPER_KILL: Final = "keeper killed"

#: How often each happens, beside the others.
WEIGHTS: Final[Mapping[str, int]] = {
    WORKER_KILL: 45,
    WORKER_FREEZE: 25,
    SERVER_KILL: 15,
    SERVER_FREEZE: 10,
    CALLER_KILL: 10,
    CONTROLLER_KILL: 5,
    KEEPER_KILL: 10,
}
#: The first and the last fault come when this part of the work is done.
_FIRST, _LAST = 0.04, 0.85


@dataclass(frozen=True)
class Fault:
    """One fault, and when it comes."""

    kind: str
    #: Transfers that must have ended before it comes.
    after: int
    #: Which of the processes it meets: this number modulo how many there are.
    whom: int


def plan(seed: int, faults: int, transfers: int, kinds: Sequence[str]) -> list[Fault]:
    """Return what a run of `transfers` meets: each kind at least once, the rest by weight."""
    chance = random.Random(f"faults/{seed}")
    drawn = chance.choices(kinds, [WEIGHTS[kind] for kind in kinds], k=max(0, faults - len(kinds)))
    chosen = [*kinds, *drawn][:faults]
    chance.shuffle(chosen)
    step = (_LAST - _FIRST) / max(1, faults)
    return [
        Fault(
            kind,
            int(transfers * (_FIRST + step * (number + chance.random()))),
            chance.randrange(1_000_000),
        )
        for number, kind in enumerate(chosen)
    ]
