"""The strategies by name: ours, parts of it taken away, and the peers' ways as baselines."""

import math
from collections.abc import Sequence
from typing import Final

from nalar.cluster.policies.moving import HeadOfLine
from nalar.errors import UsageError, suggest
from nalar.sim.invocation import Invocation
from nalar.sim.placing import Assigned, AtRandom, Lanes, Pinned
from nalar.sim.simulate import Strategy


def least_attained(invocation: Invocation) -> int:
    """Return the priority of a call by the service that its request has had: in levels.

    As Autellix has it: a level is double the one above it, from a second on.
    """
    request = invocation.request
    return 0 if request is None else -int(math.log2(1.0 + request.attained_s))


#: What is compared, by name.
STRATEGIES: Final[dict[str, Strategy]] = {
    strategy.name: strategy
    for strategy in (
        Strategy("lanes", "late binding and hashed sessions, no policy", lambda _: Lanes()),
        Strategy(
            "relief",
            "as lanes, and sessions that wait move to who is free",
            lambda _: Lanes(),
            lambda: [HeadOfLine()],
        ),
        Strategy("fifo_random", "first in, first out, any worker (Ventis)", AtRandom),
        Strategy("pinned", "a session stays where it began (CrewAI, AutoGen)", lambda _: Pinned()),
        Strategy(
            "event_driven",
            "the least busy worker when the call is made, for good (Ray)",
            lambda _: Assigned(),
        ),
        Strategy(
            "las",
            "as event_driven, and the request that had least service first (Autellix)",
            lambda _: Assigned(),
            rank=least_attained,
        ),
    )
}


def chosen(names: Sequence[str]) -> list[Strategy]:
    """Return the strategies with these names, once each; all when there are none.

    Raises UsageError, with a suggestion, for a name that is none.
    """
    for name in names:
        if name not in STRATEGIES:
            known = list(STRATEGIES)
            raise UsageError(
                f"no policy is named {name!r}.{suggest(name, known)} There are: {', '.join(known)}"
            )
    return [STRATEGIES[name] for name in dict.fromkeys(names or STRATEGIES)]
