import dataclasses
from decimal import Decimal
from typing import Any, NoReturn, cast

import orjson
import pytest
from pydantic import BaseModel

from nalar.combined import gather
from nalar.errors import ArgumentError
from nalar.futures import Future
from nalar.ids import AgentName, FutureId, Ref, RootId, SessionId
from nalar.values.signature import Bound, Signature


def make_future(name: str = "f1") -> Future[Any]:
    ref = Ref("r", AgentName("search"), SessionId("_"), RootId("root"), "parent", FutureId(name))
    return Future(ref)


def anything(value: object) -> Any:
    return cast("Any", value)


@dataclasses.dataclass
class Study:
    ticker: str
    score: float = 0.0
    tags: set[str] = dataclasses.field(default_factory=set[str])


class Order(BaseModel):
    study: Study
    awaited: Future[int] | None = None
    blob: bytes = b""


def study(ticker: str, news: list[str], depth: int = 1) -> None: ...


SIGNATURE = Signature.of(study, "Analyst.study")


def one(x: Any) -> None: ...


def two(x: Any, y: Any) -> None: ...


def bind(fn: Any, *args: Any) -> Bound:
    return Signature.of(fn, "f").bind(args, {})


def test_a_future_becomes_a_reference_a_dependency_and_in_the_canonical_text_its_id() -> None:
    news = make_future()
    bound = SIGNATURE.bind(("NVDA", news), {})
    assert orjson.loads(bound.text)["news"] == {"$future": str(news.ref)}
    assert orjson.loads(bound.canonical)["news"] == {"$future": "f1"}
    assert bound.dependencies == (news.ref,)


def test_futures_are_found_wherever_they_stand() -> None:
    def f(x: Any, order: Order) -> None: ...

    names = "abcdefgh"
    fs = {name: make_future(name) for name in names}
    order = Order(
        study=Study(anything(fs["a"]), tags={anything(fs["b"])}),
        awaited=fs["c"],
        blob=b"\xff",
    )
    nested = [fs["d"], (fs["e"], {"k": {fs["f"]}}), gather(fs["g"], gather(fs["h"]))]
    bound = bind(f, nested, order)
    assert {ref.future for ref in bound.dependencies} == set(names)
    tree = orjson.loads(bound.text)
    assert tree["x"][2] == [{"$future": str(fs["g"].ref)}, [{"$future": str(fs["h"].ref)}]]
    assert tree["order"]["awaited"] == {"$future": str(fs["c"].ref)}
    assert tree["order"]["blob"] == "_w=="


def test_the_same_future_twice_is_one_dependency() -> None:
    news = make_future()
    assert bind(two, [news, news], news).dependencies == (news.ref,)


@pytest.mark.parametrize(
    "value",
    [["a", 5, make_future()], [make_future(), [make_future()]], {"a": make_future()}],
)
def test_what_stands_beside_a_future_is_still_checked(value: Any) -> None:
    with pytest.raises(ArgumentError, match="'news' must be"):
        SIGNATURE.bind(("x", value), {})


def test_values_around_futures_are_converted_as_any_other() -> None:
    def f(x: dict[int, list[Decimal]], y: tuple[int, str] | None, z: int | list[int]) -> None: ...

    future = make_future()
    tree = orjson.loads(bind(f, {1: [Decimal("1.50"), future]}, (5, future), [future, 3]).text)
    place = {"$future": str(future.ref)}
    assert tree == {"x": {"1": ["1.50", place]}, "y": [5, place], "z": [place, 3]}
    with pytest.raises(ArgumentError, match="3 values for 2"):
        bind(f, {}, (5, future, 7), 0)


def test_a_future_without_a_call_cannot_be_passed_on() -> None:
    with pytest.raises(ArgumentError, match="not the result of one call"):
        SIGNATURE.bind(("x", Future[Any]()), {})


def test_binding_never_touches_the_future_itself() -> None:
    class Untouchable(Future[Any]):
        def __iter__(self) -> Any:
            raise AssertionError

        def __len__(self) -> int:
            raise AssertionError

        def __getitem__(self, key: Any) -> Any:
            raise AssertionError

        def __bool__(self) -> NoReturn:
            raise AssertionError

    future = Untouchable(make_future().ref)
    for value in (future, [future], {future}, {"k": future}, (future,)):
        bind(one, value)
    SIGNATURE.bind((future, [future]), {})


def test_results_take_the_place_of_resolved_futures_only() -> None:
    future, other = make_future("f1"), make_future("f2")
    bound = bind(one, [future, {"$future": str(other.ref)}, {"$future": 5}])
    assert future.ref is not None
    _, kwargs = Signature.of(one, "f").load(bound.text, {future.ref: b'["result"]'})
    assert kwargs == {"x": [["result"], {"$future": str(other.ref)}, {"$future": 5}]}


def test_a_result_that_does_not_fit_the_argument_is_named() -> None:
    future = make_future()
    bound = SIGNATURE.bind(("NVDA", future), {})
    assert future.ref is not None
    with pytest.raises(ArgumentError, match=r"'news' must be list\[str\]: \[0\]: Input should"):
        SIGNATURE.load(bound.text, {future.ref: b"[7]"})
    assert SIGNATURE.load(bound.text, {future.ref: b'["up"]'})[1]["news"] == ["up"]
