"""One annotation as JSON: what `nalar.values.signature` makes of each argument and result.

Pure. A `WireType` validates by its annotation and turns values into JSON trees and back, with
bytes as base64 and sets in order, also inside models. No type is ever named by data.
"""

import json
import math
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, cast, get_args, get_origin

import orjson

from nalar.errors import NotData, UsageError
from nalar.futures import Future
from nalar.values.unions import FOUND, Guards

if TYPE_CHECKING:
    from pydantic_core import SchemaSerializer, SchemaValidator

#: What JSON has as it is. A value of exactly such a type needs no conversion.
SCALARS: frozenset[type] = frozenset({str, int, float, bool, NoneType})
#: Kinds of the core schema that carry a configuration of their own.
_CONFIGURED = frozenset({"model", "dataclass", "typed-dict"})
#: Members of a core schema that hold no schemas.
_OPAQUE = frozenset({"metadata", "default", "expected", "config", "serialization", "function"})
#: Bytes are base64; a NaN stays one, so that it is found and refused, not sent as null.
_CONFIG = {
    "ser_json_bytes": "base64",
    "val_json_bytes": "base64",
    "ser_json_inf_nan": "constants",
}


def _fallback(value: object) -> object:
    if isinstance(value, Future):
        return cast("Future[Any]", value).as_json()
    raise NotData(
        f"a {type(value).__qualname__} is not data: send JSON values, dataclasses, pydantic "
        "models, datetimes, enums or bytes"
    )


def _no_state(value: object) -> object:
    if isinstance(value, Future):
        raise NotData("a future is no state: await it and store its value")
    return _fallback(value)


def _is_model(kind: Any) -> bool:
    return hasattr(kind, "__pydantic_fields__") or hasattr(kind, "__dataclass_fields__")


def _plain_key(key: object) -> str:
    if isinstance(key, str) and not isinstance(key, Enum):
        return key
    from pydantic_core import to_jsonable_python  # noqa: PLC0415 -- pydantic is slow to import

    return next(iter(to_jsonable_python({key: None})))


def plain(value: Any) -> Any:  # noqa: PLR0911 -- one per kind
    """Return a value of unknown type as a JSON tree; raises NotData for what is not data."""
    kind = cast("type[Any]", type(value))
    if kind in SCALARS:
        return value
    if issubclass(kind, Mapping):
        return {_plain_key(key): plain(item) for key, item in value.items()}
    if issubclass(kind, list | tuple) and kind is not tuple and kind is not list:
        return plain(list(value))
    if kind is list or kind is tuple:
        return [plain(item) for item in value]
    if issubclass(kind, set | frozenset):
        return _in_order([plain(item) for item in value])
    if issubclass(kind, Future):
        return value.as_json()
    if _is_model(kind):
        return WireType.of(kind).dump(value)
    from pydantic_core import to_jsonable_python  # noqa: PLC0415 -- pydantic is slow to import

    return to_jsonable_python(value, bytes_mode="base64", fallback=_fallback)


def _in_order(items: list[Any]) -> list[Any]:
    return sorted(items, key=_canonical_json)


def _sorted_set(value: Any, handler: Any) -> list[Any]:
    return _in_order(handler(value))


_canonical_json = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"), check_circular=False
).encode


def canonical(tree: object) -> bytes:
    """Return the text of a JSON tree that is hashed: keys sorted, floats by repr, no spaces."""
    try:
        return _canonical_json(tree).encode()
    except UnicodeEncodeError as error:
        raise NotData("text with a lone surrogate is not valid Unicode") from error
    except RecursionError as error:
        raise NotData("nested too deeply") from error
    except ValueError as error:
        raise NotData("NaN and Infinity have no JSON form") from error


def encode(tree: object, depth_max: int) -> bytes:
    """Return `tree` as JSON text; raises NotData for what the wire does not carry."""
    try:
        text = orjson.dumps(tree)
    except TypeError as error:
        raise NotData(_encode_reason(str(error))) from error
    if b"null" in text and not _finite(tree):
        raise NotData("NaN and Infinity have no JSON form")
    check_depth(text, depth_max)
    return text


def _encode_reason(reason: str) -> str:
    if "64-bit" in reason:
        return "integers beyond 64 bits are not portable: send them as text"
    if "surrogate" in reason:
        return "text with a lone surrogate is not valid Unicode"
    if "ecursion" in reason:
        return "nested too deeply"
    return reason


def _finite(tree: object) -> bool:
    """Say whether no float in `tree` is NaN or infinite."""
    level: list[Any] = [tree]
    while level:
        if any(type(node) is float and not math.isfinite(node) for node in level):
            return False
        level = [child for node in level for child in _children(node)]
    return True


def _children(node: Any) -> Any:
    kind = cast("object", type(node))
    if kind is dict:
        return node.values()
    return node if kind is list else ()


def check_depth(text: bytes, depth_max: int) -> None:
    """Raise NotData when the JSON `text` nests deeper than `depth_max`."""
    if text.count(b"[") + text.count(b"{") <= depth_max:
        return
    level = [orjson.loads(text)]
    for _ in range(depth_max):
        level = [
            child for node in level for child in _children(node) if type(child) in (dict, list)
        ]
        if not level:
            return
    raise NotData(f"nested deeper than {depth_max} levels")


class WireType:
    """An annotation, compiled: exact types that pass untouched, and pydantic for the rest."""

    __slots__ = ("_guards", "_is_state", "_schema", "annotation", "items", "natural", "scalars",
                 "serializer", "validator")  # fmt: skip

    def __init__(self, annotation: Any, *, is_state: bool = False) -> None:
        self.annotation = annotation
        #: State is refused by `dump` where it does not fit the annotation (any more). Its sets, and
        #: what is annotated Any, are left to pydantic, which is faster: who stores state compares.
        self._is_state = is_state
        #: A value of exactly such a type is valid and its own JSON form.
        self.scalars = _scalars_of(annotation)
        #: So is a list of only such values.
        self.items = _items_of(annotation)
        self.validator: SchemaValidator | None = None
        self.serializer: SchemaSerializer | None = None
        self._schema: Any = None
        #: The core schema as pydantic makes it, once compiled.
        self.natural: Any = None
        #: Unions in it whose members look alike; None while there are none.
        self._guards: Guards | None = None

    @staticmethod
    def of(annotation: Any) -> "WireType":
        """Return the compiled form of `annotation`, shared by all who ask for it."""
        # `str | bytes` equals `bytes | str`, and pydantic reads them differently: the text tells.
        text = "" if isinstance(annotation, type) else repr(annotation)
        try:
            return _shared(annotation, text)
        except TypeError:  # Annotated[..., something unhashable]
            return WireType(annotation)

    def compile(self) -> "tuple[SchemaValidator, SchemaSerializer]":
        """Build the validator and serializer; raises UsageError when there is no data type."""
        from pydantic import TypeAdapter  # noqa: PLC0415 -- 60 ms, when first needed
        from pydantic.errors import PydanticUserError  # noqa: PLC0415
        from pydantic_core import SchemaSerializer, SchemaValidator  # noqa: PLC0415

        try:
            self.natural = TypeAdapter[Any](self.annotation).core_schema
        except (PydanticUserError, NameError) as error:
            raise UsageError(
                f"{describe(self.annotation)} is not a type of data: {error}"
            ) from error
        guards = Guards(self.natural, _CONFIG)
        schema = self._schema = _for_the_wire(self.natural, guards, natural=self._is_state)
        self._guards = guards or None
        # Prebuilt validators of models would ignore our configuration of bytes and sets.
        self.validator = SchemaValidator(schema, cast("Any", _CONFIG), False)
        self.serializer = SchemaSerializer(schema, cast("Any", _CONFIG), False)
        return self.validator, self.serializer

    @property
    def schema(self) -> Any:
        """The core schema, as it is on the wire: for JSON Schema."""
        if self._schema is None:
            self.compile()
        return self._schema

    def is_plain(self, value: object) -> bool:
        """Say whether `value` is valid as it stands and its own JSON form."""
        kind = type(value)
        if kind in self.scalars:
            return True
        return (
            kind is list
            and bool(self.items)
            and self.items.issuperset(map(type, cast("Any", value)))
        )

    def validate(self, value: object) -> Any:
        """Return `value` as the annotation wants it; raises pydantic's ValidationError."""
        validator = self.validator or self.compile()[0]
        return validator.validate_python(value, by_alias=True, by_name=True)

    def dump(self, value: object) -> Any:
        """Return a validated value as a JSON tree; NotData says what is none, or would change."""
        serializer = self.serializer or self.compile()[1]
        found: dict[str, list[str]] | None = None if self._guards is None else {}
        try:
            tree = serializer.to_python(
                value,
                mode="json",
                by_alias=False,
                round_trip=True,
                warnings="error" if self._is_state else False,
                fallback=_no_state if self._is_state else _fallback,
                context=found,
            )
        except NotData:
            raise
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            # From inside a model, pydantic wraps what we raised in words of its own.
            raise NotData(str(error).rpartition("NotData: ")[2]) from error
        if found:  # Noted, not raised there: a union around would take that for "not this member".
            raise NotData(found[FOUND][0])
        return tree

    def load(self, text: bytes) -> Any:
        """Return the value that JSON `text` stands for; raises pydantic's ValidationError."""
        validator = self.validator or self.compile()[0]
        return validator.validate_json(text, by_alias=True, by_name=True)

    def read(self, text: bytes) -> Any:
        """Return what JSON `text` that we wrote stands for: what is plain is not validated again.

        Raises ValueError, of which pydantic's ValidationError is one.
        """
        tree = orjson.loads(text)
        return tree if self.is_plain(tree) else self.load(text)


@lru_cache(maxsize=4096)
def _shared(annotation: Any, _: str) -> WireType:
    return WireType(annotation)


def _scalars_of(annotation: Any) -> frozenset[type]:
    if annotation is Any or annotation is object:
        return SCALARS
    if annotation is None or annotation is NoneType:
        return frozenset({NoneType})
    if isinstance(annotation, type) and annotation in SCALARS:
        return frozenset({annotation})
    if get_origin(annotation) is Future:  # Its value may stand in its place.
        return _scalars_of(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        arms = [_scalars_of(arm) for arm in get_args(annotation)]
        # An int is also a valid float; in `float | str` pydantic must decide.
        return frozenset[type]().union(*arms) if all(arms) else _only_text(annotation)
    return frozenset()


def _only_text(annotation: Any) -> frozenset[type]:
    """Return what surely passes in `X | None` where X is no scalar: None."""
    return frozenset({NoneType}) if NoneType in get_args(annotation) else frozenset()


def _items_of(annotation: Any) -> frozenset[type]:
    if get_origin(annotation) is list:
        # A float may be NaN; those lists go the careful way.
        return _scalars_of(get_args(annotation)[0]) - {float}
    return frozenset()


def _for_the_wire(node: Any, guards: Guards, *, natural: bool) -> Any:  # noqa: C901 -- one walk
    """Return a core schema in which bytes are base64, unions guarded, and sets dumped in order.

    `natural`: sets and what is annotated Any are dumped as pydantic does.
    """
    from pydantic_core import core_schema  # noqa: PLC0415 -- pydantic is slow to import

    if isinstance(node, list):
        return [_for_the_wire(item, guards, natural=natural) for item in cast("list[Any]", node)]
    if isinstance(node, tuple):
        return tuple(
            _for_the_wire(item, guards, natural=natural) for item in cast("tuple[Any, ...]", node)
        )
    if not isinstance(node, dict):
        return node  # pyright: ignore[reportUnknownVariableType] -- some leaf
    new: dict[str, Any] = {}
    for key, member in cast("dict[str, Any]", node).items():
        if key in ("fields", "choices") and isinstance(member, dict):
            named = cast("dict[Any, Any]", member)
            new[key] = {
                name: _for_the_wire(item, guards, natural=natural) for name, item in named.items()
            }
        else:
            new[key] = member if key in _OPAQUE else _for_the_wire(member, guards, natural=natural)
    kind = new.get("type")
    if kind in ("set", "frozenset") and not natural:
        new.setdefault(
            "serialization",
            core_schema.wrap_serializer_function_ser_schema(_sorted_set, when_used="json"),
        )
    elif kind == "any" and not natural:
        new.setdefault(
            "serialization",
            core_schema.plain_serializer_function_ser_schema(plain, when_used="json"),
        )
    elif kind == "union":
        guards.guard(cast("dict[str, Any]", node), new)
    elif kind == "definitions":
        guards.define(new["definitions"])
    elif kind == "bytes" and not natural:
        told: Any = new
        in_code = core_schema.no_info_before_validator_function(_no_text, told)
        return core_schema.json_or_python_schema(told, in_code)
    elif kind in _CONFIGURED:
        new["config"] = _CONFIG | new.get("config", {})
    return new


def _no_text(value: object) -> object:
    """Refuse text for bytes in Python code: it would be read as base64, as it is on the wire."""
    if isinstance(value, str):
        raise ValueError("bytes are wanted, and this is text: encode it")  # noqa: TRY004 -- pydantic's
    return value


def describe(annotation: Any) -> str:
    """Return `annotation` as people write it."""
    if get_origin(annotation) is Annotated:
        return describe(get_args(annotation)[0])
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__qualname__
    return str(annotation).replace("typing.", "")


def reasons(error: Exception) -> str:
    """Return what pydantic found, one clause per problem, the first three."""
    problems: Any = getattr(error, "errors", None)
    if problems is None:
        return str(error)
    found: list[dict[str, Any]] = problems(include_url=False, include_context=False)
    clauses: list[str] = []
    for problem in found[:3]:
        where = "".join(f"[{step!r}]" for step in problem["loc"])
        given = repr(problem["input"])
        given = given if len(given) <= 80 else given[:77] + "..."  # noqa: PLR2004 -- a line
        clauses.append(f"{where + ': ' if where else ''}{problem['msg']}, not {given}")
    more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""  # noqa: PLR2004 -- the first three
    return "; ".join(clauses) + more
