"""What users type, understood: JSON arguments and targets. Pure but for reading what is named."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TextIO, cast

#: How much of a bad line is shown around the mistake.
_SHOWN = 60


#: How units of time are written.
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_DURATION_MAX_S = 366 * 86_400.0


class InputError(Exception):
    """What was typed cannot be meant; the message names it and the way out."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a call is given."""

    args: list[Any] = field(default_factory=list[Any])
    kwargs: dict[str, Any] = field(default_factory=dict[str, Any])


def read_json(option: str, stdin: TextIO) -> str:
    """Return the text that `--json` names: itself, `@file`, or `-` for standard input."""
    if option == "-":
        try:
            return stdin.read()
        except UnicodeDecodeError as error:
            raise InputError(f"--json -: standard input is not UTF-8 text: {error}") from error
    if not option.startswith("@"):
        return option
    path = Path(option[1:]).expanduser()
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise InputError(f"--json {option}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"--json {option}: not UTF-8 text: {error}") from error


def duration_s(option: str, text: str) -> float:
    """Return the seconds that `text` says, as 10m does; raises InputError for anything else."""
    unit = _UNITS_S.get(text[-1:], 0.0)
    try:
        seconds = float(text[:-1]) * unit
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= _DURATION_MAX_S:
        raise InputError(
            f"{option} {_shorten(text)}: say how long, from a second to a year: 90s, 10m, 2h or 1d"
        )
    return seconds


def parse_arguments(text: str) -> Arguments:
    """Return the arguments in JSON `text`: an object names them, an array gives them in order.

    Raises InputError, showing the place, for anything else.
    """
    if not text.strip():
        return Arguments()
    match value := parse_value(text):
        case dict():
            return Arguments(kwargs=cast("dict[str, Any]", value))
        case list():
            return Arguments(args=cast("list[Any]", value))
        case _:
            raise InputError(
                f"--json is {_shorten(text)}, and must be an object of arguments by name, "
                f"{{...}}, or an array of arguments in order: for this one, [{_shorten(text)}]"
            )


def parse_value(text: str) -> Any:
    """Return the value of JSON `text`; raises InputError, showing the place, for what is none."""
    try:
        return json.loads(text, parse_constant=_no_number, object_pairs_hook=_without_doubles)
    except json.JSONDecodeError as error:
        raise InputError(_located(text, error)) from error
    except RecursionError as error:
        raise InputError("--json is nested too deeply") from error
    except ValueError as error:
        raise InputError(f"--json: {error}") from error


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {double!r} stands twice in one object")
    return found


def _located(text: str, error: json.JSONDecodeError) -> str:
    """Return what is wrong with JSON, with the line and a mark under the place."""
    # Counted as the decoder does: other characters may end lines elsewhere, and the last be empty.
    line = text.split("\n")[error.lineno - 1]
    start = max(0, error.colno - 1 - _SHOWN // 2)
    shown = line[start : start + _SHOWN]
    mark = " " * (error.colno - 1 - start) + "^"
    message = error.msg[0].lower() + error.msg[1:]
    return (
        f"--json is not JSON: {message}, at line {error.lineno}, column {error.colno}\n"
        f"  {shown}\n  {mark}"
    )


def _shorten(text: str) -> str:
    text = text.strip()
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


@dataclass(frozen=True, slots=True)
class Target:
    """What to call: a name that is served, or one in a module."""

    name: str
    #: A file or a dotted name; empty for what is known by the registry alone.
    module: str = ""


def parse_target(text: str) -> Target:
    """Return the target that `Agent.method`, `tool` or `MODULE:NAME` stands for."""
    module, colon, name = text.rpartition(":")
    if not colon:
        if text.endswith(".py") or "/" in text:
            raise InputError(f"{text!r} names a module: say what in it, {text}:NAME")
        if not text or text.startswith(".") or text.endswith("."):
            raise InputError(f"{text!r} is no target: write Agent.method, TOOL or MODULE:NAME")
        return Target(text)
    if not module or not name:
        raise InputError(f"{text!r} is no target: write MODULE:NAME, a file or dotted name first")
    return Target(name, module)


def parse_module_target(text: str) -> Target:
    """Return the target that `MODULE:NAME` stands for; the module may not be left out."""
    if ":" not in text:
        raise InputError(f"{text!r} names no workflow: write MODULE:WORKFLOW, as in app.py:report")
    return parse_target(text)


def parse_names(text: str) -> list[str]:
    """Return the names in a list separated by commas; raises InputError when there are none."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise InputError("--agents names none: give one or more, as in Analyst,search, or leave it")
    return names


def given_value(option: str) -> Any:
    """Return the value of a `--json` option that stands for one; null when there is none."""
    text = read_json(option, sys.stdin)
    return parse_value(text) if text.strip() else None


def given(option: str) -> Arguments:
    """Return the arguments of a `--json` option."""
    return parse_arguments(read_json(option, sys.stdin))
