"""Whether the set of policies that stands has been the end of controllers that ran it. Pure.

A policy may be the end of its process: it keeps the interpreter to itself in C code, takes all
memory, exits. Nothing in that process can tell of it. So a leader writes down what it is about to
run, and that it ends in order; the next one reads it.
"""

from dataclasses import asdict, dataclass
from functools import cache
from typing import Annotated, Final

import orjson
from pydantic import Field, TypeAdapter, ValidationError

from nalar.cluster.policy_set import PolicySet
from nalar.errors import MalformedMessage
from nalar.reports import Whole

#: Where the newest tenure stands, in the control bucket.
TENURE: Final = "tenure"
#: Where processes say that they are alive, whoever leads.
ALIVE: Final = "alive"
#: So many decisions prove a set: it is not its nature to end who runs it.
PROVEN_DECISIONS: Final = 10
#: So many leaders in a row may be lost while they run a set that is proven.
LOST_MAX: Final = 2
#: One that has led for so long, in seconds, has died of something else.
FORGIVEN_S: Final = 600.0
#: No tenure of ours begins at a later Unix time.
_LATEST: Final = 1e11


@dataclass(frozen=True, slots=True)
class Tenure:
    """One controller's time as the leader with one set."""

    #: The process: a new name each time.
    who: str
    #: The set that it runs.
    version: Whole
    at_s: Annotated[float, Field(ge=0, lt=_LATEST)]
    #: Leaders before it, one after the other, that were lost while they ran the set.
    lost: Whole = 0
    #: The set has made so many decisions that it is above suspicion at first.
    proven: bool = False
    #: It has ended in order.
    closed: bool = False

    @property
    def is_in_doubt(self) -> bool:
        """Whether the set is to run no longer: before it was proven one loss is enough."""
        return self.lost > (LOST_MAX if self.proven else 0)


def begin(before: Tenure | None, who: str, version: int, now_s: float) -> Tenure:
    """Return the tenure that follows `before`."""
    if before is None or before.version != version:
        return Tenure(who, version, now_s)
    if before.who == who or before.closed:
        lost = 0 if before.closed else before.lost
    else:
        lost = 0 if now_s - before.at_s > FORGIVEN_S else before.lost + 1
    return Tenure(who, version, now_s, lost, before.proven)


def suspects(history: list[PolicySet]) -> list[str]:
    """Return the policies of the newest set that are held to be the cause: what came with it."""
    newest, before = history[-1], history[-2].policies if len(history) > 1 else ()
    return [name for name in newest.policies if name not in before] or list(newest.policies)


def encode_tenure(tenure: Tenure) -> bytes:
    """Return the value of the entry."""
    return orjson.dumps({"v": 1, **asdict(tenure)})


def decode_tenure(body: bytes) -> Tenure:
    """Return what stands; raises MalformedMessage for what is none."""
    try:
        return _reader().validate_json(body, strict=True)
    except ValidationError as error:
        raise MalformedMessage(f"no tenure: {error}") from error


@cache
def _reader() -> TypeAdapter[Tenure]:
    return TypeAdapter(Tenure)
