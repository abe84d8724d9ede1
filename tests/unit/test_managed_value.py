# pyright: basic
# What user code does to a collection is as dynamic as user code: lambdas over Any.

import copy
from typing import Any

import orjson
import pytest

from nalar.errors import ArgumentError
from nalar.ids import FutureId
from nalar.statestore.managed import ManagedFields, ManagedValue
from nalar.statestore.session import SessionFold


class Session:
    """One value field of a session, as a worker holds it."""

    def __init__(self, annotation: object) -> None:
        self.fold = SessionFold.empty()
        self.annotation = annotation
        self.move()

    def move(self) -> None:
        self.fold = SessionFold.load(self.fold.dump(now_s=0.0, horizon_s=1.0))
        self.fields = ManagedFields({"f": self.annotation}, self.fold.state)
        self.value: ManagedValue[Any] = self.fields.collections["f"]  # type: ignore[assignment]

    def commit(self) -> Any:
        delta = self.fields.delta()
        self.fold.advance(self.fold.revision + 1, FutureId("x"), delta, 0.0)
        self.fields.committed()
        return None if delta is None else orjson.loads(delta)["f"]


def test_unset_and_none_are_different() -> None:
    session = Session(ManagedValue[str | None])
    value = session.value
    assert (value.is_set, value.get(), value.get("none yet")) == (False, None, "none yet")
    with pytest.raises(LookupError, match="f is not set"):
        _ = value.value
    value.set(None)
    assert session.commit() == [["set", None]]
    session.move()
    assert (session.value.is_set, session.value.get("none yet")) == (True, None)
    assert session.value.value is None
    session.value.clear()
    assert session.commit() == [["unset"]]
    session.move()
    assert not session.value.is_set


def test_only_a_change_is_committed() -> None:
    session = Session(ManagedValue[int])
    session.value.clear()
    assert session.commit() is None
    session.value.value = 3
    assert session.commit() == [["set", 3]]
    session.value.set(4)
    session.value.set(3)
    assert session.commit() is None
    session.value.value += 2
    assert session.commit() == [["set", 5]]


def test_a_value_changed_in_place_is_committed() -> None:
    session = Session(ManagedValue[dict[str, list[int]]])
    mine: dict[str, list[int]] = {"a": []}
    session.value.set(mine)
    mine["a"].append(1)
    assert session.commit() == [["set", {"a": [1]}]]
    mine["a"].append(2)  # kept beyond its call
    assert session.commit() is None
    session.value.value["a"].append(3)
    assert session.commit() == [["set", {"a": [1, 3]}]]
    session.value.get({})["a"].append(4)
    session.fields.discard()
    assert session.value.value == {"a": [1, 3]}
    assert session.commit() is None


def test_a_change_after_the_delta_was_taken_is_dropped() -> None:
    session = Session(ManagedValue[int])
    session.value.set(1)
    delta = session.fields.delta()
    session.value.set(2)
    session.fold.advance(1, FutureId("x"), delta, 0.0)
    session.fields.committed()
    assert session.value.value == 1


def test_a_wrong_value_is_refused_by_name_and_type() -> None:
    session = Session(ManagedValue[int])
    with pytest.raises(ArgumentError, match="f: expected int, and 'x' cannot be stored"):
        session.value.set("x")
    assert session.commit() is None


def test_made_by_hand_it_just_holds_a_value() -> None:
    made: ManagedValue[Any] = ManagedValue()
    assert (repr(made), made.is_set) == ("ManagedValue()", False)
    made.set(object)
    assert (made.value, made.changes()) == (object, [])
    assert made == ManagedValue(object) != ManagedValue()
    assert made != 5
    assert copy.deepcopy(made) == made
    made.discard()
    made.reload()
    assert made.is_set
    for wrong in (lambda: bool(made), lambda: hash(made), lambda: ManagedValue(1, 2)):
        with pytest.raises(TypeError):
            wrong()
