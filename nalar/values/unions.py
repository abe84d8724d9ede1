"""Unions whose members look alike as JSON: what would arrive as another type is refused. Pure.

`str | bytes` given bytes is written as text, and text is read as a str. Whether that happens to a
value is found by reading back what was written for it, at each union where it could happen;
a union whose members JSON tells apart (`str | None`, `int | list[str] | Model`, one with a
discriminator) is not looked at. A union with `Any` is `Any`: it promises JSON and no more.
"""

import collections
import datetime as dt
from collections.abc import Iterator
from dataclasses import fields
from types import NoneType
from typing import TYPE_CHECKING, Any, cast

import orjson

from nalar.future_schema import IN_PLACE
from nalar.futures import Future
from nalar.messages import FUTURE_KEY

if TYPE_CHECKING:
    from pydantic_core import CoreSchema, SchemaValidator

Node = dict[str, Any]
#: A JSON kind, and the Python type that it stands for where that matters.
Mark = tuple[str, object]

#: Where a serializer's context keeps what it has found.
FOUND = "nalar.values.unions"
_WAY_OUT = (
    "the members of this union look alike as JSON. Tell them apart with a discriminator "
    "(Annotated[A | B, Discriminator(...)]), or wrap the value in a model that says its type"
)
_UNKNOWN: Mark = ("unknown", None)  # Written and read in ways that only trying can tell.
_ANYTHING: Mark = ("anything", None)
#: What a smart union tells apart by itself: a whole number is also a float, but 1 is no 1.0.
_NATIVE: dict[str, Mark] = {
    "none": ("null", NoneType), "bool": ("bool", bool), "int": ("int", int),
    "float": ("float", float), "str": ("text", str),
}  # fmt: skip
#: Written as text, or as what an enum's or a literal's values are.
_TEXTS = ("bytes", "date", "datetime", "time", "timedelta", "decimal", "uuid", "url", "enum",
          "literal")  # fmt: skip
_MARKS: dict[str, Mark] = {
    **_NATIVE,
    **dict.fromkeys(_TEXTS, ("scalar", None)),
    **dict.fromkeys(("list", "tuple", "set", "frozenset"), ("array", None)),
    **dict.fromkeys(("dict", "typed-dict", "dataclass", "model"), ("object", None)),
    "any": _ANYTHING,
}
#: Kinds that are what they are around.
_AROUND = frozenset({"default", "function-after", "nullable"})
_SCALARS = frozenset({"bool", "int", "float", "text", "scalar"})


class Guards:
    """The ambiguous unions of one annotation. Empty for nearly all annotations."""

    def __init__(self, schema: "CoreSchema", config: dict[str, Any]) -> None:
        self._config = config
        #: Of the schema as pydantic made it, by name.
        self._named = {node["ref"]: node for node in _definitions(schema)}
        #: Of the schema as it is on the wire.
        self._definitions: list[Node] = []
        self._count = 0

    def __bool__(self) -> bool:
        return self._count > 0

    def define(self, definitions: list[Node]) -> None:
        """Say how what unions refer to is read on the wire."""
        self._definitions += definitions

    def guard(self, union: Node, on_wire: Node) -> None:
        """Have `on_wire`, which is `union` on the wire, try what it writes, if it must."""
        if "serialization" in union or not self._is_ambiguous(union):
            return
        from pydantic_core import core_schema  # noqa: PLC0415 -- pydantic is slow to import

        self._count += 1
        reading = dict(on_wire)
        on_wire["serialization"] = core_schema.wrap_serializer_function_ser_schema(
            _Trial(reading, self._definitions, self._config), info_arg=True, when_used="json"
        )

    def _is_ambiguous(self, union: Node) -> bool:
        arms = [self._marks(choice) for choice in _choices(union)]
        if any(_ANYTHING in arm for arm in arms):
            return False
        if union.get("mode") == "left_to_right":
            return True
        return any(
            _alike(mark, other)
            for place, arm in enumerate(arms)
            for mark in arm
            for later in arms[place + 1 :]
            for other in later
        )

    def _marks(self, node: Node) -> set[Mark]:
        kind: str = node["type"]
        if kind == "definition-ref":
            named = self._named.get(node["schema_ref"])
            # A union that is named may lead back to itself.
            return {_UNKNOWN} if named is None or named["type"] == "union" else self._marks(named)
        if IN_PLACE in node.get("metadata", ()):
            return self._marks(node["schema"])
        if kind in ("union", "tagged-union"):
            return set[Mark]().union(*map(self._marks, _choices(node)))
        if "serialization" not in node and kind in _AROUND:
            null = {_NATIVE["none"]} if kind == "nullable" else set[Mark]()
            return null | self._marks(node["schema"])
        return {_mark(kind, node)}


def _mark(kind: str, node: Node) -> Mark:
    if "serialization" in node or node.get("root_model"):
        return _UNKNOWN
    if kind == "literal" and all(type(value) is str for value in node["expected"]):
        return _NATIVE["str"]
    return _MARKS.get(kind, _UNKNOWN)


def _alike(one: Mark, other: Mark) -> bool:
    if _UNKNOWN in (one, other):
        return True
    if "scalar" in (one[0], other[0]):
        return {one[0], other[0]} <= _SCALARS
    return one[0] == other[0] and (one[1] is None or one[1] is not other[1])


def _choices(union: Node) -> Iterator[Node]:
    choices: Any = union["choices"]
    for choice in choices if union["type"] == "union" else choices.values():
        yield choice[0] if type(choice) is tuple else choice  # A choice may have a label.


def _definitions(schema: Any) -> Iterator[Node]:
    while schema["type"] == "definitions":
        yield from schema["definitions"]
        schema = schema["schema"]


class _Trial:
    """Serializes what stands at one union, reads it back, and notes what has changed."""

    def __init__(self, reading: Node, definitions: list[Node], config: dict[str, Any]) -> None:
        self._reading = reading
        self._definitions = definitions
        self._config = config
        self._validator: SchemaValidator | None = None

    def __call__(self, value: Any, write: Any, info: Any) -> Any:
        written = write(value)
        if info.context is not None and not isinstance(value, Future):
            problem = self._problem(value, written)
            if problem:
                info.context.setdefault(FOUND, []).append(problem)
        return written

    def _problem(self, value: Any, written: Any) -> str:
        try:
            text = orjson.dumps(written)
        except TypeError:
            return ""  # Whoever writes the whole says what is wrong.
        validator = self._validator or self._compile()
        try:
            back = validator.validate_json(text, by_alias=True, by_name=True)
        except ValueError as error:
            if b'"' + FUTURE_KEY.encode() + b'"' in text:
                return ""  # A future's value is checked where it arrives.
            return f"{_short(value)} cannot be read back from JSON: {_first(error)}; {_WAY_OUT}"
        changed = difference(value, back)
        return f"{_short(value)} does not survive as JSON: {changed}; {_WAY_OUT}" if changed else ""

    def _compile(self) -> "SchemaValidator":
        from pydantic_core import SchemaValidator, core_schema  # noqa: PLC0415 -- slow to import

        schema = cast("CoreSchema", self._reading)
        if self._definitions:
            definitions = cast("list[CoreSchema]", self._definitions)
            schema = core_schema.definitions_schema(schema, definitions)
        self._validator = SchemaValidator(schema, cast("Any", self._config), False)
        return self._validator


def difference(sent: Any, arrived: Any) -> str:
    """Say what differs between two values, in type or content; "" when nothing does."""
    if isinstance(sent, Future):
        return ""  # Something stands in its place.
    if type(sent) is not type(arrived):
        return f"{_name(sent)} becomes {_name(arrived)}"
    pairs = _members(sent, arrived)
    if pairs is None:
        return "" if _equal(sent, arrived) else f"{_short(sent)} becomes {_short(arrived)}"
    if len(pairs[0]) != len(pairs[1]):
        return f"{_short(sent)} becomes {_short(arrived)}"
    for one, other in zip(*pairs, strict=True):
        found = difference(one, other)
        if found:
            return found
    return ""


def _members(one: Any, other: Any) -> tuple[list[Any], list[Any]] | None:
    """Return what two values of a type hold, each beside its like; None if they hold nothing."""
    kind = cast("type[Any]", type(one))
    if issubclass(kind, dict):
        theirs = {key: (key, item) for key, item in other.items()}
        mine = [part for pair in one.items() for part in pair]
        return mine, [part for key in one if key in theirs for part in theirs[key]]
    if issubclass(kind, list | tuple | collections.deque):
        return list(one), list(other)
    if issubclass(kind, set | frozenset):
        like = {item: item for item in other}
        items = list(one)
        return items, [like[item] for item in items if item in like]
    names = _fields(kind)
    if names is None:
        return None
    return _of_fields(one, names), _of_fields(other, names)


def _of_fields(value: Any, names: list[str]) -> list[Any]:
    extra: Any = getattr(value, "__pydantic_extra__", None)
    return [getattr(value, name, None) for name in names] + [extra or {}]


def _fields(kind: type[Any]) -> list[str] | None:
    """Return the names of a model's fields that are sent; None for what is no model."""
    own = getattr(kind, "__pydantic_fields__", None)
    if own is not None:
        return [name for name, field in own.items() if not field.exclude]
    if hasattr(kind, "__dataclass_fields__"):
        return [field.name for field in fields(kind) if field.init]
    return None


def _equal(one: Any, other: Any) -> bool:
    kind = cast("type[Any]", type(one))
    if one == other or kind.__eq__ is object.__eq__ or one != one:  # noqa: PLR0124 -- a NaN
        return True
    # Times of different zones are never equal in the hour that the clocks repeat.
    return isinstance(one, dt.datetime | dt.time) and one.isoformat() == other.isoformat()


def _name(value: object) -> str:
    return "None" if value is None else type(value).__qualname__


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004 -- a line


def _first(error: ValueError) -> str:
    problems: Any = getattr(error, "errors", None)
    return str(error) if problems is None else str(problems(include_url=False)[0]["msg"])
