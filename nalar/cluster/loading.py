"""Making policies from what they are called: shipped ones, and those of the user's own files."""

import dataclasses
from pathlib import Path
from typing import Any, cast, get_type_hints

from pydantic import TypeAdapter, ValidationError

from nalar.agents.loader import load_module
from nalar.cluster.policies.shipped import SHIPPED
from nalar.cluster.policy import Policy
from nalar.cluster.policy_set import PolicySpec, parse_spec
from nalar.errors import UsageError, suggest


def make_policy(text: str) -> Policy:
    """Return a new policy for `NAME|MODULE:CLASS[,parameter=value]...`.

    MODULE is a file or a dotted name. Raises UsageError, with what there is, for anything that
    cannot be meant.
    """
    spec = parse_spec(text)
    kind = _class_of(spec.name)
    if not dataclasses.is_dataclass(kind) or not callable(getattr(kind, "decide", None)):
        raise UsageError(f"{spec.name} is no policy: a dataclass with a method decide(view) is")
    values = _values(kind, spec)
    try:
        policy: Any = kind(**values)
    except (Exception, SystemExit) as error:
        raise UsageError(f"{spec.name} cannot be made: {error}") from error
    return cast("Policy", policy)


def parameters_of(kind: type) -> dict[str, str]:
    """Return a policy's parameters and their defaults, as text; empty for one that has none."""
    return {
        field.name: "" if field.default is dataclasses.MISSING else str(field.default)
        for field in dataclasses.fields(kind)
        if field.init and not field.name.startswith("_")
    }


def _class_of(name: str) -> type:
    if name in SHIPPED:
        return SHIPPED[name]
    where, colon, attribute = name.rpartition(":")
    if not colon:
        known = list(SHIPPED)
        raise UsageError(
            f"no policy is named {name!r}.{suggest(name, known)} There are {', '.join(known)}; "
            "one of your own is MODULE:CLASS"
        )
    found = getattr(load_module(where, Path.cwd()), attribute, None)
    if not isinstance(found, type):
        raise UsageError(f"{where} has no class {attribute!r}")
    return found


def _allowed(hint: object) -> str:
    """Return what a parameter may be, where its annotation describes it."""
    told = (getattr(it, "description", None) for it in getattr(hint, "__metadata__", ()))
    return next((str(text) for text in told if text), "")


def _values(kind: type, spec: PolicySpec) -> dict[str, object]:
    known, hints = parameters_of(kind), get_type_hints(kind, include_extras=True)
    values: dict[str, object] = {}
    for name, text in spec.parameters:
        if name not in known:
            listed = f" It has {', '.join(known)}." if known else " It has none."
            raise UsageError(
                f"{spec.name} has no parameter {name!r}.{suggest(name, list(known))}{listed}"
            )
        adapter: TypeAdapter[object] = TypeAdapter(hints[name])
        try:
            values[name] = adapter.validate_strings(text)
        except ValidationError as error:
            allowed = _allowed(hints[name])
            why = f"it is {allowed}" if allowed else error.errors()[0]["msg"]
            raise UsageError(f"{spec.name}: {name}={text} cannot be meant: {why}") from error
    given = {name for name, _ in spec.parameters}
    for field in dataclasses.fields(kind):
        open_ = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if field.init and open_ and field.name not in given:
            raise UsageError(f"{spec.name} needs {field.name}: {spec.name},{field.name}=...")
    return values
