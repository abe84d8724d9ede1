import dataclasses
import json
from pathlib import Path
from typing import Any, Optional, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nalar.errors import NotData, UsageError
from nalar.futures import Future
from nalar.ids import Ref, child_id
from nalar.values.nested import replace_futures
from nalar.values.signature import Bound, Signature
from nalar.values.wire import WireType, canonical, check_depth, describe, encode, plain
from tests.json_trees import json_trees

ROOT = Path(__file__).parents[2]
VECTORS = json.loads((ROOT / "docs/protocol-vectors.json").read_text("utf-8"))["vectors"]
JSON = json_trees(10)


def one(x: Any) -> None: ...


def bind(fn: Any, *args: Any) -> Bound:
    return Signature.of(fn, "f").bind(args, {})


@pytest.mark.parametrize(
    ("annotation", "value", "is_plain"),
    [
        (str, "x", True),
        (str, 5, False),
        (int, True, False),
        (float, 1, False),
        (float, 1.5, True),
        (Any, [1], False),
        (str | None, None, True),
        (Optional[int], 5, True),  # noqa: UP045 -- the older form of it
        (list[str], ["a"], True),
        (list[str], ["a", 5], False),
        (list[str], ("a",), False),
        (list[float], [1.5], False),
        (dict[str, str], {}, False),
        (str | Future[str], "x", True),
        (None, None, True),
    ],
)
def test_only_what_is_its_own_json_goes_the_quick_way(
    annotation: Any, value: Any, *, is_plain: bool
) -> None:
    assert WireType.of(annotation).is_plain(value) is is_plain


def test_a_type_is_compiled_once_for_all_who_ask() -> None:
    assert WireType.of(list[int]) is WireType.of(list[int])


def test_what_is_no_data_is_refused() -> None:
    values: list[Any] = [object(), [object()], {"k": {1: print}}, Future[Any]()]
    for value in values:
        with pytest.raises(NotData):
            plain(value)
    with pytest.raises(UsageError, match="Strange is not a type of data"):
        WireType.of(type("Strange", (), {})).compile()


@given(st.lists(st.integers() | st.text()), st.randoms())
def test_sets_of_anything_have_one_order(items: list[int | str], chance: Any) -> None:
    shuffled = items[:]
    chance.shuffle(shuffled)
    assert plain(set(items)) == plain(set(shuffled))


def test_the_depth_of_text_is_counted_in_containers() -> None:
    for depth in (1, 2, 50):
        text = b"[" * depth + b"]" * depth
        check_depth(text, depth)
        with pytest.raises(NotData, match="nested deeper"):
            check_depth(text, depth - 1)
    check_depth(orjson.dumps([[]] * 500), 2)
    check_depth(orjson.dumps("[[[[{{{{"), 1)


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ([1e999], "NaN and Infinity"),
        ({"a": [{"b": float("nan")}]}, "NaN and Infinity"),
        ([2**64], "64 bits"),
        (["\ud800"], "surrogate"),
    ],
)
def test_what_the_wire_does_not_carry_is_refused(tree: Any, says: str) -> None:
    with pytest.raises(NotData, match=says):
        encode(tree, 100)


def test_null_is_carried() -> None:
    assert encode([None, 1.5], 100) == b"[null,1.5]"


def test_canonical_text_has_sorted_keys_and_pythons_floats() -> None:
    assert canonical({"b": 1e16, "a": {"z": -0.0, "y": "é"}}).decode() == (
        '{"a":{"y":"é","z":-0.0},"b":1e+16}'
    )
    for value, says in [(float("inf"), "NaN"), ("\ud800", "surrogate")]:
        with pytest.raises(NotData, match=says):
            canonical(value)


def test_types_are_described_as_people_write_them() -> None:
    @dataclasses.dataclass
    class Study:
        x: int

    assert describe(list[str]) == "list[str]"
    assert describe(int | None) == "int | None"
    assert describe(Study).endswith("Study")


@given(JSON)
def test_the_quick_canonical_text_is_the_careful_one(value: Any) -> None:
    bound = bind(one, value)
    assert bound.canonical == canonical({"x": orjson.loads(bound.text)["x"]})


@given(st.dictionaries(st.text(), st.text()), st.text(), st.integers(-(2**63), 2**64 - 1))
def test_orjson_and_json_write_text_and_whole_numbers_alike(
    tree: dict[str, str], text: str, number: int
) -> None:
    whole = {**tree, "t": text, "n": number}
    assert orjson.dumps(whole, option=orjson.OPT_SORT_KEYS) == canonical(whole)


@given(st.lists(st.text(), unique=True), st.randoms())
def test_sets_and_dicts_have_one_canonical_text(items: list[str], chance: Any) -> None:
    def f(x: set[str], y: dict[str, int]) -> None: ...

    shuffled = items[:]
    chance.shuffle(shuffled)
    this = bind(f, set(items), dict.fromkeys(items, 1))
    that = bind(f, set(shuffled), dict.fromkeys(shuffled, 1))
    assert this.canonical == that.canonical


@given(JSON, JSON)
def test_different_arguments_have_different_canonical_texts(this: Any, that: Any) -> None:
    same = repr(sort_keys(this)) == repr(sort_keys(that))
    assert (bind(one, this).canonical == bind(one, that).canonical) is same


def sort_keys(value: Any) -> Any:
    kind = cast("object", type(value))
    if kind is dict:
        return tuple((key, sort_keys(value[key])) for key in sorted(value))
    return [sort_keys(item) for item in value] if kind is list else value


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_golden_vectors_hold(vector: dict[str, Any]) -> None:
    by_id = {ref: {"$future": Ref.parse(ref).future} for ref in vector["futures"]}
    text = canonical(replace_futures(vector["arguments"], by_id))
    assert text.decode() == vector["canonical"]
    assert child_id(vector["parent"], vector["target"], text, vector["occurrence"]) == vector["id"]
