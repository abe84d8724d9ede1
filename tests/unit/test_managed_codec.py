"""What the codec knows of a type; what it does with values is tested with the collections."""

import datetime as dt
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import pytest
from annotated_types import Gt
from pydantic import BaseModel, Field

from nalar.errors import ArgumentError, UsageError
from nalar.statestore.managed_codec import key_codec, value_codec
from nalar.values.wire import WireType


class Colour(enum.Enum):
    RED = "red"


@dataclass(frozen=True)
class Frozen:
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class FrozenAround:
    names: list[str]


@dataclass
class Open:
    name: str = ""


class FrozenModel(BaseModel, frozen=True):
    next: "FrozenModel | None" = None


class OpenModel(BaseModel):
    name: str = ""


class Pair(NamedTuple):
    one: list[int]


@dataclass
class Page:
    raw: bytes


class Book(BaseModel):
    cover: bytes
    pages: list[Page] = []
    plates: dict[str, Page] = {}
    next: "Book | None" = None
    title: str = Field(default="", alias="the-title")


#: No text, base64 of every kind of letter, what looks like base64, and none.
BYTES = (b"\x00\xff\xfe", b"\xfb\xff\xbf>?", b"YWJj", b"")


@pytest.mark.parametrize(
    "annotation",
    [int, str, float, bool, None, bytes, int | None, Literal["a"], Colour, dt.date, Frozen,
     FrozenModel, tuple[int, str], frozenset[str], Annotated[int, Gt(0)], Frozen | FrozenModel],
)  # fmt: skip
def test_values_that_cannot_change_are_not_watched(annotation: object) -> None:
    assert not value_codec(annotation).mutable


@pytest.mark.parametrize(
    "annotation",
    [list[int], dict[str, int], set[int], Any, object, Open, OpenModel, FrozenAround, Pair,
     tuple[list[int]], int | list[int], Frozen | Open, Mapping[str, int]],
)  # fmt: skip
def test_values_that_can_change_are_watched(annotation: object) -> None:
    assert value_codec(annotation).mutable


def test_a_codec_is_compiled_once() -> None:
    assert value_codec(list[int]) is value_codec(list[int])
    assert key_codec(str) is key_codec(str)


def test_an_annotation_that_cannot_be_hashed_works_too() -> None:
    annotation = Annotated[int, {"un": "hashable"}]
    assert value_codec(annotation).accept("f", [1]) == [1]
    assert key_codec(annotation).accept("f", 1) == (1, "1")


def test_constraints_hold() -> None:
    with pytest.raises(ArgumentError, match="greater than 0"):
        value_codec(Annotated[int, Gt(0)]).accept("f", [1, 0])


def test_values_are_converted_as_arguments_are() -> None:
    assert value_codec(float).accept("f", [1, "2"]) == [1.0, 2.0]
    assert value_codec(Open).accept("f", [{"name": "a"}]) == [Open("a")]


def test_a_value_is_kept_itself_unless_it_had_to_be_converted() -> None:
    fits, converted = [1, 2.0], ["5"]
    first, second = value_codec(list[float]).accept("f", [fits, converted])
    assert first is fits
    assert (second, converted) == ([5.0], ["5"])


@pytest.mark.parametrize("raw", BYTES)
def test_bytes_in_models_are_kept_as_they_are_in_arguments(raw: bytes) -> None:
    page = Page(raw)
    inner = Book(cover=raw)
    book = Book(cover=raw, pages=[page], plates={raw.hex(): page}, next=inner)
    cases: list[tuple[Any, Any]] = [
        (Page, page), (Book, book), (list[Page], [page]), (dict[str, Book], {"a": book}),
        (Book | Page, book), (Book | Page, page), (Book | None, book), (tuple[Page, ...], (page,)),
    ]  # fmt: skip
    for annotation, value in cases:
        codec = value_codec(annotation)
        assert codec.accept("f", [value]) == [value]
        dumped = codec.dump("f", [value])
        assert codec.load("f", dumped) == [value]
        assert dumped == [WireType.of(annotation).dump(value)]
        assert codec.differing("f", [value], dumped) == []


def test_what_a_union_would_bring_back_as_another_type_is_not_stored() -> None:
    cases: list[tuple[Any, Any]] = [
        (str | bytes, b"x"), (bytes | str, "abcd"), (list[str | bytes], ["x", b"x"]),
        (Open | OpenModel, OpenModel()), (dict[str, list[int] | set[int]], {"a": {1}}),
    ]  # fmt: skip
    for annotation, value in cases:
        with pytest.raises(ArgumentError, match=r"f: .*does not survive as JSON: .*discriminator"):
            value_codec(annotation).accept("f", [value])
    assert value_codec(str | bytes).accept("f", ["x"]) == ["x"]


def test_a_value_that_was_changed_into_what_a_union_loses_is_not_committed() -> None:
    codec = value_codec(list[str | bytes])
    [value] = codec.accept("f", [["x"]])
    value.append(b"x")
    with pytest.raises(ArgumentError, match="bytes becomes str"):
        codec.dump("f", [value])


def test_keys_of_another_type_than_stored_are_refused() -> None:
    with pytest.raises(UsageError, match="the session's stored keys do not fit int"):
        key_codec(int).load("f", ["a"])
