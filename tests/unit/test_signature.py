import dataclasses
import datetime as dt
import enum
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from nalar.errors import ArgumentError, InvalidResult, UsageError
from nalar.futures import Future
from nalar.ids import AgentName, FutureId, Ref, RootId, SessionId
from nalar.settings import Settings
from nalar.values.signature import Bound, Signature
from tests.json_trees import json_trees


def make_future(name: str = "f1") -> Future[Any]:
    ref = Ref("r", AgentName("search"), SessionId("_"), RootId("root"), "parent", FutureId(name))
    return Future(ref)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Study:
    ticker: str
    score: float = 0.0
    tags: set[str] = dataclasses.field(default_factory=set[str])
    raw: bytes = b""


class Order(BaseModel):
    study: Study
    color: Color = Color.RED
    when: dt.datetime | None = None
    price: Decimal = Decimal(0)
    blob: bytes = b""
    awaited: Future[int] | None = None
    renamed: int = Field(default=0, alias="other-name")


class Loose(BaseModel, extra="allow"):
    pass


def study(ticker: str, news: list[str], depth: int = 1, weight: float = 0.5) -> Study:
    return Study(ticker, depth * weight, set(news))


SIGNATURE = Signature.of(study, "Analyst.study")


def bind(fn: Any, *args: Any, **kwargs: Any) -> Bound:
    return Signature.of(fn, "f").bind(args, kwargs)


def one(x: Any) -> None: ...


def there_and_back(annotation: Any, value: Any) -> Any:
    def f(x: Any) -> Any: ...

    f.__annotations__ = {"x": annotation, "return": annotation}
    signature = Signature.of(f, "f")
    _, kwargs = signature.load(signature.bind((value,), {}).text, {})
    assert signature.load_result(signature.dump_result(value)) == kwargs["x"]
    return kwargs["x"]


WRONG: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    ((), {}, r"Analyst\.study\(.*\) misses 'ticker', 'news'"),
    (("x", [], 1, 0.5, 7), {}, "takes 4 positional arguments, not 5"),
    (("x",), {"nwes": []}, "no argument 'nwes'. Did you mean 'news'"),
    (("x", []), {"ticker": "y"}, "got argument 'ticker' twice"),
    ((5, []), {}, "'ticker' must be str: Input should be a valid string, not 5"),
    (("x", "abc"), {}, r"'news' must be list\[str\]: Input should be a valid list"),
    (("x", ["a", 5]), {}, r"'news' must be list\[str\]: \[1\]: Input should be a valid str"),
    (("x", [], 2**64), {}, "'depth' must be int: integers beyond 64 bits"),
    (("x", [], 1, float("nan")), {}, "'weight' must be float: NaN and Infinity"),
    (("x", [], 1, float("inf")), {}, "'weight' must be float: NaN and Infinity"),
    (("\ud800", []), {}, "'ticker' must be str: text with a lone surrogate"),
    (("x", ["\udfff"]), {}, r"'news' must be list\[str\]: text with a lone surrogate"),
]


# Binding.


def test_arguments_are_bound_by_name_with_defaults_filled() -> None:
    bound = SIGNATURE.bind(("NVDA", ["a"]), {"depth": 2})
    assert orjson.loads(bound.text) == {
        "ticker": "NVDA", "news": ["a"], "depth": 2, "weight": 0.5,
    }  # fmt: skip
    assert bound.dependencies == ()


def test_the_canonical_text_does_not_depend_on_how_the_call_was_written() -> None:
    ways = [
        SIGNATURE.bind(("NVDA", ["a"]), {}),
        SIGNATURE.bind(("NVDA",), {"weight": 0.5, "news": ["a"]}),
        SIGNATURE.bind((), {"depth": 1, "news": ["a"], "ticker": "NVDA"}),
        SIGNATURE.bind(("NVDA", ("a",), 1, 0.5), {}),
    ]
    assert {way.canonical for way in ways} == {
        b'{"depth":1,"news":["a"],"ticker":"NVDA","weight":0.5}'
    }


@pytest.mark.parametrize(("args", "kwargs", "says"), WRONG)
def test_wrong_arguments_fail_at_the_call_and_say_where(
    args: tuple[Any, ...], kwargs: dict[str, Any], says: str
) -> None:
    with pytest.raises(ArgumentError, match=says):
        SIGNATURE.bind(args, kwargs)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [(bytes, "abc"), (bytes | None, "YWJj"), (list[bytes], [b"abc", "abc"])],
)
def test_text_where_bytes_are_wanted_is_not_taken_for_base64(annotation: Any, value: Any) -> None:
    with pytest.raises(ArgumentError, match="bytes are wanted, and this is text"):
        there_and_back(annotation, value)


def test_an_unannotated_argument_takes_data_and_nothing_else() -> None:
    def f(x, y=None): ...  # pyright: ignore  # noqa: ANN001, ANN202, PGH003 -- as users may

    bound = bind(f, {"when": dt.date(2024, 1, 2), "tags": {"b", "a"}, 3: b"\xff", "id": [None]})
    assert orjson.loads(bound.text)["x"] == {
        "when": "2024-01-02", "tags": ["a", "b"], "3": "_w==", "id": [None],
    }  # fmt: skip
    with pytest.raises(ArgumentError, match="'x': a object is not data"):
        bind(f, object())
    with pytest.raises(ArgumentError, match="beyond 64 bits"):
        bind(f, [10**30])
    with pytest.raises(ArgumentError, match="NaN"):
        bind(f, {"deep": [float("nan")]})


def test_nesting_has_a_limit_on_both_sides() -> None:
    def f(x: Any) -> None: ...

    limit = Settings().depth_max
    value: Any = []
    for _ in range(limit - 1):
        value = [value]
    bound = bind(f, value)
    assert Signature.of(f, "f").load(bound.text, {}) == ((), {"x": value})
    with pytest.raises(ArgumentError, match=r"'x'.*nested"):
        bind(f, [value])
    deep = b'{"x":' + b"[" * 5000 + b"]" * 5000 + b"}"
    with pytest.raises(ArgumentError, match="not JSON we accept"):
        Signature.of(f, "f").load(deep, {})


def test_a_value_that_contains_itself_is_refused() -> None:
    knot: list[Any] = []
    knot.append(knot)
    with pytest.raises(ArgumentError, match="contains itself"):
        bind(one, knot)


def test_a_default_that_is_no_data_is_left_to_the_method() -> None:
    missing = object()

    def f(x: Any = missing, y: str = cast("Any", None)) -> None: ...

    signature = Signature.of(f, "f")
    assert signature.bind((), {}).text == b'{"y":null}'
    assert signature.load(b'{"y":null}', {}) == ((), {"y": None})


def test_every_kind_of_parameter_is_called_as_it_was_declared() -> None:
    def f(a: int, /, b: int = 2, *rest: int, c: int = 3, **extra: str) -> tuple[Any, ...]:
        return a, b, rest, c, extra

    signature = Signature.of(f, "f")
    calls: list[tuple[Any, Any]] = [
        ((1,), {}),
        ((1, 5, 6, 7), {"c": 8, "x": "y"}),
        ((1,), {"b": 5, "c": 8, "x": "y"}),
    ]
    for args, kwargs in calls:
        loaded_args, loaded_kwargs = signature.load(signature.bind(args, kwargs).text, {})
        assert f(*loaded_args, **loaded_kwargs) == f(*args, **kwargs)
    assert signature.load(b'{"a":1,"rest":[9]}', {}) == ((1, 2, 9), {})


def test_the_largest_argument_is_named() -> None:
    assert SIGNATURE.bind(("x", ["a" * 100]), {}).largest() == ("news", 104)


# Loading what others sent.


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "no JSON object"),
        (b'{"ticker":"x","news":[],"weight":NaN}', "not JSON"),
        (b'{"ticker":"\\ud800","news":[]}', "not JSON"),
        (b'{"ticker":"x"}', "misses 'news'"),
        (b'{"ticker":"x","news":[],"tiker":1}', "no argument 'tiker'. Did you mean 'ticker'"),
        (b'{"ticker":{},"news":[]}', "'ticker' must be str"),
        (b'{"ticker":"x","news":{"$future":"call.r.a._.b.c.d"}}', "'news' must be"),
    ],
)
def test_what_foreigners_send_is_checked(text: bytes, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        SIGNATURE.load(text, {})


@given(st.binary(max_size=200))
def test_no_bytes_at_all_get_past_an_argument_error(text: bytes) -> None:
    with pytest.raises(ArgumentError):
        SIGNATURE.load(text, {})


def test_omitted_arguments_are_left_to_the_method() -> None:
    assert SIGNATURE.load(b'{"ticker":"x","news":[]}', {}) == ((), {"ticker": "x", "news": []})


# There and back.

JSON = json_trees(20)
STUDIES = st.builds(
    Study,
    ticker=st.text(),
    score=st.floats(allow_nan=False, allow_infinity=False),
    tags=st.frozensets(st.text()).map(set),
    raw=st.binary(),
)


@given(JSON)
def test_json_comes_back_as_it_was(value: Any) -> None:
    back = there_and_back(Any, value)
    assert back == value
    assert repr(back) == repr(value)  # 1 is not 1.0, nor True; 0.0 is not -0.0


@given(STUDIES)
def test_dataclasses_come_back_as_they_were(value: Study) -> None:
    assert there_and_back(Study, value) == value
    assert there_and_back(list[Study] | None, [value]) == [value]


@given(STUDIES, st.sampled_from(Color), st.datetimes(timezones=st.just(dt.UTC)), st.binary())
def test_models_come_back_as_they_were(
    value: Study, color: Color, when: dt.datetime, blob: bytes
) -> None:
    order = Order(
        study=value,
        color=color,
        when=when,
        blob=blob,
        price=Decimal("1.10"),
        **cast("Any", {"other-name": 5}),
    )
    assert there_and_back(Order, order) == order
    assert there_and_back(Any, order)["renamed"] == 5


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (bytes, b"\x00\xff"),
        (dt.datetime, dt.datetime(2024, 1, 2, 3, 4, 5, 678, tzinfo=dt.UTC)),
        (dt.datetime, dt.datetime(2024, 1, 2, 3)),  # noqa: DTZ001 -- as users write it
        (dt.date, dt.date(2024, 1, 2)),
        (dt.timedelta, dt.timedelta(days=1, microseconds=5)),
        (uuid.UUID, uuid.UUID(int=5)),
        (Decimal, Decimal("1.10")),
        (Path, Path("a/b")),
        (Color, Color.BLUE),
        (Literal["a", 3], 3),
        (set[int], {3, 1, 2}),
        (frozenset[str], frozenset("ba")),
        (tuple[int, str, bytes], (1, "x", b"\xff")),
        (tuple[int, ...], (1, 2)),
        (dict[int, Color], {5: Color.RED}),
        (dict[str, bytes | None], {"a": b"\xff", "b": None}),
        (Study | Order, Study("x")),
        (int | str, "5"),
        (float | int, 5),
        (Loose, Loose.model_validate({"free": [1]})),
        (None, None),
    ],
)
def test_types_round_trip(annotation: Any, value: Any) -> None:
    back = there_and_back(annotation, value)
    assert back == value
    assert type(back) is type(value)


# Results and declarations.


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (5, "Analyst.study does not fit Study: Input should be"),
        (make_future(), "it contains a future: await it"),
        (Study("x", cast("Any", make_future())), "it contains a future"),
        (Study("x", float("nan")), "NaN"),
        (Study("\ud800"), "surrogate"),
    ],
)
def test_a_result_that_is_no_result_says_so(value: Any, says: str) -> None:
    with pytest.raises(InvalidResult, match=says):
        SIGNATURE.dump_result(value)


def test_a_result_of_another_form_is_refused_by_the_caller() -> None:
    with pytest.raises(InvalidResult, match="is not a Study"):
        SIGNATURE.load_result(b"[1]")


def test_annotations_are_resolved_at_the_first_call_and_a_missing_name_is_said() -> None:
    def f(x: "Nowhere") -> None: ...  # pyright: ignore  # noqa: F821, PGH003 -- what is tested

    signature = Signature.of(cast("Any", f), "Analyst.f")
    with pytest.raises(UsageError, match=r"annotations of Analyst\.f name 'Nowhere'"):
        signature.bind((1,), {})


def test_a_type_that_is_no_data_is_refused_by_name() -> None:
    class Socket:
        pass

    def f(x: Socket) -> None: ...

    with pytest.raises(UsageError, match=r"Analyst\.f, 'x': .*Socket is not a type of data"):
        Signature.of(f, "Analyst.f").check()
