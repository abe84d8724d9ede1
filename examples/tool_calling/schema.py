"""The form of a call: what the model is asked to write, and whether a value has its form. Pure.

BFCL's types become JSON Schema; texts and lists get a bound, so that the output has one too.
"""

import math
from collections.abc import Mapping
from typing import cast

from pydantic import JsonValue, ValidationError

from examples.tool_calling.records import Call, Function, Shape

#: The longest text, in characters, and the longest list that the model may write.
TEXT_MAX = 80
ITEMS_MAX = 16

#: BFCL's type: its name in JSON Schema, and what it is in Python. "any" has no name there.
TYPES: dict[str, tuple[str, tuple[type, ...]]] = {
    "dict": ("object", (dict,)),
    "array": ("array", (list,)),
    "tuple": ("array", (list,)),
    "string": ("string", (str,)),
    "integer": ("integer", (int,)),
    "float": ("number", (int, float)),
    "boolean": ("boolean", (bool,)),
}


class InvalidCall(ValueError):
    """A text is not a call of a function on offer."""


def parse_call(text: str, functions: tuple[Function, ...]) -> Call:
    """Return the call that `text` describes; raises InvalidCall."""
    try:
        call = Call.model_validate_json(text)
    except ValidationError as error:
        [first, *_] = error.errors(include_url=False, include_context=False)
        raise InvalidCall(f"not a call: {first['msg']} in {text!r}") from error
    if call.function not in {function.name for function in functions}:
        raise InvalidCall(f"no such function on offer: {call.function!r}")
    if not is_portable(call.arguments):
        raise InvalidCall(f"a number is out of range in {text!r}")
    return call


def is_portable(value: object) -> bool:
    """Whether each number in `value` is finite and fits into 64 bits: JSON has no others."""
    match value:
        case dict():
            return all(map(is_portable, cast("dict[str, object]", value).values()))
        case list():
            return all(map(is_portable, cast("list[object]", value)))
        case int():
            return -(2**63) <= value < 2**63
        case float():
            return math.isfinite(value)
        case _:
            return True


def call_schema(functions: tuple[Function, ...]) -> dict[str, object]:
    """Return the JSON Schema of a call of one of `functions`."""
    return {"anyOf": [_call_of(function) for function in functions]}


def _call_of(function: Function) -> dict[str, JsonValue]:
    # The name stands first, so that the model settles it before it writes the arguments.
    name: JsonValue = {"type": "string", "enum": [function.name]}
    parts = {"function": name, "arguments": json_schema(function.parameters)}
    return _closed(parts, list(parts))


def json_schema(shape: Shape) -> dict[str, JsonValue]:
    """Translate `shape` into JSON Schema."""
    if shape.enum:
        return {"enum": list(shape.enum)}
    match shape.type:
        case "any":
            return {"anyOf": [{"type": "string", "maxLength": TEXT_MAX}, {"type": "number"}]}
        case "string":
            return {"type": "string", "maxLength": TEXT_MAX}
        case "array" | "tuple":
            items = json_schema(shape.items) if shape.items else {}
            return {"type": "array", "items": items, "maxItems": ITEMS_MAX}
        case "dict" if shape.properties:
            parts = {name: json_schema(part) for name, part in shape.properties.items()}
            return _closed(parts, [name for name in parts if shape.wants(name)])
        case kind:
            return {"type": TYPES[kind][0]}


def _closed(parts: Mapping[str, JsonValue], required: list[str]) -> dict[str, JsonValue]:
    return {
        "type": "object",
        "properties": dict(parts),
        "required": list[JsonValue](required),
        "additionalProperties": False,
    }


def misfit(shape: Shape, value: JsonValue) -> str | None:
    """Return how `value` differs from `shape`, in words that follow its name; None if it fits."""
    if not is_a(shape.type, value):
        return f"is {value!r}, not of type {shape.type}"
    if shape.enum and value not in shape.enum:
        return f"is {value!r}, not one of {', '.join(map(str, shape.enum))}"
    parts: list[str | None] = []
    if isinstance(value, list) and shape.items:
        parts = [misfit(shape.items, item) for item in value]
    if isinstance(value, dict) and shape.properties:
        parts = [_misfit_at(shape, name, value) for name in {**shape.properties, **value}]
    return next((part for part in parts if part), None)


def is_a(kind: str, value: JsonValue) -> bool:
    """Return whether `value` has the type that BFCL calls `kind`; whole numbers are floats too."""
    if kind == "any":
        return True
    if isinstance(value, bool):  # which Python takes for an integer
        return kind == "boolean"
    return isinstance(value, TYPES[kind][1])


def _misfit_at(shape: Shape, name: str, value: dict[str, JsonValue]) -> str | None:
    part = (shape.properties or {}).get(name)
    if part is None:
        return f"{name} is not asked for"
    if name not in value:
        return f"{name} is missing" if shape.wants(name) else None
    problem = misfit(part, value[name])
    return f"{name} {problem}" if problem else None
