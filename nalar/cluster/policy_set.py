"""Which policies run, in which order and with which parameters: numbered versions. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import orjson

from nalar.directives import BY_HAND
from nalar.errors import MalformedMessage, UsageError

#: Where versions stand, in the control bucket.
POLICY_SETS: Final = "policies"
#: Who has applied a set: a controller, with what it was started with.
BY_START: Final = "start"
#: Policies in a set.
POLICIES_MAX: Final = 50


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """A policy by name, `srtf`, or by place, `file.py:Class`, and what its parameters are."""

    name: str
    parameters: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return ",".join([self.name, *(f"{name}={value}" for name, value in self.parameters)])


@dataclass(frozen=True, slots=True)
class PolicySet:
    """One version."""

    version: int
    #: Each as `str(PolicySpec)`, the one whose word goes first before the others.
    policies: tuple[str, ...]
    at_s: float
    by: str = BY_HAND
    note: str = ""
    #: Policies of the version before that were suspended, and why this one was made.
    faulty: tuple[str, ...] = ()


def parse_spec(text: str) -> PolicySpec:
    """Return what `NAME[,parameter=value]...` means; a value may have commas.

    Raises UsageError for what is none.
    """
    name, *rest = text.strip().split(",")
    parameters: list[tuple[str, str]] = []
    for part in rest:
        key, equals, value = part.partition("=")
        if equals and key.strip().isidentifier():
            parameters.append((key.strip(), value.strip()))
        elif parameters:
            key, value = parameters[-1]
            parameters[-1] = (key, f"{value},{part.strip()}")
        else:
            raise UsageError(f"{text!r}: after the name come parameters, as in {name},step=3")
    twice = [key for key, _ in parameters if [it for it, _ in parameters].count(key) > 1]
    if twice:
        raise UsageError(f"{text!r} gives {twice[0]} twice")
    if not name.strip() or name.strip() == BY_HAND:
        raise UsageError(f"{text!r} names no policy")
    return PolicySpec(name.strip(), tuple(parameters))


def canonical(texts: Sequence[str]) -> tuple[str, ...]:
    """Return policies as a set holds them; raises UsageError for what is none, or twice."""
    if len(texts) > POLICIES_MAX:
        raise UsageError(f"{len(texts)} policies; a set has {POLICIES_MAX} at most")
    specs = [str(parse_spec(text)) for text in texts]
    for spec in specs:
        if specs.count(spec) > 1:
            raise UsageError(f"{spec} is named twice")
    return tuple(specs)


def key_of_version(version: int) -> str:
    """Return where a version stands, in the control bucket; keys sort as versions do."""
    return f"{POLICY_SETS}.{version:08d}"


def encode_set(policy_set: PolicySet) -> bytes:
    """Return the value of a version's entry."""
    return orjson.dumps(
        {
            "v": 1, "policies": policy_set.policies, "at": policy_set.at_s,
            "by": policy_set.by, "note": policy_set.note, "faulty": policy_set.faulty,
        }
    )  # fmt: skip


def decode_set(key: str, body: bytes) -> PolicySet:
    """Return the version that stands under `key`; raises MalformedMessage for what is none."""
    number = key.removeprefix(f"{POLICY_SETS}.")
    try:
        told: Any = orjson.loads(body)
        version, form, policies = int(number), told["v"], cast("list[object]", told["policies"])
        by, note = str(told.get("by", ""))[:100], str(told.get("note", ""))[:1000]
        faulty = tuple(map(str, cast("list[object]", told.get("faulty", ()))))
        found = PolicySet(version, tuple(map(str, policies)), float(told["at"]), by, note, faulty)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedMessage(f"{key[:100]} is no set of policies: {error}") from error
    if form != 1 or not all(isinstance(it, str) for it in policies):
        raise MalformedMessage(f"{key[:100]} is no set of policies of format 1")
    return found


def is_to_start(history: Sequence[PolicySet], policies: tuple[str, ...]) -> bool:
    """Say whether a controller that is started with `policies` is to apply them.

    Not if that was done before, and another set has been applied since: who starts a controller
    again, as systemd does, takes back neither what a person has applied nor a rollback.
    """
    started = [version.policies for version in history if version.by == BY_START]
    return not started or started[-1] != policies


def without(history: Sequence[PolicySet], faulty: Sequence[str]) -> tuple[str, ...]:
    """Return what is to run in place of the newest set, of which some policies are faulty.

    `history` has the newest set last. The newest set before it of which nothing was ever found
    faulty; with none, the newest without them.
    """
    found = {*faulty, *(name for version in history for name in version.faulty)}
    for older in reversed(history[:-1]):
        if older.policies and not found & set(older.policies):
            return older.policies
    return tuple(policy for policy in history[-1].policies if policy not in faulty)


def difference(old: PolicySet, new: PolicySet) -> list[str]:
    """Return what has changed from one version to another, a line each; in order of precedence."""
    gone = [f"- {policy}" for policy in old.policies if policy not in new.policies]
    come = [f"+ {policy}" for policy in new.policies if policy not in old.policies]
    kept_old = [policy for policy in old.policies if policy in new.policies]
    kept_new = [policy for policy in new.policies if policy in old.policies]
    order = [] if kept_old == kept_new else [f"~ order: {', '.join(new.policies)}"]
    return gone + come + order
