"""Asking policies, and which of them are to run no longer for what they have done. Pure."""

import traceback
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Final, cast

from nalar.cluster.arbiter import Verdict
from nalar.cluster.policy import Policy, Suggestion
from nalar.cluster.view import ClusterView

#: So many decisions in a row may a policy slip: what it names may just have been renamed.
SLIPS_MAX: Final = 3


class NoSuggestions(Exception):
    """A policy has returned something that holds no suggestions."""


def suggestions_of(policy: Policy, view: ClusterView, most: int) -> list[Suggestion]:
    """Return what a policy suggests, `most` at the most.

    Raises NoSuggestions, and whatever the policy raises.
    """
    told = cast("object", policy.decide(view))
    if not isinstance(told, Iterable) or isinstance(told, str | bytes):
        raise NoSuggestions(f"returned {told!r:.100}: decide(view) returns or yields suggestions")
    return list(islice(cast("Iterable[Suggestion]", told), most))


def fault_of(error: BaseException) -> str:
    """Return what a policy did that raised `error`, and where."""
    if isinstance(error, NoSuggestions):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"raised {type(error).__name__}: {error!s:.200}{where}"


class Containment:
    """Counts what policies do wrong."""

    def __init__(self) -> None:
        self._slips: dict[str, int] = {}

    def suspended(self, faults: Mapping[str, str], verdict: Verdict) -> dict[str, str]:
        """Return the policies to suspend after a decision, and why.

        `faults` are what running them has shown: that they raise, or do not come back.
        """
        self._slips = {
            policy: self._slips.get(policy, 0) + 1
            for policy in verdict.slips
            if policy not in faults
        }
        slipped = {
            policy: f"{SLIPS_MAX} times in a row suggested what cannot be: {verdict.slips[policy]}"
            for policy, times in self._slips.items()
            if times >= SLIPS_MAX
        }
        return {**slipped, **verdict.faults, **faults}
