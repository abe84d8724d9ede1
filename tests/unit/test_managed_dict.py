# pyright: basic
# What user code does to a collection is as dynamic as user code: lambdas over Any.

import copy
import enum
from collections.abc import Callable
from types import GenericAlias
from typing import Any, cast

import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pydantic import BaseModel, TypeAdapter

from nalar.errors import ArgumentError
from nalar.ids import FutureId
from nalar.statestore.managed import ManagedDict, ManagedFields
from nalar.statestore.session import JSON, SessionFold


class Price(BaseModel):
    amount: float = 0.0
    sources: list[str] = []


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Session:
    """One dict field of a session, as a worker holds it."""

    def __init__(self, annotation: object, content: dict[str, JSON] | None = None) -> None:
        self.fold = SessionFold.empty()
        if content is not None:
            self.fold.state["f"] = content
        self.annotation = annotation
        self.move()

    def move(self) -> None:
        self.fold = SessionFold.load(self.fold.dump(now_s=0.0, horizon_s=1.0))
        self.fields = ManagedFields({"f": self.annotation}, self.fold.state)
        self.dict: ManagedDict[Any, Any] = self.fields.collections["f"]  # type: ignore[assignment]

    def commit(self) -> Any:
        delta = self.fields.delta()
        self.fold.advance(self.fold.revision + 1, FutureId("x"), delta, 0.0)
        self.fields.committed()
        return None if delta is None else orjson.loads(delta)["f"]


# Examples of what is committed.


def numbers() -> Session:
    return Session(ManagedDict[str, int], {"a": 1, "b": 2, "c": 3})


@pytest.mark.parametrize(
    ("change", "ops"),
    [
        (lambda f: f.__setitem__("d", 4), [["put", "d", 4]]),
        (lambda f: f.__setitem__("a", 9), [["put", "a", 9]]),
        (lambda f: f.__setitem__("a", 1), None),
        (lambda f: f.__delitem__("a"), [["drop", "a"]]),
        (lambda f: (f.pop("a"), f.__setitem__("a", 1)), [["drop", "a"], ["put", "a", 1]]),
        (lambda f: (f.__setitem__("d", 4), f.pop("d")), None),
        (lambda f: f.popitem(), [["drop", "c"]]),
        (lambda f: f.update(a=9, d=4), [["put", "a", 9], ["put", "d", 4]]),
        (lambda f: f.__ior__({"b": 2}), None),
        (lambda f: f.setdefault("a", 5), None),
        (lambda f: f.setdefault("d", 5), [["put", "d", 5]]),
        (lambda f: f.clear(), [["drop", "a"], ["drop", "b"], ["drop", "c"]]),
        (lambda f: f.replace({"b": 2, "x": 0}), [["drop", "a"], ["drop", "c"], ["put", "x", 0]]),
        (dict, None),
    ],
)
def test_what_changed_is_committed_and_no_more(
    change: Callable[[ManagedDict[str, int]], object], ops: object
) -> None:
    session = numbers()
    change(session.dict)
    after = list(session.dict.items())
    assert session.commit() == ops
    assert list(session.fold.state["f"].items()) == after  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f["b"].sources.append("x"),
        lambda f: f.get("b").sources.append("x"),
        lambda f: f.setdefault("b", Price()).sources.append("x"),
        lambda f: [price.sources.append("x") for price in f.values() if price.amount == 2],
        lambda f: [price.sources.append("x") for key, price in f.items() if key == "b"],
        lambda f: f.copy()["b"].sources.append("x"),
        lambda f: (f | {})["b"].sources.append("x"),
        lambda f: ({} | f)["b"].sources.append("x"),
    ],
)
def test_a_value_changed_in_place_is_committed_alone(
    change: Callable[[Any], object],
) -> None:
    session = Session(
        ManagedDict[str, Price],
        {"a": {"amount": 1.0, "sources": []}, "b": {"amount": 2.0, "sources": []}},
    )
    change(session.dict)
    assert session.commit() == [["put", "b", {"amount": 2.0, "sources": ["x"]}]]


def test_who_stored_a_value_may_go_on_changing_it_until_the_commit() -> None:
    session = Session(ManagedDict[str, list[int]])
    mine: list[int] = []
    session.dict["a"] = mine
    mine.append(1)
    assert session.commit() == [["put", "a", [1]]]
    mine.append(2)
    assert session.commit() is None
    assert session.dict == {"a": [1]}


def test_a_value_taken_out_and_put_back_changed_is_committed() -> None:
    session = Session(ManagedDict[str, list[int]], {"a": [1], "b": [2]})
    session.dict["c"] = session.dict.pop("a")
    session.dict["c"].append(5)
    assert session.commit() == [["drop", "a"], ["put", "c", [1, 5]]]


@pytest.mark.parametrize(
    ("kind", "key", "text"),
    [
        (int, 5, "5"),
        (int, True, "1"),
        (bool, True, "true"),
        (float, 1.5, "1.5"),
        (Colour, Colour.RED, "red"),
        (str, "", ""),
    ],
)
def test_keys_are_written_as_their_type_says_and_come_back(
    kind: type, key: object, text: str
) -> None:
    session = Session(ManagedDict[kind, list[int]])
    session.dict[key] = [1]
    assert session.commit() == [["put", text, [1]]]
    session.move()
    session.dict[key].append(2)
    assert session.dict == {key: [1, 2]}
    assert session.commit() == [["put", text, [1, 2]]]
    del session.dict[key]
    assert session.commit() == [["drop", text]]


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        (str, 5), (str, None), (str, "\ud800"), (int, "x"), (Any, 5), (tuple[int, int], (1, 2)),
        (Colour, "green"), (float, float("nan")), (int | str, 5),
    ],
)  # fmt: skip
def test_a_key_that_would_not_come_back_is_refused(kind: Any, key: object) -> None:
    session = Session(ManagedDict[kind, int])
    with pytest.raises(ArgumentError, match="f: expected keys of"):
        session.dict[key] = 1
    assert (session.dict, session.commit()) == ({}, None)


def test_an_update_with_one_bad_value_changes_nothing() -> None:
    session = numbers()
    with pytest.raises(ArgumentError):
        session.dict.update(d=4, e="no number")
    assert session.commit() is None


# A plain dict, and like one.


def test_made_by_hand_it_is_an_ordinary_dict() -> None:
    made: ManagedDict[Any, Any] = ManagedDict({1: object()}, b=2)
    made |= [("c", 3)]
    assert list(made) == [1, "b", "c"]
    assert (made.changes(), ManagedDict()) == ([], {})
    made.discard()
    made.reload()
    assert len(made) == 3


@pytest.mark.parametrize("bound", [False, True])
def test_it_behaves_as_a_dict(bound: bool) -> None:
    plain = {"a": 1, "b": 2, "c": 3}
    made = numbers().dict if bound else ManagedDict(plain)
    assert made == plain
    assert plain == made
    assert made == ManagedDict(plain)
    assert made != [("a", 1)]
    assert repr(made) == repr(plain)
    assert dict(made) == {**made} == plain
    assert (made | {"d": 4}, {"z": 0} | made) == (plain | {"d": 4}, {"z": 0} | plain)
    assert list(reversed(made)) == ["c", "b", "a"]
    assert made.keys() & {"a", "x"} == {"a"}
    assert (list(made.values()), list(made.items())) == ([1, 2, 3], list(plain.items()))
    assert (made.get("a"), made.get("x"), made.get("x", 7)) == (1, None, 7)
    assert (made.pop("a"), made.pop("a", None), made.popitem()) == (1, None, ("c", 3))
    assert (made.setdefault("b", 9), made.setdefault("n", 9), "n" in made) == (2, 9, True)
    for wrong in (
        lambda: made["x"], lambda: made.pop("x"), lambda: made.__delitem__("x"),
        lambda: ManagedDict().popitem(),
    ):  # fmt: skip
        with pytest.raises(KeyError):
            wrong()
    with pytest.raises(TypeError):
        hash(made)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, ManagedDict.copy])
def test_copies_are_plain_dicts(copied: Callable[[Any], object]) -> None:
    plain = copied(numbers().dict)
    assert type(plain) is dict
    assert plain == {"a": 1, "b": 2, "c": 3}


def test_pydantic_takes_it_for_a_dict() -> None:
    assert TypeAdapter(dict[str, int]).validate_python(numbers().dict) == {"a": 1, "b": 2, "c": 3}


# Any sequence of operations, against a plain dict.


def mutate(value: Any) -> None:
    if isinstance(value, Price):
        value.amount += 1
    elif isinstance(value, list):
        value.append(len(value))
    elif isinstance(value, dict):
        value["n"] = len(value)


texts = st.sampled_from(["a", "b", "c", "1", ""])
small = st.integers(-2, 3)
KINDS: list[tuple[object, st.SearchStrategy[Any], object, st.SearchStrategy[Any]]] = [
    (str, texts, int, small),
    (str, texts, list[int], st.lists(small, max_size=2)),
    (int, small, Price, st.builds(Price)),
    (Colour, st.sampled_from(Colour), list[int], st.lists(small, max_size=2)),
    (str, texts, Any, st.sampled_from([1, True, 1.0, None, "a", [1], {"a": [2]}])),
]


class DictMachine(RuleBasedStateMachine):
    """Does the same to a managed and to a plain dict, through commits, failures and moves."""

    @initialize(kind=st.sampled_from(KINDS), data=st.data())
    def begin(self, kind: Any, data: st.DataObject) -> None:
        key, self.keys, value, self.values = kind
        self.session = Session(ManagedDict[key, value])
        adapter: TypeAdapter[Any] = TypeAdapter(cast("Any", GenericAlias(dict, (key, value))))
        self.load = lambda: adapter.validate_json(
            orjson.dumps(self.session.fold.state.get("f", {}))
        )
        self.plain: dict[Any, Any] = {}
        self.both(
            lambda f, v: f.update(v), data.draw(st.dictionaries(self.keys, self.values, max_size=4))
        )
        self.commit()

    def both(self, change: Callable[[Any, Any], object], value: object = None) -> None:
        results: list[object] = []
        for content in (self.session.dict, self.plain):
            try:
                results.append(change(content, copy.deepcopy(value)))
            except KeyError:
                results.append(KeyError)
        if not any(isinstance(result, ManagedDict) for result in results):
            assert results[0] == results[1]

    @rule(data=st.data(), how=st.sampled_from(["set", "setdefault", "pop", "del", "get", "mutate"]))
    def at_one_key(self, data: st.DataObject, how: str) -> None:
        key = data.draw(self.keys)
        match how:
            case "set":
                self.both(lambda f, v: f.__setitem__(key, v), data.draw(self.values))
            case "setdefault":
                self.both(lambda f, v: mutate(f.setdefault(key, v)), data.draw(self.values))
            case "pop":
                self.both(lambda f, _: f.pop(key, None))
            case "del":
                self.both(lambda f, _: f.__delitem__(key))
            case "get":
                self.both(lambda f, _: f.get(key))
            case _:
                self.both(lambda f, _: mutate(f[key]))

    @rule(data=st.data())
    def update(self, data: st.DataObject) -> None:
        new = data.draw(st.dictionaries(self.keys, self.values, max_size=4))
        self.both(lambda f, v: f.__ior__(v), new)

    @rule(data=st.data())
    def replace(self, data: st.DataObject) -> None:
        new = data.draw(st.dictionaries(self.keys, self.values, max_size=4))
        self.session.dict.replace(copy.deepcopy(new))
        kept = {key: new[key] for key in self.plain if key in new}
        self.plain = kept | new

    @precondition(lambda self: self.plain)
    @rule()
    def popitem(self) -> None:
        self.both(lambda f, _: f.popitem())

    @rule(how=st.sampled_from(["clear", "values", "items"]))
    def whole(self, how: str) -> None:
        match how:
            case "clear":
                self.both(lambda f, _: f.clear())
            case "values":
                self.both(lambda f, _: [mutate(value) for value in f.values()])
            case _:
                self.both(lambda f, _: [mutate(value) for _, value in f.items()])

    @rule()
    def commit(self) -> None:
        self.session.commit()
        stored = self.load()
        assert list(stored.items()) == list(self.plain.items())
        self.plain = stored
        assert self.session.commit() is None

    @rule()
    def discard(self) -> None:
        self.session.fields.discard()
        self.plain = self.load()

    @rule()
    def move(self) -> None:
        self.commit()
        self.session.move()

    @invariant()
    def same(self) -> None:
        if hasattr(self, "plain"):
            assert self.session.dict == self.plain
            assert list(self.session.dict) == list(self.plain)

    def teardown(self) -> None:
        if hasattr(self, "plain"):
            self.commit()


TestDictMachine = DictMachine.TestCase
TestDictMachine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
