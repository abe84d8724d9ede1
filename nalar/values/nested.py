"""Futures inside values: finding them, checking what surrounds them, putting results in. Pure.

A raw future is never iterated, measured or tested for truth here: it may not have a value yet.
"""

import collections
import collections.abc
from collections.abc import Iterable, Mapping
from dataclasses import fields
from types import NoneType, UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

from nalar.combined import Gathered
from nalar.errors import NotData
from nalar.futures import Future
from nalar.messages import FUTURE_KEY
from nalar.values.wire import SCALARS, WireType

_BYTES_AND_SCALARS = SCALARS | {bytes}
_CONTAINERS = (list, tuple, set, frozenset, collections.deque)
_SEQUENCE_TYPES = frozenset(
    {list, set, frozenset, tuple, collections.deque, collections.abc.Sequence,
     collections.abc.Iterable, collections.abc.Collection, collections.abc.Set,
     collections.abc.MutableSequence, collections.abc.MutableSet}
)  # fmt: skip
_MAPPING_TYPES = frozenset(
    {dict, collections.abc.Mapping, collections.abc.MutableMapping, collections.defaultdict,
     collections.OrderedDict}
)  # fmt: skip


def find_futures(value: object, depth_max: int) -> list[Future[Any]]:
    """Return the futures in `value`, in order; those of a combination one by one.

    Looks into lists, tuples, sets, dicts, dataclasses and pydantic models. Raises NotData for
    what nests deeper than `depth_max`, as a list that contains itself does.
    """
    found: list[Future[Any]] = []
    _collect(value, found, depth_max)
    return found


def _collect(value: Any, found: list[Future[Any]], depth: int) -> None:
    kind = cast("type[Any]", type(value))
    if kind in _BYTES_AND_SCALARS:
        return
    if issubclass(kind, Gathered):
        for part in value.parts:
            _collect(part, found, depth)
        return
    if issubclass(kind, Future):
        found.append(value)
        return
    members = _members(value, kind)
    if members is None or _BYTES_AND_SCALARS.issuperset(map(type, members)):
        return
    if depth == 0:
        raise NotData("nested too deeply, or it contains itself")
    for member in members:
        _collect(member, found, depth - 1)


def _members(value: Any, kind: type[Any]) -> Iterable[Any] | None:
    if issubclass(kind, dict):
        return value.values()
    if issubclass(kind, _CONTAINERS):
        return value
    if hasattr(kind, "__pydantic_fields__"):
        extra: dict[str, Any] = getattr(value, "__pydantic_extra__", None) or {}
        own = cast("dict[str, Any]", vars(value))
        return [*own.values(), *extra.values()]
    if hasattr(kind, "__dataclass_fields__") and not issubclass(kind, type):
        return [getattr(value, field.name, None) for field in fields(value)]
    return None


def validate_around(annotation: Any, value: Any) -> Any:  # noqa: PLR0911 -- one per kind
    """Return `value` checked against `annotation` as far as it has no futures.

    What is a future, or a model that holds one, is taken on trust: its result is checked where
    the method runs.
    """
    if isinstance(value, Future):
        return cast("Future[Any]", value)
    if not find_futures(value, -1):
        return WireType.of(annotation).validate(value)
    origin, args = get_origin(annotation) or annotation, get_args(annotation)
    if origin is Annotated:
        return validate_around(args[0], value)
    if origin is Union or origin is UnionType:
        return _first_that_fits(args, value)
    if isinstance(value, dict):
        return _around_dict(origin, args, annotation, cast("dict[Any, Any]", value))
    if isinstance(value, _CONTAINERS):
        return _around_sequence(origin, args, annotation, cast("Iterable[Any]", value))
    if isinstance(origin, type) and origin in (*_BYTES_AND_SCALARS, *_SEQUENCE_TYPES):
        raise NotData(f"got a {type(value).__qualname__} with futures in it")
    return value


def _around_dict(origin: Any, args: Any, annotation: Any, value: dict[Any, Any]) -> Any:
    if origin in _MAPPING_TYPES and len(args) == 2:  # noqa: PLR2004 -- key and value
        key_type = WireType.of(args[0])
        return {
            key_type.validate(key): validate_around(args[1], item) for key, item in value.items()
        }
    hints = _fields_of(origin)
    if hints:
        return {key: validate_around(hints.get(key, Any), item) for key, item in value.items()}
    if _refuses(origin, _MAPPING_TYPES):
        raise NotData(f"got a dict with futures in it for {annotation}")
    return value


def _around_sequence(origin: Any, args: Any, annotation: Any, value: Iterable[Any]) -> Any:
    if origin is tuple and args and args[-1] is not Ellipsis:
        items = list(value)
        if len(items) != len(args):
            raise NotData(f"got {len(items)} values for {len(args)}")
        return tuple(validate_around(arg, item) for arg, item in zip(args, items, strict=True))
    if origin in _SEQUENCE_TYPES and args:
        return [validate_around(args[0], item) for item in value]
    if _refuses(origin, _SEQUENCE_TYPES):
        raise NotData(f"got a {type(value).__qualname__} with futures in it for {annotation}")
    return value


def _refuses(origin: Any, accepted: frozenset[Any]) -> bool:
    """Say whether a container can never be valid for `origin`; when in doubt, it may be."""
    if not isinstance(origin, type) or origin is object or origin in accepted:
        return False
    return origin in (_BYTES_AND_SCALARS | _SEQUENCE_TYPES | _MAPPING_TYPES)


def _fields_of(origin: Any) -> dict[str, Any]:
    """Return the annotations of a model, dataclass or typed dict that a dict may stand for."""
    fields_ = getattr(origin, "__pydantic_fields__", None)
    if fields_ is not None:
        return {name: field.annotation for name, field in fields_.items()}
    if hasattr(origin, "__dataclass_fields__") or hasattr(origin, "__total__"):
        from typing import get_type_hints  # noqa: PLC0415 -- rare

        return get_type_hints(origin)
    return {}


def _first_that_fits(arms: tuple[Any, ...], value: Any) -> Any:
    error: Exception = NotData("it fits no member of the union")
    for arm in arms:
        if arm is NoneType:
            continue
        try:
            return validate_around(arm, value)
        except ValueError as refused:
            error = refused
    raise error


def replace_futures(tree: Any, stand_ins: Mapping[str, Any]) -> Any:
    """Return a JSON tree with each `{"$future": text}` whose text is known replaced."""
    if type(tree) is list:
        return [replace_futures(item, stand_ins) for item in cast("list[Any]", tree)]
    if type(tree) is not dict:
        return tree
    members = cast("dict[str, Any]", tree)
    if len(members) == 1:
        text = members.get(FUTURE_KEY)
        if type(text) is str and text in stand_ins:
            return stand_ins[text]
    return {key: replace_futures(item, stand_ins) for key, item in members.items()}
