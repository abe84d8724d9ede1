"""The strategies by name: ours, parts of it taken away, and the peers' ways as baselines."""

import math
from collections.abc import Callable, Sequence
from typing import Final

from nalar.cluster.loading import make_policy
from nalar.cluster.policies.moving import PrefixAffinity
from nalar.cluster.policies.ordering import Srtf
from nalar.cluster.policies.scaling import Reassign
from nalar.cluster.policies.shipped import SHIPPED
from nalar.cluster.policy import Policy
from nalar.errors import UsageError, suggest
from nalar.sim.invocation import Invocation
from nalar.sim.placing import Assigned, AtRandom, Lanes, Pinned, Placement
from nalar.sim.simulate import Strategy
from nalar.sim.workload import AgentModel

_Policies = Callable[[Sequence[AgentModel]], list[Policy]]


def relief(agents: Sequence[AgentModel]) -> list[Policy]:
    """Sessions for which waiting costs more than moving move to who is free."""
    del agents
    return [PrefixAffinity()]


def reassignment(agents: Sequence[AgentModel]) -> list[Policy]:
    """Agents that can take each other's place lend each other their workers."""
    groups: dict[str, list[str]] = {}
    for agent in agents:
        if agent.group and not agent.beside:
            groups.setdefault(agent.group, []).append(agent.name)
    return [Reassign(",".join(names)) for names in groups.values() if len(names) > 1]


def srtf(agents: Sequence[AgentModel]) -> list[Policy]:
    """Requests that have come further go first."""
    del agents
    return [Srtf()]


def least_attained(invocation: Invocation) -> int:
    """Return the priority of a call by the service that its request has had."""
    request = invocation.request
    return 0 if request is None else level(request.attained_s)


def level(attained_s: float) -> int:
    """Return the priority of a request that has had so much service, 0 or below.

    As Autellix has it: a level is double the one above it, from a second on.
    """
    return -int(math.log2(1.0 + attained_s))


def _ours(name: str, about: str, *parts: _Policies, priorities: bool = True) -> Strategy:
    def policies(agents: Sequence[AgentModel]) -> list[Policy]:
        return [policy for part in parts for policy in part(agents)]

    return Strategy(name, about, lambda _: Lanes(), policies, priorities=priorities)


def _pinned(_: object) -> Placement:
    return Pinned()


def _assigned(_: object) -> Placement:
    return Assigned()


#: What is compared, by name.
STRATEGIES: Final[dict[str, Strategy]] = {
    strategy.name: strategy
    for strategy in (
        _ours(
            "nalar",
            "late binding to the idlest, migration, reassignment, and calls' own priorities",
            relief, reassignment,
        ),
        Strategy(
            "fifo_random", "first in, first out, any worker (Ventis)", AtRandom, priorities=False
        ),
        Strategy(
            "pinned", "a session stays where it began (CrewAI, AutoGen)", _pinned, priorities=False
        ),
        Strategy(
            "event_driven",
            "the least busy worker when the call is made, for good (Ray)",
            _assigned,
            priorities=False,
        ),
        Strategy(
            "las",
            "as event_driven, and the request that had least service first (Autellix)",
            _assigned,
            rank=least_attained,
        ),
    )
}  # fmt: skip
#: What each part of ours is worth.
ABLATIONS: Final[dict[str, Strategy]] = {
    strategy.name: strategy
    for strategy in (
        _ours("no_migration", "nalar without migration", reassignment),
        _ours("no_reassignment", "nalar without reassignment", relief),
        _ours(
            "with_srtf",
            "nalar, and requests that have come further go first",
            relief,
            reassignment,
            srtf,
        ),
        _ours("no_priority", "nalar without priorities", relief, reassignment, priorities=False),
        _ours("lanes", "late binding and hashed sessions, no policy"),
        _ours("relief", "as lanes, and sessions that wait move to who is free", relief),
    )
}


def chosen(names: Sequence[str]) -> list[Strategy]:
    """Return the strategies with these names, once each; nalar and its peers when there are none.

    A policy as `nalar policy apply` takes it, or several with `+` between, means that over bare
    lanes. Raises UsageError, with a suggestion, for a name that is none.
    """
    return [_named(name) for name in dict.fromkeys(names or STRATEGIES)]


def _named(name: str) -> Strategy:
    known = {**STRATEGIES, **ABLATIONS}
    if name in known:
        return known[name]
    parts = name.split("+")
    for part in parts:
        if not {",", ":"} & {*part} and part not in SHIPPED:
            names = [*known, *SHIPPED]
            raise UsageError(
                f"no policy is named {part!r}.{suggest(part, names)} "
                f"There are: {', '.join(names)}; one of your own is MODULE:CLASS"
            )
        make_policy(part)  # What cannot be meant is told before anything runs.
    return _ours(name, "lanes with these policies", lambda _: [make_policy(it) for it in parts])
