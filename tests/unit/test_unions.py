import dataclasses
import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, Union, cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Discriminator, Field, PlainSerializer, RootModel, Tag, create_model

from nalar.errors import ArgumentError, InvalidResult, NotData
from nalar.futures import Future
from nalar.ids import AgentName, FutureId, Ref, RootId, SessionId
from nalar.values.signature import Signature
from nalar.values.unions import difference
from nalar.values.wire import WireType


class Color(enum.Enum):
    RED = "red"
    ONE = "1"


class Level(enum.IntEnum):
    LOW = 1


class Cat(BaseModel):
    name: str = ""
    lives: int = 9


class Dog(BaseModel):
    name: str = ""


class Ship(BaseModel):
    tons: float
    cargo: "str | bytes" = ""
    hidden: int = Field(default=0, exclude=True)


class Tree(BaseModel):
    left: "Tree | Leaf | None" = None


class Leaf(BaseModel):
    left: "Tree | Leaf | None" = None


@dataclasses.dataclass
class Point:
    x: int = 0


class Pair(NamedTuple):
    x: int
    y: int


class Add(BaseModel):
    kind: Literal["add"] = "add"


class Drop(BaseModel):
    kind: Literal["drop"] = "drop"


def signature(annotation: Any) -> Signature:
    def f(x: Any) -> Any: ...

    f.__annotations__ = {"x": annotation, "return": annotation}
    return Signature.of(f, "f")


def there_and_back(annotation: Any, value: Any) -> Any:
    """As an argument and as a result: both arrive, and alike, or both are refused."""
    method = signature(annotation)
    try:
        bound = method.bind((value,), {})
    except ArgumentError:
        with pytest.raises(InvalidResult):
            method.dump_result(value)
        raise
    _, arrived = method.load(bound.text, {})
    assert same(method.load_result(method.dump_result(value)), arrived["x"])
    return arrived["x"]


def same(one: Any, other: Any) -> bool:
    """Equal with equal types all the way down, told without the code that is tested."""
    return one == other and spelled(one) == spelled(other)


def spelled(value: Any) -> str:
    kind = cast("type[Any]", type(value))
    if issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind):
        return f"{kind}({spelled(vars(value))})"
    if issubclass(kind, dict):
        return f"{kind}({sorted(spelled(key) + spelled(value[key]) for key in value)})"
    if issubclass(kind, list | tuple):
        return f"{kind}({[spelled(item) for item in value]})"
    if issubclass(kind, set | frozenset):
        return f"{kind}({sorted(map(spelled, value))})"
    return f"{kind}({value!r})"


REFUSED: list[tuple[Any, Any, str]] = [
    (str | bytes, b"x", "bytes becomes str"),
    (bytes | str, "abcd", "str becomes bytes"),
    (list[bytes | str], ["abcd"], "str becomes bytes"),
    (str | bytes | None, b"x", "bytes becomes str"),
    (list[int] | set[int], {1}, "set becomes list"),
    (list[int] | tuple[int, ...], (1,), "tuple becomes list"),
    (Color | str, Color.RED, "Color becomes str"),
    (int | Level, Level.LOW, "Level becomes int"),
    (Cat | Dog, Dog(name="a"), "Dog becomes Cat"),
    (Cat | dict[str, int], {"lives": 1}, "dict becomes Cat"),
    (Tree, Tree(left=Leaf()), "Leaf becomes Tree"),
    (Ship, Ship(tons=1, cargo=b"x"), "bytes becomes str"),
    (str | Annotated[int, PlainSerializer(str)], 5, "int becomes str"),
    (RootModel[str] | str, "a", "str becomes RootModel.str."),
    (list[dict[str, str | bytes]], [{"a": "x"}, {"a": b"x"}], "bytes becomes str"),
    (dict[str | bytes, int], {b"a": 1}, "bytes becomes str"),
    (list[str | bytes] | int, [b"x"], "bytes becomes str"),
]


@pytest.mark.parametrize(("annotation", "value", "says"), REFUSED)
def test_a_value_that_would_arrive_as_another_type_is_refused(
    annotation: Any, value: Any, says: str
) -> None:
    with pytest.raises(ArgumentError, match=rf"argument 'x' must be .*: {says}; .*discriminator"):
        signature(annotation).bind((value,), {})
    with pytest.raises(InvalidResult, match=says):
        signature(annotation).dump_result(value)


ARRIVES: list[tuple[Any, Any]] = [
    (str | bytes, "x"),
    (dt.date | dt.datetime, dt.date(2026, 1, 1)),
    (dt.date | dt.datetime, dt.datetime(2026, 1, 1)),  # noqa: DTZ001
    (int | float, 1.0),
    (list[int | float], [1, 1.0]),
    (Decimal | int, Decimal(5)),
    (Cat | Ship, Ship(tons=1.5)),
    (Cat | Ship, Ship(tons=1.5, hidden=7)),
    (dict[str, int] | Ship, {"a": 1}),
    (list[int] | list[str], ["1"]),
    (str | tuple[int, ...], (1,)),
    (Tree, Tree(left=Tree())),
]


@pytest.mark.parametrize(("annotation", "value"), ARRIVES)
def test_a_value_that_arrives_as_it_is_may_stand_in_any_union(annotation: Any, value: Any) -> None:
    arrived = there_and_back(annotation, value)
    assert type(arrived) is type(value)
    assert arrived == value or isinstance(value, Ship)


def by_name(value: Any) -> str:
    return "a" if isinstance(value, str) else "b"


UNGUARDED: list[Any] = [
    int, str | None, int | float | str | bool | None, list[str] | None, bytes | None,
    Cat | None, Cat | list[Cat] | str, dict[str, int] | list[int] | int, Literal["a"] | str,  # noqa: PYI051
    Annotated[Add | Drop, Field(discriminator="kind")], Any | bytes, int | Future[int],
    Annotated[Annotated[str, Tag("a")] | Annotated[bytes, Tag("b")], Discriminator(by_name)],
    dict[str, Annotated[int, Field(gt=0)] | str],
]  # fmt: skip


@pytest.mark.parametrize("annotation", UNGUARDED)
def test_a_union_whose_members_json_tells_apart_costs_nothing(annotation: Any) -> None:
    wire = WireType.of(annotation)
    wire.compile()
    assert wire._guards is None


def test_the_order_of_members_counts_whoever_asks_first() -> None:
    for first in (str | bytes, bytes | str):
        wire = WireType.of(list[first])
        assert [type(item) for item in wire.load(b'["abcd"]')] == [first.__args__[0]]


def test_futures_in_a_union_are_taken_on_trust_and_what_is_beside_them_is_not() -> None:
    ref = Ref("r", AgentName("a"), SessionId("_"), RootId("root"), "p", FutureId("f"))
    future = Future[Any](ref)
    method = signature(list[str | bytes] | Cat)
    assert method.bind((["x", future],), {}).dependencies == (ref,)
    with pytest.raises(ArgumentError, match="bytes becomes str"):
        method.bind(([b"x", future],), {})


def test_what_cannot_be_read_back_is_refused_with_the_reason() -> None:
    class Odd(BaseModel):
        x: Annotated[int, PlainSerializer(lambda _: "many")] = 0

    with pytest.raises(NotData, match=r"cannot be read back from JSON: .*integer"):
        WireType.of(Odd | Ship).dump(Odd())


def test_differences_are_told_all_the_way_down() -> None:
    zone = ZoneInfo("Europe/Berlin")
    twice = dt.datetime(2026, 10, 25, 2, 30, tzinfo=zone)
    fixed = twice.replace(tzinfo=dt.timezone(dt.timedelta(hours=2)))
    alike: list[tuple[Any, Any]] = [
        ({"a": [1]}, {"a": [1]}),
        (Decimal("NaN"), Decimal("NaN")),
        ({1, 2}, {2, 1}),
        (twice, fixed),
        (Future[int](), 5),
        (object(), object()),
    ]
    for one, other in alike:
        assert difference(one, other) == ""
    unlike: list[tuple[Any, Any, str]] = [
        ({"a": [1]}, {"a": [True]}, "int becomes bool"),
        ({1: 2}, {True: 2}, "int becomes bool"),
        ({1}, {1.0}, "int becomes float"),
        ({1}, {2}, "{1} becomes {2}"),
        ({"a": 1}, {"b": 1}, "{'a': 1} becomes {'b': 1}"),
        ([1], [1, 2], "[1] becomes [1, 2]"),
        (Point(1), Point(2), "1 becomes 2"),
        (None, 0, "None becomes int"),
    ]
    for one, other, says in unlike:
        assert difference(one, other) == says


# For generated unions and values.

#: Which of two equal times is meant (`fold`) is nothing that ISO 8601 says.
TIMES = st.datetimes(min_value=dt.datetime(1970, 1, 1)).map(lambda time: time.replace(fold=0))  # noqa: DTZ001
SCALARS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, st.text(max_size=4) | st.sampled_from(["1", "red", "abcd", "2026-01-01", "PT1S"])),
    (bytes, st.binary(max_size=3)),
    (int, st.integers(-9, 9)),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (bool, st.booleans()),
    (type(None), st.none()),
    (dt.date, st.dates()),
    (dt.datetime, TIMES | TIMES.map(lambda time: time.replace(hour=0, minute=0, second=0))),
    (dt.time, st.times().map(lambda time: time.replace(fold=0))),
    (dt.timedelta, st.timedeltas(dt.timedelta(0), dt.timedelta(9))),
    (uuid.UUID, st.uuids()),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (Color, st.sampled_from(Color)),
    (Level, st.sampled_from(Level)),
    (Literal["red"], st.just("red")),
]  # fmt: skip
MODELS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (kind, st.builds(kind))
    for kind in (Cat, Dog, Add, Drop, Point, Pair, Tree, Leaf)
]  # fmt: skip
Typed = tuple[Any, st.SearchStrategy[Any]]


def around(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    def union(arms: list[Typed]) -> Typed:
        return Union[tuple(arm for arm, _ in arms)], st.one_of([values for _, values in arms])  # noqa: UP007 -- any number of members

    def held(item: Typed) -> Typed:
        model = create_model("Held", x=(item[0], ...))
        return model, item[1].map(lambda value: model.model_construct(x=value))

    return (
        st.lists(inner, min_size=2, max_size=3).map(union)
        | inner.map(lambda item: (list[item[0]], st.lists(item[1], max_size=2)))
        | inner.map(lambda item: (tuple[item[0], ...], st.tuples(item[1])))
        | inner.map(lambda item: (dict[str, item[0]], st.dictionaries(st.text(), item[1])))
        | inner.map(held)
    )


SETS = st.sampled_from(SCALARS).map(lambda item: (set[item[0]], st.sets(item[1], max_size=2)))
TYPED = st.recursive(
    st.sampled_from(SCALARS + MODELS) | SETS, around, max_leaves=5
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(TYPED, st.data())
def test_whatever_the_union_a_value_arrives_with_its_type_or_is_refused(
    typed: Typed, data: st.DataObject
) -> None:
    annotation, values = typed
    value = data.draw(values)
    try:
        arrived = there_and_back(annotation, value)
    except ArgumentError:
        return
    assert same(value, arrived), f"{annotation}: {value!r} arrived as {arrived!r}"
