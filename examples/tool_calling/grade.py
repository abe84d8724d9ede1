"""Grading as BFCL does it: by the function's name and its arguments, never by a result. Pure.

Texts are compared without case, spaces and punctuation; an argument may be left out if "" is among
its accepted values. Unlike there, whole numbers pass for floats in lists too, as they do in JSON,
and texts in lists in dicts are compared like others.
"""

import re

from pydantic import JsonValue

from examples.tool_calling.records import Answer, Call, Function, Question, Shape, Verdict
from examples.tool_calling.schema import is_a

#: Among accepted values: the argument may be left out.
OMITTED = ""
PUNCTUATION = re.compile(r"[ ,./\-_*^]")


def grade(question: Question, answer: Answer, call: Call) -> Verdict:
    """Compare `call` with the accepted ones."""
    [(name, accepted)] = answer.items()
    if call.function != name:
        return Verdict(right=False, reason=f"the right function is {name}")
    [function] = (offered for offered in question.functions if offered.name == name)
    mistake = _first_mistake(function, accepted, call.arguments)
    return Verdict(right=mistake is None, reason=mistake or "")


def _first_mistake(
    function: Function, accepted: dict[str, list[JsonValue]], arguments: dict[str, JsonValue]
) -> str | None:
    for name in {**function.arguments, **arguments}:
        options = accepted.get(name)
        if name in arguments:
            mistake = _mistake_in(function, name, options, arguments[name])
        elif function.parameters.wants(name) or (options and OMITTED not in options):
            mistake = f"{name} is missing"
        else:
            mistake = None
        if mistake is not None:
            return mistake
    return None


def _mistake_in(
    function: Function, name: str, options: list[JsonValue] | None, value: JsonValue
) -> str | None:
    if name not in function.arguments or options is None:
        return f"{name} is not wanted"
    shape = function.arguments[name]
    if not _is_typed(shape, value, options):
        return f"{name} is {value!r}, not of type {shape.type}"
    return None if _is_accepted(value, options) else f"{name} is {value!r}"


def _is_typed(shape: Shape, value: JsonValue, options: list[JsonValue]) -> bool:
    """Whether a value and its items have the declared types, or those of what is accepted there.

    The latter may be of another type: the name of a variable, for a list.
    """
    if not is_a(shape.type, value):
        return type(value) in {type(option) for option in options if option != OMITTED}
    if isinstance(value, list) and shape.items:
        items = [item for option in options if isinstance(option, list) for item in option]
        return all(_is_typed(shape.items, item, items) for item in value)
    return True


def _is_accepted(value: JsonValue, options: list[JsonValue]) -> bool:
    return any(_same(value, option) for option in options)


def _same(value: JsonValue, option: JsonValue) -> bool:
    match value, option:
        case str(), str():
            return _plain(value) == _plain(option)
        case list(), list():
            pairs = zip(value, option, strict=False)
            return len(value) == len(option) and all(_same(*pair) for pair in pairs)
        case dict(), dict():
            keys = {**option, **value}
            return all(_same_key(key, value, option) for key in keys)
        case _:
            return value == option and isinstance(value, bool) == isinstance(option, bool)


def _same_key(key: str, value: dict[str, JsonValue], option: dict[str, JsonValue]) -> bool:
    """In an accepted dict, each key leads to a list of accepted values."""
    options = option.get(key)
    if not isinstance(options, list):
        return key in value and key in option and _same(value[key], options)
    return _is_accepted(value[key], options) if key in value else OMITTED in options


def _plain(text: str) -> str:
    return PUNCTUATION.sub("", text).lower().replace("'", '"')
