"""What controllers have done and why, for an hour: an entry for each decision that did anything."""

import contextlib
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import orjson

from nalar.cluster.arbiter import Verdict
from nalar.directives import key_of
from nalar.statestore.port import KeyValue

#: Where decisions stand, in the control bucket.
DECISIONS: Final = "decision"
#: How long they are kept, in seconds.
KEPT_S: Final = 3_600.0
#: Lines of one kind in an entry; beyond, they are counted.
LINES_MAX: Final = 50


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision, as people read it."""

    at_s: float
    epoch: int
    version: int
    #: What was directed or withdrawn: key, policy, reason.
    done: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    refused: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    #: Policies that were suspended, and why.
    suspended: dict[str, str] = field(default_factory=dict[str, str])
    #: How many there were of each, of which the first are listed.
    done_in_all: int = 0
    refused_in_all: int = 0


def describe(
    verdict: Verdict, suspended: dict[str, str], *, at_s: float, epoch: int, version: int
) -> Decision:
    """Return what a verdict has come to; of refusals that read alike, the first."""
    done = [
        {
            "key": key_of(it.directive), "policy": it.policy, "reason": it.reason,
            "withdrawn": it.withdrawn,
        }
        for it in verdict.granted[:LINES_MAX]
    ]  # fmt: skip
    alike: dict[tuple[str, str], dict[str, Any]] = {}
    for it in verdict.refused:
        known = alike.setdefault(
            (it.policy, it.reason),
            {
                "policy": it.policy, "reason": it.reason, "first": f"{it.suggestion!r:.200}",
                "times": 0,
            },
        )  # fmt: skip
        known["times"] += 1
    return Decision(
        at_s, epoch, version, done, list(alike.values())[:LINES_MAX], suspended,
        len(verdict.granted), len(verdict.refused),
    )  # fmt: skip


class Journal:
    """Writes decisions and lists them."""

    def __init__(self, control: KeyValue) -> None:
        self._control = control
        self._number = 0
        self._refusals: object = None

    async def write(self, decision: Decision) -> None:
        """Keep a decision that did something, or refused something else than the one before it."""
        refusals = [(it["policy"], it["first"]) for it in decision.refused]
        told = refusals != self._refusals
        self._refusals = refusals
        if decision.done or decision.suspended or (told and refusals):
            self._number += 1
            key = f"{DECISIONS}.{decision.epoch:012d}-{self._number:09d}"
            await self._control.put(key, orjson.dumps(asdict(decision)), ttl_s=KEPT_S)

    async def last(self, count: int) -> list[Decision]:
        """Return the last decisions, the newest last."""
        entries = await self._control.scan(DECISIONS)
        found: list[Decision] = []
        for entry in entries[-count:]:
            with contextlib.suppress(ValueError, TypeError):
                found.append(Decision(**orjson.loads(entry.value or b"")))
        return found
