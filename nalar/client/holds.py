"""What keeps calls from starting, or requests from being let in, as directives stand now."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from shlex import quote
from typing import Any

from nalar.clock import local_time
from nalar.directives import (
    BY_HAND,
    Directive,
    Issued,
    Limit,
    Pause,
    Provision,
    SetWeights,
    Shed,
)
from nalar.ids import readable_token


@dataclass(frozen=True, slots=True)
class Hold:
    """A directive that holds calls back, in words."""

    #: Whose calls; empty where it is not about one agent.
    agent: str
    #: What is so: `shout is paused`.
    what: str
    #: Who directed it, since when and why.
    source: str
    #: What lets the calls go on.
    remedy: str
    #: Whether calls wait; else requests are refused, and those that are in go on.
    waits: bool = True

    def __str__(self) -> str:
        return f"{self.what}, {self.source}"


def holds(standing: Iterable[Issued], workers: Iterable[Mapping[str, Any]]) -> list[Hold]:
    """Return what holds calls back; `workers` are the live ones, as each tells of itself."""
    serving: dict[str, list[str]] = {}
    for worker in workers:
        for agent in worker["agents"]:
            serving.setdefault(agent, []).append(worker["worker"])
    found: list[Hold] = []
    for issued in standing:
        told = _told(issued.directive, serving)
        if told is not None:
            agent, what, remedy, waits = told
            found.append(Hold(agent, what, _source(issued), _way_out(issued, remedy), waits))
    return found


def _told(
    directive: Directive, serving: Mapping[str, list[str]]
) -> tuple[str, str, str, bool] | None:
    """Return whose calls a directive holds back, how, the command against it, and if they wait."""
    match directive:
        case Pause(agent):
            name = readable_token(agent)
            return name, f"{name} is paused", f"nalar resume {quote(name)}", True
        case Limit(scope, token) if _nothing_of(directive):
            name = readable_token(token)
            whose = {"agent": "of", "tenant": "on behalf of tenant", "model": "that use"}[scope]
            what = f"calls {whose} {name} are limited to {_nothing_of(directive)}"
            remedy = f"nalar limit --{scope} {quote(name)} --withdraw"
            return name if scope == "agent" else "", what, remedy, True
        case SetWeights(agent, weights) if serving.get(agent) and not any(
            weights.get(worker, 1.0) for worker in serving[agent]
        ):
            what = f"all workers that serve {agent} have weight 0"
            return agent, what, f"nalar route {agent} --clear", True
        case Provision(agent, 0) if not serving.get(agent):
            name = readable_token(agent)
            what = f"nodes are to run no worker of {name}"
            return name, what, f"nalar scale {name}=1, or nalar scale {name} --withdraw", True
        case Shed(agent, below):
            name = readable_token(agent)
            what = f"new requests of a priority below {below} for {name} are refused"
            return name, what, f"nalar shed {name} --withdraw", False
        case _:
            return None


def _nothing_of(limit: Limit) -> str:
    """Return which number of a limit lets no call start; empty when each lets some."""
    told = {
        "0 at a time": limit.concurrency,
        "0 a minute": limit.requests_per_min,
        "0 tokens a minute": limit.tokens_per_min,
    }
    return next((text for text, number in told.items() if number == 0), "")


def _source(issued: Issued) -> str:
    by = "by hand" if issued.by == BY_HAND else f"by the policy {issued.by}"
    reason = f": {issued.reason}" if issued.reason else ""
    return f"{by}, since {local_time(issued.at_s)}{reason}"


def _way_out(issued: Issued, remedy: str) -> str:
    if issued.by == BY_HAND:
        return remedy
    return f"the policy would direct it again: see `nalar policy log`, then {remedy}"
