"""Messages that are almost right: golden ones, broken in ways that a seed draws."""

import ast
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, cast

import orjson

_ROOT: Final = Path(__file__).parents[2]

#: Values that no field expects, as JSON.
HOSTILE: Final[tuple[bytes, ...]] = (
    b"null", b"true", b"-1", b"0", b"1e400", b"NaN", b"-0.0", b"18446744073709551616",
    b"9223372036854775807", b'""', b'"\\ud800"', b'"a.b.>"', b'"$JS.API.>"', b'"\\u0000"',
    b"[]", b"{}", b'[[["x"]]]', b'{"$future":"call.s.A.s.r.p.f"}', b"[" * 5000, b'{"a":' * 2000,
    b"[" * 500 + b"]" * 500,  # Read, but too deep to be written again.
    b'"' + b"x" * 70_000 + b'"', b"\xff\xfe", b"", b"1,2", b'"\r\nNats-Rollup: all"',
)  # fmt: skip
#: Numbers that Python reads and no peer of ours writes; others that are too long.
STRANGE_NUMBERS: Final[tuple[bytes, ...]] = (
    b"inf", b"nan", b"1_0", b" 7", b"+7", "\u0663".encode(), b"9" * 5000, b"0x10", b"1e3", b"7.0",
)  # fmt: skip
_PIECES: Final = (
    b"\r\n",
    b"\0",
    b"\r\n\r\n",
    b": ",
    b",",
    b"\xf0\x9f\x98",
    b"Nalar-Ref: x\r\n",
    b"}",
)


def broken(golden: bytes, chance: random.Random) -> bytes:
    """Return `golden` with one to three things wrong with it."""
    for _ in range(chance.randint(1, 3)):
        golden = chance.choice(WAYS)(golden, chance)
    return golden


def with_a_broken_header(headers: bytes, chance: random.Random) -> bytes:
    """Return a block of headers, one of which has a value that it does not expect."""
    lines = headers.split(b"\r\n")
    at = chance.randrange(1, len(lines) - 2)
    name, _, _ = lines[at].partition(b":")
    lines[at] = name + b": " + chance.choice(HOSTILE + STRANGE_NUMBERS)
    return b"\r\n".join(lines)


def _flipped(text: bytes, chance: random.Random) -> bytes:
    if not text:
        return text
    at = chance.randrange(len(text))
    return text[:at] + bytes([text[at] ^ (1 << chance.randrange(8))]) + text[at + 1 :]


def _cut(text: bytes, chance: random.Random) -> bytes:
    return text[: chance.randint(0, len(text))]


def _without_a_part(text: bytes, chance: random.Random) -> bytes:
    begin = chance.randint(0, len(text))
    return text[:begin] + text[begin + chance.randint(1, 20) :]


def _with_a_part_twice(text: bytes, chance: random.Random) -> bytes:
    begin = chance.randint(0, len(text))
    end = begin + chance.randint(1, 60)
    return text[:end] + text[begin:]


def _with_a_piece(text: bytes, chance: random.Random) -> bytes:
    at = chance.randint(0, len(text))
    return text[:at] + chance.choice(_PIECES + HOSTILE) + text[at:]


def _with_a_hostile_value(text: bytes, chance: random.Random) -> bytes:
    """Put something in the place of a value, anywhere in the JSON."""
    parsed, places = _opened(text)
    if parsed is None:
        return _with_a_piece(text, chance)
    if not places:
        return chance.choice(HOSTILE)
    holder, at = chance.choice(places)
    holder[at] = _MARK
    return orjson.dumps(parsed).replace(b'"%s"' % _MARK.encode(), chance.choice(HOSTILE), 1)


def _without_a_member(text: bytes, chance: random.Random) -> bytes:
    parsed, places = _opened(text)
    if parsed is None:
        return _without_a_part(text, chance)
    if not places:
        return b""
    holder, at = chance.choice(places)
    del holder[at]
    return orjson.dumps(parsed)


def _opened(text: bytes) -> tuple[Any, list[tuple[Any, Any]]]:
    """Return JSON and every place in it; None for what was broken too much by now."""
    places: list[tuple[Any, Any]] = []
    try:
        parsed: Any = orjson.loads(text)
        orjson.dumps(parsed)
    except (orjson.JSONDecodeError, TypeError):
        return None, places
    _collect(parsed, places)
    return parsed, places


_MARK: Final = "here-it-goes"


def _collect(value: object, places: list[tuple[Any, Any]]) -> None:
    """List every place in a JSON value where another value could stand."""
    members: Any = ()
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value).items()
    elif isinstance(value, list):
        members = enumerate(cast("list[Any]", value))
    for at, member in members:
        places.append((cast("Any", value), at))
        _collect(member, places)


WAYS: Final[tuple[Callable[[bytes, random.Random], bytes], ...]] = (
    _flipped, _cut, _without_a_part, _with_a_part_twice, _with_a_piece,
    _with_a_hostile_value, _with_a_hostile_value, _with_a_hostile_value, _without_a_member,
)  # fmt: skip


#: How JSON is opened. `check_depth` and the values of calls have tests of their own.
_OPENS: Final = frozenset(("loads", "load_object", "validate_json"))
_NAMED: Final = ("decode_", "parse_", "read_")


def readers_of_json() -> Iterator[str]:
    """Name every function of nalar that opens JSON, or whose name says that it reads bytes."""
    for path in sorted(_ROOT.glob("nalar/**/*.py")):
        for name, function in _functions(ast.parse(path.read_text()), ""):
            opens = {
                node.attr if isinstance(node, ast.Attribute) else node.id
                for node in ast.walk(function)
                if isinstance(node, ast.Attribute | ast.Name)
            }
            takes_bytes = any(
                argument.annotation and "bytes" in ast.unparse(argument.annotation)
                for argument in function.args.args
            )
            if opens & _OPENS or (takes_bytes and function.name.startswith(_NAMED)):
                yield f"{path.relative_to(_ROOT)}::{name}"


def _functions(
    node: ast.AST, prefix: str
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}{child.name}", child
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")
