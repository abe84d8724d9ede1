"""Messages that are almost right: golden ones, broken in ways that a seed draws."""

import random
from collections.abc import Callable
from typing import Any, Final, cast

import orjson

#: Values that no field expects, as JSON.
HOSTILE: Final[tuple[bytes, ...]] = (
    b"null", b"true", b"-1", b"0", b"1e400", b"NaN", b"-0.0", b"18446744073709551616",
    b"9223372036854775807", b'""', b'"\\ud800"', b'"a.b.>"', b'"$JS.API.>"', b'"\\u0000"',
    b"[]", b"{}", b'[[["x"]]]', b'{"$future":"call.s.A.s.r.p.f"}', b"[" * 5000, b'{"a":' * 2000,
    b'"' + b"x" * 70_000 + b'"', b"\xff\xfe", b"", b"1,2", b'"\r\nNats-Rollup: all"',
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
    try:
        parsed: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        return _with_a_piece(text, chance)
    places: list[tuple[Any, Any]] = []
    _collect(parsed, places)
    if not places:
        return chance.choice(HOSTILE)
    holder, at = chance.choice(places)
    holder[at] = _MARK
    return orjson.dumps(parsed).replace(b'"%s"' % _MARK.encode(), chance.choice(HOSTILE), 1)


def _without_a_member(text: bytes, chance: random.Random) -> bytes:
    try:
        parsed: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        return _without_a_part(text, chance)
    places: list[tuple[Any, Any]] = []
    _collect(parsed, places)
    if not places:
        return b""
    holder, at = chance.choice(places)
    del holder[at]
    return orjson.dumps(parsed)


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
