"""How values of a managed field become JSON and come back, by the field's annotation.

Pure. What would change on the way is refused where the user stores it: it would differ between
the worker that keeps its copy of a session and the one that loads it.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn, cast

import orjson

from nalar.errors import ArgumentError, UsageError
from nalar.futures import Future
from nalar.statestore.session import JSON, short
from nalar.values.wire import WireType

if TYPE_CHECKING:
    from pydantic import TypeAdapter

#: Annotations kept compiled; a program has a handful of fields.
CODECS_MAX = 1024
_SCALARS = frozenset(("bool", "bytes", "decimal", "enum", "float", "int", "none", "str", "uuid"))
_TIMES = frozenset(("date", "datetime", "time", "timedelta"))
_CHOICES = frozenset(
    ("default", "definitions", "definition-ref", "literal", "nullable", "tagged-union", "union")
)
_CLASSES = frozenset(("model", "model-field", "model-fields"))
_DATACLASSES = frozenset(("dataclass", "dataclass-args", "dataclass-field"))
#: Schema types whose values cannot change in place; models and dataclasses if they are frozen.
_IMMUTABLE = _SCALARS | _TIMES | _CHOICES | _CLASSES | _DATACLASSES | {"frozenset", "tuple"}
#: Schema types whose JSON comes back as the same value, so nothing needs to be tried.
_PLAIN = frozenset(("bool", "float", "int", "none", "nullable", "str"))


class Codec:
    """Validates, dumps and loads values of one annotation; by the list, because that is faster."""

    def __init__(self, wire: WireType, annotation: object) -> None:
        wire.compile()
        self._wire = wire
        #: The annotation, for messages.
        self.expected = _name_of(annotation)
        kinds, frozen = _schema_kinds(wire.natural)
        #: Whether a value may change in place once it was handed out.
        self.mutable = not (frozen and kinds <= _IMMUTABLE)
        self._plain = kinds <= _PLAIN
        # `Any` takes everything, so what it took must be shown to come back.
        self._loose = not kinds or "any" in kinds
        # Sets have no order, so their JSON may differ when nothing has changed.
        self._unordered = bool(kinds & {"set", "frozenset"})

    def accept(self, field: str, values: list[Any]) -> list[Any]:
        """Return `values` made valid; ArgumentError names the field and what it takes."""
        try:
            valid = self._wire.validate(values)
        except ValueError as error:
            self._refuse(field, values, error)
        dumped, back = self._round_trip(field, valid)
        if self._plain:
            return valid
        for place, value in enumerate(valid):
            if type(value) is not type(back[place]):
                self._refuse_change(field, value, back[place])
            given = values[place]
            # Pydantic copies lists and dicts. Who stored one expects that very object in here,
            # as in a plain list, unless it had to be converted.
            if given is not value and self._dumps_as(given, value, dumped[place]):
                valid[place] = given
        return valid

    def dump(self, field: str, values: list[Any]) -> list[JSON]:
        """Return `values` as JSON; ArgumentError if they would not come back as they are."""
        return self._round_trip(field, values)[0]

    def load(self, field: str, items: Sequence[JSON]) -> list[Any]:
        """Return fresh values from JSON; UsageError when the stored state is of another type."""
        try:
            return self._wire.load(orjson.dumps(items))
        except ValueError as error:
            raise UsageError(
                f"{field}: the session's stored state does not fit {self.expected} (any more): "
                f"{_reason(error)}"
            ) from error

    def differing(self, field: str, values: list[Any], committed: list[JSON]) -> list[int]:
        """Return the places of those `values` that are no longer what was committed.

        Most were only looked at, so this is quick when nothing has changed.
        """
        dumped, text = self._dump(field, values)
        if text == orjson.dumps(committed):
            return []
        return [
            place
            for place, (old, new, value) in enumerate(zip(committed, dumped, values, strict=True))
            if orjson.dumps(old) != orjson.dumps(new) and not self.alike(field, old, new, value)
        ]

    def alike(self, field: str, old: JSON, new: JSON, value: object) -> bool:
        """Say whether `value` is what was committed as `old` although its JSON is another."""
        if not self._unordered or _unordered_text(old) != _unordered_text(new):
            return False
        # The same items somewhere in another order: in a set, or in a list, where it matters?
        return bool(self.load(field, [old])[0] == value)

    def _dump(self, field: str, values: list[Any]) -> tuple[list[JSON], bytes]:
        try:
            wire = self._wire
            dumped = list(values) if wire.is_plain(values) else wire.dump(values)
            text = orjson.dumps(dumped)
            if b"null" in text:  # How orjson writes NaN, so look closer.
                _refuse_nan(dumped)
        except (ValueError, TypeError, RecursionError) as error:
            self._refuse(field, values, error)
        return dumped, text

    def _round_trip(self, field: str, values: list[Any]) -> tuple[list[JSON], list[Any]]:
        """Return the JSON of `values`, and what it loads as where that was to be tried."""
        dumped, text = self._dump(field, values)
        if self._plain:
            return dumped, values
        try:
            if b'"$future"' in text:
                _refuse_future(dumped)
            back = self._wire.load(text)
        except (ValueError, TypeError) as error:
            self._refuse(field, values, error)
        if self._loose:
            for value, loaded in zip(values, back, strict=True):
                if value != loaded:
                    self._refuse_change(field, value, loaded)
        return orjson.loads(text), back

    def _dumps_as(self, value: object, valid: object, expected: JSON) -> bool:
        if type(value) is not type(valid):
            return False
        try:
            return orjson.dumps(self._wire.dump([value])[0]) == orjson.dumps(expected)
        except (ValueError, TypeError):
            return False

    def _refuse(self, field: str, values: list[Any], error: Exception) -> NoReturn:
        what = short(values[0]) if len(values) == 1 else "these values"
        if any(isinstance(value, Future) for value in values):
            reason = "a future is no state: await it and store its value"
        else:
            reason = _reason(error)
        raise ArgumentError(
            f"{field}: expected {self.expected}, and {what} cannot be stored: {reason}"
        ) from error

    def _refuse_change(self, field: str, value: object, back: object) -> NoReturn:
        raise ArgumentError(
            f"{field}: expected {self.expected}, and {short(value)}, which is a "
            f"{type(value).__name__}, would come back as {short(back)}: store JSON types, or say "
            "the type in the annotation"
        )


class KeyCodec:
    """Turns the keys of a dict into JSON strings and back."""

    def __init__(self, adapter: "TypeAdapter[dict[Any, None]]", annotation: object) -> None:
        self._adapter = adapter
        self._text = annotation is str
        self._number = annotation is int
        self._expected = _name_of(annotation)

    def accept(self, field: str, key: object) -> tuple[Any, str]:
        """Return `key` made valid, and as it is written in JSON."""
        if self._text and type(key) is str:
            try:
                key.encode()
            except UnicodeEncodeError as error:
                self._refuse(field, key, error)
            return key, key
        if self._number and type(key) is int:
            return key, str(key)
        try:
            valid = self._adapter.validate_python({key: None})
            (text,) = self._adapter.dump_python(valid, mode="json", warnings="error")
            back = self._adapter.validate_json(orjson.dumps({text: None}))
        except (ValueError, TypeError) as error:
            self._refuse(field, key, error)
        if back != valid:
            raise ArgumentError(
                f"{field}: expected keys of {self._expected}, and {short(key)} does not survive "
                "being a JSON string"
            )
        return next(iter(valid)), text

    def load(self, field: str, keys: Sequence[str]) -> list[Any]:
        """Return the keys written as `keys`."""
        if self._text:
            return list(keys)
        try:
            return list(self._adapter.validate_json(orjson.dumps(dict.fromkeys(keys))))
        except ValueError as error:
            raise UsageError(
                f"{field}: the session's stored keys do not fit {self._expected} (any more): "
                f"{_reason(error)}"
            ) from error

    def _refuse(self, field: str, key: object, error: Exception) -> NoReturn:
        raise ArgumentError(
            f"{field}: expected keys of {self._expected}, not {short(key)}: {_reason(error)}"
        ) from error


def value_codec(annotation: object) -> Codec:
    """Return the codec for values of `annotation`; compiled once, it costs a millisecond."""
    # `str | bytes` equals `bytes | str`, and pydantic reads them differently: the text tells.
    text = "" if isinstance(annotation, type) else repr(annotation)
    try:
        return _value_codec(annotation, text)
    except TypeError:  # Annotated with what cannot be hashed.
        return _value_codec.__wrapped__(annotation, text)


def key_codec(annotation: object) -> KeyCodec:
    """Return the codec for dict keys of `annotation`."""
    try:
        return _key_codec(annotation)
    except TypeError:
        return _key_codec.__wrapped__(annotation)


@lru_cache(maxsize=CODECS_MAX)
def _value_codec(annotation: object, _: str) -> Codec:
    return Codec(WireType(list[cast("Any", annotation)], is_state=True), annotation)


@lru_cache(maxsize=CODECS_MAX)
def _key_codec(annotation: object) -> KeyCodec:
    return KeyCodec(_adapter(dict[cast("Any", annotation), None]), annotation)


def _adapter(annotation: object) -> "TypeAdapter[Any]":
    from pydantic import ConfigDict, TypeAdapter  # noqa: PLC0415 -- 60 ms to import

    return TypeAdapter[Any](
        cast("Any", annotation), config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    )


def _schema_kinds(schema: object) -> tuple[set[str], bool]:
    """Return the types in the schema of a list's items, and whether all classes are frozen."""
    kinds: set[str] = set()
    frozen = True
    todo: list[object] = [schema]
    lists = 0
    while todo:
        match cast("JSON | tuple[JSON, ...]", todo.pop()):  # JSON is not true, but near.
            case dict() as node:
                kind = node.get("type")
                if isinstance(kind, str):
                    kinds.add(kind)
                    lists += kind == "list"
                    frozen &= kind not in {"model", "dataclass"} or _is_frozen(node.get("cls"))
                todo += (part for key, part in node.items() if key not in _NOT_SCHEMAS)
            case list() | tuple() as nodes:
                todo += nodes
            case _:
                pass
    if lists == 1:  # The list around the items, which is ours.
        kinds.discard("list")
    return kinds, frozen


def _is_frozen(cls: object) -> bool:
    """Ask the class: pydantic leaves it out of the schema of a standard dataclass."""
    parameters = getattr(cls, "__dataclass_params__", None)
    model_config = cast("dict[str, object]", getattr(cls, "model_config", {}))
    return bool(getattr(parameters, "frozen", False) or model_config.get("frozen"))


#: Parts of a schema that hold no schemas.
_NOT_SCHEMAS = frozenset(("config", "metadata", "expected", "cls", "default", "ref"))


def _refuse_nan(dumped: JSON) -> None:
    from json import dumps  # noqa: PLC0415 -- orjson has no such check; this one is in C too

    dumps(dumped, allow_nan=False)


def _refuse_future(dumped: JSON) -> None:
    todo: list[JSON] = [dumped]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            if node.keys() == {"$future"}:
                raise TypeError("a future is no state: await it and store its value")
            todo += node.values()
        elif isinstance(node, list):
            todo += node


def _unordered_text(node: JSON) -> bytes:
    """Return the JSON of `node` with every list sorted."""
    if isinstance(node, list):
        return b"[" + b",".join(sorted(map(_unordered_text, node))) + b"]"
    if isinstance(node, dict):
        pairs = (orjson.dumps(key) + b":" + _unordered_text(node[key]) for key in sorted(node))
        return b"{" + b",".join(pairs) + b"}"
    return orjson.dumps(node)


def _reason(error: Exception) -> str:
    """Return what is wrong in one line; pydantic's messages have several and a link."""
    if hasattr(error, "errors"):
        first = cast("Any", error).errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return f"{where}: {first['msg']}" if where else str(first["msg"])
    return " ".join(str(error).split()) or type(error).__name__


def _name_of(annotation: object) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
