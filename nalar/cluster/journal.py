"""What controllers have done and why, for an hour: an entry for each decision that did anything."""

import contextlib
import re
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Annotated, Final

import orjson
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # Before Python 3.12 pydantic reads no other.

from nalar.cluster.arbiter import Verdict
from nalar.directives import key_of
from nalar.errors import MalformedMessage
from nalar.reports import Whole
from nalar.statestore.port import KeyValue

#: Where decisions stand, in the control bucket.
DECISIONS: Final = "decision"
#: How long they are kept, in seconds.
KEPT_S: Final = 3_600.0
#: Lines of one kind in an entry; beyond, they are counted.
LINES_MAX: Final = 50
#: How long what is refused again and again is not told of anew, in seconds.
_SAME_REFUSAL_S: Final = 60.0
_NUMBERS: Final = re.compile(r"[\d.,]+")
#: No decision of ours says a later Unix time.
_LATEST: Final = 1e11


class Done(TypedDict):
    """A directive that was given, or withdrawn."""

    key: str
    policy: str
    reason: str
    withdrawn: bool


class Refusal(TypedDict):
    """What a policy was refused, and how often for the same reason."""

    policy: str
    reason: str
    first: str
    times: Whole


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision, as people read it."""

    at_s: Annotated[float, Field(ge=0, lt=_LATEST)]
    epoch: Whole
    version: Whole
    #: What was directed or withdrawn.
    done: list[Done] = field(default_factory=list[Done])
    refused: list[Refusal] = field(default_factory=list[Refusal])
    #: Policies that were suspended, and why.
    suspended: dict[str, str] = field(default_factory=dict[str, str])
    #: How many there were of each, of which the first are listed.
    done_in_all: Whole = 0
    refused_in_all: Whole = 0


def describe(
    verdict: Verdict, suspended: dict[str, str], *, at_s: float, epoch: int, version: int
) -> Decision:
    """Return what a verdict has come to; of refusals that read alike, the first."""
    done: list[Done] = [
        {
            "key": key_of(it.directive), "policy": it.policy, "reason": it.reason,
            "withdrawn": it.withdrawn,
        }
        for it in verdict.granted[:LINES_MAX]
    ]  # fmt: skip
    alike: dict[tuple[str, str], Refusal] = {}
    for it in verdict.refused:
        known = alike.get((it.policy, it.reason))
        if known is None:  # There may be thousands: only the first is spelled out.
            known = alike[it.policy, it.reason] = {
                "policy": it.policy, "reason": it.reason, "first": f"{it.suggestion!r:.200}",
                "times": 0,
            }  # fmt: skip
        known["times"] += 1
    return Decision(
        at_s, epoch, version, done, list(alike.values())[:LINES_MAX], suspended,
        len(verdict.granted), len(verdict.refused),
    )  # fmt: skip


def encode_decision(decision: Decision) -> bytes:
    """Return the value of a decision's entry."""
    return orjson.dumps(asdict(decision))


def decode_decision(value: bytes) -> Decision:
    """Return what `encode_decision` wrote; raises MalformedMessage for anything else."""
    try:
        return _reader().validate_json(value, strict=True)
    except ValidationError as error:
        raise MalformedMessage(f"not a decision: {error}") from error


@cache
def _reader() -> TypeAdapter[Decision]:
    return TypeAdapter(Decision)


class Journal:
    """Writes decisions and lists them."""

    def __init__(self, control: KeyValue) -> None:
        self._control = control
        self._number = 0
        #: When a policy was last said to be refused for a reason, numbers apart.
        self._refused: dict[tuple[str, str], float] = {}

    async def write(self, decision: Decision) -> None:
        """Keep a decision that did something, or refused what was not refused of late."""
        if decision.done or decision.suspended or self._is_news(decision):
            self._number += 1
            key = f"{DECISIONS}.{decision.epoch:012d}-{self._number:09d}"
            await self._control.put(key, encode_decision(decision), ttl_s=KEPT_S)

    def _is_news(self, decision: Decision) -> bool:
        """Say whether anything is refused that was not, for the same reason, within a minute."""
        self._refused = {
            kind: at_s
            for kind, at_s in self._refused.items()
            if decision.at_s - at_s < _SAME_REFUSAL_S
        }
        kinds = {(it["policy"], _NUMBERS.sub("#", it["reason"])) for it in decision.refused}
        news = kinds - self._refused.keys()
        self._refused |= dict.fromkeys(news, decision.at_s)
        return bool(news)

    async def last(self, count: int) -> list[Decision]:
        """Return the last decisions, the newest last."""
        entries = await self._control.scan(DECISIONS)
        found: list[Decision] = []
        for entry in entries[-count:]:
            with contextlib.suppress(MalformedMessage):
                found.append(decode_decision(entry.value or b""))
        return found
