"""Methods whose body takes a batch: what is declared, and how one call of it looks.

The body has a list for each parameter, one entry a call, and returns a list in the same order.
Callers see one call: `list[str]` is `str` to them.
"""

import contextlib
import inspect
import typing
from collections.abc import Callable
from functools import partial
from types import UnionType
from typing import Any, Union, get_args, get_origin

from nalar.errors import UsageError
from nalar.values.signature import Signature


def batch_signature(fn: Callable[..., Any], label: str, *, kind: str) -> Signature:
    """Return the signature of one call; raises UsageError for a body that takes no batch."""
    if kind == "workflow":
        raise UsageError(
            f"@nalar.workflow on {label}: a workflow makes calls of its own, and those of a batch "
            "could not be told apart: put batch= on a tool or a method that it calls"
        )
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise UsageError(f"{label} yields, and a batch returns a list: leave batch= out")
    plain = Signature.of(fn, label, method=kind == "agent")
    if not plain.parameters:
        raise UsageError(f"{label} takes no arguments: a batch needs a list for each parameter")
    for parameter in plain.parameters:
        if parameter.kind not in ("plain", "keyword") or not parameter.required:
            raise UsageError(
                f"{label} has batch=, so {parameter.name!r} is a list with an entry for each "
                "call: it can be neither *, ** nor positional-only, and have no default"
            )
    hints = partial(_item_hints, fn, label, method=kind == "agent")
    with contextlib.suppress(NameError):  # Of what comes later in the module: checked when served.
        hints()
    return Signature(label, plain.parameters, hints=hints)


def _item_hints(fn: Callable[..., Any], label: str, *, method: bool) -> dict[str, Any]:
    hints = typing.get_type_hints(fn, include_extras=True)
    names = [*inspect.signature(fn).parameters, "return"]
    if method:
        hints.pop(names[0], None)  # Of `self`.
    found = {name: _item(label, name, hints[name]) for name in names if name in hints}
    for name in names[1:] if method else names:
        if name not in found:
            raise _wrong(label, name, "it has no annotation")
    found["return"] = _without_errors(found["return"])
    return found


def _item(label: str, name: str, hint: Any) -> Any:
    if get_origin(hint) is not list:
        raise _wrong(label, name, f"it is {getattr(hint, '__name__', hint)}")
    return get_args(hint)[0]


def _wrong(label: str, name: str, why: str) -> UsageError:
    what = "its result" if name == "return" else f"{name!r}"
    return UsageError(f"{label} has batch=, so {what} must be list[...], and {why}")


def _without_errors(result: Any) -> Any:
    """Return what a call's result can be: an exception in the list is raised instead."""
    if get_origin(result) not in (Union, UnionType):
        return result
    kinds: tuple[Any, ...] = get_args(result)
    kept = tuple(kind for kind in kinds if not _is_error(kind))
    return Union[kept] if kept else result  # noqa: UP007 -- of kinds that are known at run time


def _is_error(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseException)
