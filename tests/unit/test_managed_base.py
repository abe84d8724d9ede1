# pyright: basic
# What user code does to a collection is as dynamic as user code: lambdas over Any.
"""The life of changes, whatever their sequence: a managed list against a plain one."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from types import GenericAlias
from typing import Any, cast

import orjson
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pydantic import BaseModel, TypeAdapter

from nalar.ids import FutureId
from nalar.statestore.managed import ManagedFields, ManagedList
from nalar.statestore.session import JSON, SessionFold


@dataclass
class Note:
    text: str
    score: float = 0.0
    tags: list[str] = field(default_factory=list[str])


class Message(BaseModel):
    role: str = "user"
    parts: list[int] = []


class Session:
    """One list field of a session, as a worker holds it."""

    def __init__(self, annotation: object, content: list[JSON] | None = None) -> None:
        self.fold = SessionFold.empty()
        if content is not None:
            self.fold.state["f"] = content
        self.annotation = annotation
        self.move()

    def move(self) -> None:
        self.fold = SessionFold.load(self.fold.dump(now_s=0.0, horizon_s=1.0))
        self.fields = ManagedFields({"f": self.annotation}, self.fold.state)
        self.list: ManagedList[Any] = self.fields.collections["f"]  # type: ignore[assignment]

    def commit(self) -> Any:
        delta = self.fields.delta()
        self.fold.advance(self.fold.revision + 1, FutureId("x"), delta, 0.0)
        self.fields.committed()
        return None if delta is None else orjson.loads(delta)["f"]


def mutate_list(item: list[int]) -> None:
    item.append(len(item))


def mutate_note(item: Note) -> None:
    item.score += 1
    item.tags.append("t")


def mutate_message(item: Message) -> None:
    item.parts.append(len(item.parts))


def mutate_any(item: Any) -> None:
    if isinstance(item, dict):
        item["k"] = len(item)
    elif isinstance(item, list):
        item.append(None)


def mutate_set(item: set[int]) -> None:
    item ^= {1, len(item)}


def unchangeable(_: object) -> None: ...


small = st.integers(-2, 3)
KINDS: list[tuple[object, st.SearchStrategy[Any], Callable[[Any], None]]] = [
    (int, small, unchangeable),
    (str, st.sampled_from("abc"), unchangeable),
    (list[int], st.lists(small, max_size=2), mutate_list),
    (Note, st.builds(Note, st.sampled_from("ab")), mutate_note),
    (Message, st.builds(Message, parts=st.lists(small, max_size=1)), mutate_message),
    (Any, st.sampled_from([1, True, 1.0, None, "a", [1], {"a": [2]}]), mutate_any),
    (set[int], st.sets(small, max_size=3), mutate_set),
]


class ListMachine(RuleBasedStateMachine):
    """Does the same to a managed and to a plain list, through commits, failures and moves."""

    @initialize(kind=st.sampled_from(KINDS), data=st.data())
    def begin(self, kind: Any, data: st.DataObject) -> None:
        annotation, self.items, self.mutate = kind
        self.session = Session(ManagedList[annotation])
        adapter: TypeAdapter[Any] = TypeAdapter(cast("Any", GenericAlias(list, annotation)))
        self.load = adapter.validate_python
        self.dump = lambda plain: adapter.dump_python(plain, mode="json")
        self.unordered = annotation == set[int]
        self.plain: list[Any] = []
        self.both(lambda f, v: f.extend(v), data.draw(st.lists(self.items, max_size=6)))
        self.commit()

    def both(self, change: Callable[[Any, Any], object], value: object = None) -> None:
        change(self.session.list, copy.deepcopy(value))
        change(self.plain, copy.deepcopy(value))

    def place(self, data: st.DataObject) -> int:
        return data.draw(st.integers(-len(self.plain), len(self.plain) - 1))

    @rule(data=st.data())
    def append(self, data: st.DataObject) -> None:
        self.both(lambda f, v: f.append(v), data.draw(self.items))

    @rule(data=st.data(), at=st.integers(-3, 9))
    def insert(self, data: st.DataObject, at: int) -> None:
        self.both(lambda f, v: f.insert(at, v), data.draw(self.items))

    @precondition(lambda self: self.plain)
    @rule(data=st.data(), how=st.sampled_from(["set", "del", "pop", "mutate", "remove", "again"]))
    def at_one_place(self, data: st.DataObject, how: str) -> None:
        at = self.place(data)
        match how:
            case "set":
                self.both(lambda f, v: f.__setitem__(at, v), data.draw(self.items))
            case "del":
                self.both(lambda f, _: f.__delitem__(at))
            case "pop":
                assert self.session.list.pop(at) == self.plain.pop(at)
            case "mutate":
                self.both(lambda f, _: self.mutate(f[at]))
            case "remove":
                self.both(lambda f, _: f.remove(f[at]))
            case _:  # one object at two places
                self.both(lambda f, _: f.append(f[at]))

    @rule(data=st.data(), part=st.slices(8), how=st.sampled_from(["set", "del", "mutate"]))
    def in_a_slice(self, data: st.DataObject, part: slice, how: str) -> None:
        if how == "mutate":
            self.both(lambda f, _: [self.mutate(item) for item in f[part]])
        elif how == "del":
            self.both(lambda f, _: f.__delitem__(part))
        else:
            size = len(self.plain[part])
            exact = part.step not in (None, 1)
            new = data.draw(
                st.lists(self.items, min_size=size if exact else 0, max_size=size if exact else 4)
            )
            self.both(lambda f, v: f.__setitem__(part, v), new)

    @rule()
    def mutate_all(self) -> None:
        self.both(lambda f, _: [self.mutate(item) for item in f])

    @rule(how=st.sampled_from(["reverse", "sort", "double", "clear", "filter"]))
    def whole(self, how: str) -> None:
        match how:
            case "reverse":
                self.both(lambda f, _: f.reverse())
            case "sort":
                self.both(lambda f, _: f.sort(key=lambda item: (repr(item), str(type(item)))))
            case "double" if len(self.plain) < 10:
                self.both(lambda f, _: f.__imul__(2))
            case "filter":
                self.both(lambda f, _: f.__setitem__(slice(None), list(f)[::2]))
            case "clear":
                self.both(lambda f, _: f.clear())
            case _:
                pass

    @rule()
    def commit(self) -> None:
        self.session.commit()
        assert self.session.commit() is None
        self.stored = self.session.fold.state.get("f", [])
        assert orjson.dumps(self.stored) == orjson.dumps(self.dump(self.plain)) or self.unordered
        # One object at two places is two objects after a commit, as after any load.
        self.plain = self.load(copy.deepcopy(self.stored))

    @rule()
    def discard(self) -> None:
        self.session.fields.discard()
        self.plain = self.load(copy.deepcopy(self.stored))

    @rule()
    def move(self) -> None:
        self.commit()
        self.session.move()

    @invariant()
    def same(self) -> None:
        if hasattr(self, "plain"):
            assert self.session.list == self.plain
            assert len(self.session.list) == len(self.plain)

    def teardown(self) -> None:
        if hasattr(self, "plain"):
            self.commit()


TestListMachine = ListMachine.TestCase
TestListMachine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
