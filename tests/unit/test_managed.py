# pyright: basic
# What user code does to a collection is as dynamic as user code: lambdas over Any.

import datetime as dt
import enum
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from nalar.errors import ArgumentError, FutureMisuse, UsageError
from nalar.futures import Future
from nalar.ids import FutureId
from nalar.statestore.managed import (
    ManagedDict,
    ManagedField,
    ManagedFields,
    ManagedList,
    ManagedValue,
    install,
    managed_kind,
)
from nalar.statestore.session import JSON, SessionFold


@dataclass
class Note:
    text: str
    score: float = 0.0


class Analyst:
    notes: ManagedList[Note]
    prices: ManagedDict[str, float]
    topic: ManagedValue[str | None]
    model: str = "small"


FIELDS = install(Analyst)


class Session:
    """One session of Analyst in one worker."""

    def __init__(self) -> None:
        self.fold = SessionFold.empty()
        self.move()

    def move(self) -> None:
        """Load the session elsewhere."""
        self.fold = SessionFold.load(self.fold.dump(now_s=0.0, horizon_s=1.0))
        self.fields = ManagedFields(FIELDS, self.fold.state)
        self.agent = Analyst()
        self.fields.bind(self.agent)

    def commit(self) -> bytes | None:
        delta = self.fields.delta()
        self.fold.advance(self.fold.revision + 1, FutureId("x"), delta, 0.0)
        self.fields.committed()
        return delta


# A session's fields together.


def test_one_delta_tells_all_fields_that_changed() -> None:
    session = Session()
    agent = session.agent
    agent.notes.append(Note("buy"))
    agent.prices["NVDA"] = 1
    agent.topic.set("chips")
    assert session.commit() == (
        b'{"notes":[["splice",0,0,[{"text":"buy","score":0.0}]]],'
        b'"prices":[["put","NVDA",1.0]],"topic":[["set","chips"]]}'
    )
    agent.notes[0].score = 2.0
    assert session.commit() == b'{"notes":[["splice",0,1,[{"text":"buy","score":2.0}]]]}'
    assert session.commit() is None
    session.move()
    assert session.agent.notes == [Note("buy", 2.0)]
    assert session.agent.prices == {"NVDA": 1.0}
    assert session.agent.topic.value == "chips"


def test_a_field_that_was_not_touched_is_not_read() -> None:
    fold = SessionFold.empty()
    fold.state.update(notes="no list at all", prices={"a": 1.0})
    fields = ManagedFields(FIELDS, fold.state)
    agent = Analyst()
    fields.bind(agent)
    agent.prices["b"] = 2.0
    assert fields.delta() == b'{"prices":[["put","b",2.0]]}'
    with pytest.raises(UsageError, match="notes: the session's stored state is not a list"):
        fields.load()


def test_stored_state_of_another_type_is_refused_by_name() -> None:
    fields = ManagedFields(FIELDS, {"notes": [{"txt": 1}], "prices": {"a": "x"}, "topic": 5})
    for name, collection in fields.collections.items():
        with pytest.raises(UsageError, match=f"{name}: the session's stored state does not fit"):
            collection.load()
    with pytest.raises(UsageError, match="prices: the session's stored state is not an object"):
        ManagedFields(FIELDS, {"prices": [1]}).load()


def test_discard_goes_back_in_every_field() -> None:
    session = Session()
    session.agent.notes.append(Note("a"))
    session.agent.prices["a"] = 1.0
    session.agent.topic.set(None)
    session.commit()
    session.agent.notes[0].score = 9.0
    session.agent.prices.clear()
    session.agent.topic.clear()
    session.fields.discard()
    assert session.agent.notes == [Note("a")]
    assert session.agent.prices == {"a": 1.0}
    assert session.agent.topic.is_set
    assert session.fields.delta() is None


def test_after_entries_of_others_a_reload_shows_their_state() -> None:
    session = Session()
    session.agent.notes.append(Note("mine"))
    session.fold.advance(1, FutureId("y"), b'{"notes":[["splice",0,0,[{"text":"theirs"}]]]}', 0.0)
    with pytest.raises(RuntimeError, match="notes: the state changed under this copy"):
        session.fields.delta()
    session.fields.reload()
    assert session.agent.notes == [Note("theirs")]
    session.fields.reload({"notes": [{"text": "of a newer fold"}]})
    assert session.agent.notes == [Note("of a newer fold")]


def test_a_state_that_user_code_got_never_aliases_the_fold() -> None:
    state: dict[str, JSON] = {"f": [{"deep": [1]}]}
    fields = ManagedFields({"f": ManagedList}, state)
    collection: Any = fields.collections["f"]
    collection[0]["deep"].append(2)
    assert state == {"f": [{"deep": [1]}]}
    assert fields.delta() == b'{"f":[["splice",0,1,[{"deep":[1,2]}]]]}'


# The attribute on the agent.


def test_an_instance_outside_a_runtime_has_collections_of_its_own() -> None:
    one, other = Analyst(), Analyst()
    one.notes.append(Note("a"))
    one.prices["a"] = 1.0
    assert (one.notes, other.notes) == ([Note("a")], [])
    assert (one.prices, other.prices) == ({"a": 1.0}, {})
    assert not one.topic.is_set
    assert one.notes is one.notes


@pytest.mark.parametrize("bound", [False, True])
def test_assigning_replaces_the_content(bound: bool) -> None:
    session = Session()
    agent: Any = session.agent if bound else Analyst()
    notes = agent.notes
    agent.notes = [Note("a"), Note("b")]
    kept: Any = (note for note in list(agent.notes) if note.text == "b")
    setattr(agent, "notes", kept)  # noqa: B010 -- or the type-checker believes it
    agent.notes += [Note("c")]
    agent.prices = {"a": 1.0}
    agent.prices |= {"b": 2.0}
    setattr(agent, "topic", "x")  # noqa: B010
    assert agent.notes is notes == [Note("b"), Note("c")]
    assert agent.prices == {"a": 1.0, "b": 2.0}
    assert agent.topic.value == "x"
    agent.topic = ManagedValue()
    agent.topic = agent.topic
    assert not agent.topic.is_set
    del agent.notes
    assert agent.notes == []
    if bound:
        assert session.commit() == b'{"prices":[["put","a",1.0],["put","b",2.0]]}'


@pytest.mark.parametrize(
    ("name", "value"),
    [("notes", "abc"), ("notes", None), ("notes", 5), ("notes", [Note("a"), 5]),
     ("prices", ["ab"]), ("prices", "ab"), ("prices", {"a": "x"}), ("topic", 5)],
)  # fmt: skip
def test_assigning_what_does_not_fit_is_refused_and_changes_nothing(
    name: str, value: object
) -> None:
    session = Session()
    with pytest.raises(ArgumentError, match=name):
        setattr(session.agent, name, value)
    assert session.fields.delta() is None


async def test_assigning_a_future_names_await() -> None:
    session = Session()
    with pytest.raises(FutureMisuse, match="await"):
        session.agent.notes = Future()  # type: ignore[assignment]
    with pytest.raises(ArgumentError, match=r"topic: .*a future is no state: await it"):
        session.agent.topic = Future()  # type: ignore[assignment]


def test_what_a_constructor_put_there_gives_way_to_the_session() -> None:
    class Eager:
        notes: ManagedList[str]

        def __init__(self) -> None:
            self.notes = ["from the constructor"]  # type: ignore[assignment]

    fields = ManagedFields(install(Eager), {"notes": ["of the session"]})
    agent = Eager()
    assert agent.notes == ["from the constructor"]
    fields.bind(agent)
    assert agent.notes == ["of the session"]
    assert fields.delta() is None


def test_install_finds_the_fields_of_base_classes_once() -> None:
    class Senior(Analyst):
        extra: ManagedDict[int, str]

    assert set(install(Senior)) == {"notes", "prices", "topic", "extra"} == set(install(Senior))
    assert isinstance(Senior.extra, ManagedField)
    assert Senior.notes is Analyst.notes
    assert install(int) == {}
    assert managed_kind(ManagedList) is managed_kind(ManagedList[int]) is ManagedList
    assert managed_kind(list[int]) is None


def test_install_refuses_what_cannot_be_meant() -> None:
    class WithDefault:
        notes: ManagedList[str] = ManagedList(["a"])

    class Unresolved:
        notes: "ManagedList[Nowhere]"  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(UsageError, match="notes has a default"):
        install(WithDefault)
    with pytest.raises(UsageError, match="Nowhere"):
        install(Unresolved)


class Plain: ...


@pytest.mark.parametrize(
    "annotation",
    [ManagedList[Plain], ManagedList[Future[int]], ManagedDict[str, list[Future[int]]], list[int],
     ManagedDict[Plain, int]],
)  # fmt: skip
def test_an_annotation_that_is_no_data_is_refused(annotation: object) -> None:
    with pytest.raises(UsageError, match="field"):
        ManagedFields({"field": annotation}, {})


# Values of every kind.


class Colour(enum.Enum):
    RED = "red"


class Base(BaseModel):
    number: float = 0.0
    things: list[Any] = []


class Derived(Base):
    more: int = 1


@dataclass
class Deep:
    notes: dict[str, Note] = field(default_factory=dict[str, Note])


VALUES = [
    (dt.datetime, dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC)),
    (dt.timedelta, dt.timedelta(days=1, microseconds=3)),
    (bytes, b"\x00\xff"),
    (uuid.UUID, uuid.UUID(int=5)),
    (Decimal, Decimal("1.10")),
    (Colour, Colour.RED),
    (int | str | None, None),
    (tuple[int, str], (1, "a")),
    (frozenset[int], frozenset((1, 2))),
    (float, 5e-324),
    (float, -0.0),
    (int, 2**64 - 1),
    (int, -(2**63)),
    (str, "\0 é 😀 \u2028"),
    (Deep, Deep({"a": Note("b", 1.5)})),
    (Base, Base(number=1, things=[1, {"a": None}])),
    (list[Base | Note], [Note("a"), Base()]),
    (Any, {"a": [1, 2.5, None, True, "x"]}),
]


@pytest.mark.parametrize(("annotation", "value"), VALUES)
def test_a_value_comes_back_as_it_was(annotation: Any, value: Any) -> None:
    kinds = {"l": ManagedList[annotation], "d": ManagedDict[str, annotation]}
    fold = SessionFold.empty()
    fields = ManagedFields(kinds, fold.state)
    stored: Any = fields.collections
    stored["l"].append(value)
    stored["d"]["k"] = value
    fold.advance(1, FutureId("x"), fields.delta(), 0.0)
    fields.committed()
    again: Any = ManagedFields(kinds, orjson.loads(orjson.dumps(fold.state))).collections
    for found in (again["l"][0], again["d"]["k"], stored["l"][0], stored["d"]["k"]):
        assert (found, type(found)) == (value, type(value))
    assert fields.delta() is None


nan, infinity = float("nan"), float("inf")
lone = "\ud800"


@pytest.mark.parametrize(
    ("annotation", "value", "why"),
    [
        (str, 5, "expected str, and 5 cannot be stored"),
        (float, nan, "expected float, and nan"),
        (float, infinity, "JSON compliant"),
        (Base, Base(number=nan), "JSON compliant"),
        (Base, Base(things=[nan]), "JSON compliant"),
        (Any, nan, "JSON compliant"),
        (int, 2**64, "64-bit"),
        (int, -(2**63) - 1, "64-bit"),
        (Any, {"a": [2**70]}, "64-bit"),
        (str, lone, "surrogates|Unicode|unicode"),
        (Any, [lone], "surrogates|Unicode|utf-8"),
        (Base, Derived(), "would come back as Base"),
        (Any, (1, 2), "would come back as"),
        (Any, {1: 2}, "would come back as"),
        (Any, Note("x"), "would come back as"),
        (Any, object(), "object is not data"),
        (str, Future(), "a future is no state: await it"),
        (Any, Future(), "a future is no state: await it"),
        (Any, [{"a": Future()}], "a future is no state: await it"),
        (Any, {"$future": "call.r.a._.b.c.d"}, "a future is no state: await it"),
    ],
)
@pytest.mark.parametrize("kind", ["list", "dict", "value"])
def test_what_would_not_come_back_is_refused_where_it_is_stored(
    kind: str, annotation: Any, value: object, why: str
) -> None:
    annotations = {"list": ManagedList, "dict": ManagedDict, "value": ManagedValue}
    arguments = (str, annotation) if kind == "dict" else annotation
    fields = ManagedFields({"field": annotations[kind][arguments]}, {})
    collection: Any = fields.collections["field"]
    store = {
        "list": lambda: collection.append(value),
        "dict": lambda: collection.update(k=value),
        "value": lambda: collection.set(value),
    }[kind]
    with pytest.raises(ArgumentError, match=why) as refused:
        store()
    assert str(refused.value).startswith("field: expected ")
    assert fields.delta() is None


def change_to_text(note: Any) -> None:
    note.score = "high"


def change_to_nan(note: Any) -> None:
    note.score = nan


def add_a_future(base: Any) -> None:
    base.things.append(Future())


@pytest.mark.parametrize(
    ("annotation", "value", "change"),
    [(Note, Note("a"), change_to_text), (Note, Note("a"), change_to_nan),
     (Base, Base(), add_a_future)],
)  # fmt: skip
def test_a_change_in_place_into_no_data_is_refused_at_the_commit(
    annotation: Any, value: object, change: Any
) -> None:
    fold = SessionFold.empty()
    fields = ManagedFields({"field": ManagedList[annotation]}, fold.state)
    collection: Any = fields.collections["field"]
    collection.append(value)
    fold.advance(1, FutureId("x"), fields.delta(), 0.0)
    fields.committed()
    change(collection[0])
    with pytest.raises(ArgumentError, match="field: expected"):
        fields.delta()
    fields.discard()
    assert (len(collection), fields.delta()) == (1, None)
