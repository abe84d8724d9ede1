"""Which policies are to run no longer, for what they have done. Pure."""

from collections.abc import Mapping
from typing import Final

from nalar.cluster.arbiter import Verdict

#: So many decisions in a row may a policy slip: what it names may just have been renamed.
SLIPS_MAX: Final = 3


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
            policy: f"{SLIPS_MAX} times in a row: {verdict.slips[policy]}"
            for policy, times in self._slips.items()
            if times >= SLIPS_MAX
        }
        return {**slipped, **verdict.faults, **faults}
