# pyright: basic
# What user code does to a collection is as dynamic as user code: lambdas over Any.

import copy
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from pydantic import BaseModel, TypeAdapter

from nalar.ids import FutureId
from nalar.statestore.managed import ManagedFields, ManagedList
from nalar.statestore.session import JSON, SessionFold


@dataclass
class Note:
    text: str
    score: float = 0.0
    tags: list[str] = field(default_factory=list[str])


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


# Examples of what is committed.


def numbers(size: int = 5) -> Session:
    return Session(ManagedList[int], list(range(size)))


def doing(change: Callable[[ManagedList[Any]], object]) -> Any:
    session = numbers()
    change(session.list)
    after = list(session.list)
    ops = session.commit()
    assert session.fold.state["f"] == after
    return ops


@pytest.mark.parametrize(
    ("change", "ops"),
    [
        (lambda f: (f.append(5), f.append(6)), [["splice", 5, 0, [5, 6]]]),
        (lambda f: (f.append(5), f.pop(0)), [["splice", 0, 1, []], ["splice", 4, 0, [5]]]),
        (lambda f: (f.append(5), f.pop()), None),
        (lambda f: f.insert(0, 9), [["splice", 0, 0, [9]]]),
        (lambda f: f.insert(-1, 9), [["splice", 4, 0, [9]]]),
        (lambda f: f.extend([5, 6]), [["splice", 5, 0, [5, 6]]]),
        (lambda f: f.extend([]), None),
        (lambda f: f.__setitem__(2, 7), [["splice", 2, 1, [7]]]),
        (lambda f: f.__setitem__(2, 2), None),
        (lambda f: (f.__setitem__(2, 7), f.__setitem__(3, 8)), [["splice", 2, 2, [7, 8]]]),
        (lambda f: (f.__setitem__(0, 7), f.__setitem__(4, 8)),
         [["splice", 0, 1, [7]], ["splice", 4, 1, [8]]]),
        (lambda f: f.__delitem__(slice(1, 3)), [["splice", 1, 2, []]]),
        (lambda f: f.__delitem__(slice(None, None, 2)),
         [["splice", 0, 1, []], ["splice", 1, 1, []], ["splice", 2, 1, []]]),
        (lambda f: f.__setitem__(slice(1, 4), [1, 9]), [["splice", 2, 2, [9]]]),
        (lambda f: f.__setitem__(slice(None, None, 2), [7, 2, 8]),
         [["splice", 0, 1, [7]], ["splice", 4, 1, [8]]]),
        (lambda f: f.clear(), [["splice", 0, 5, []]]),
        (lambda f: (f.clear(), f.extend(range(5))), None),
        (lambda f: f.replace([n for n in f if n % 2]),
         [["splice", 0, 1, []], ["splice", 1, 1, []], ["splice", 2, 1, []]]),
        (lambda f: f.replace([0, 1, 9, 3, 4, 5]), [["splice", 2, 3, [9, 3, 4, 5]]]),
        (lambda f: f.reverse(), [["splice", 0, 2, [4, 3]], ["splice", 3, 2, [1, 0]]]),
        (lambda f: f.sort(), None),
        (list, None),
    ],
)  # fmt: skip
def test_what_changed_is_committed_and_no_more(
    change: Callable[[ManagedList[Any]], object], ops: object
) -> None:
    assert doing(change) == ops


def test_many_scattered_changes_are_still_told_exactly() -> None:
    session = numbers(10_000)
    for place in range(3_000):
        del session.list[place * 2]
    ops = session.commit()
    assert len(ops) == 3_000
    assert session.fold.state["f"] == list(session.list)


# Items that change in place.


def notes(count: int = 3) -> Session:
    return Session(
        ManagedList[Note], [{"text": str(n), "score": 0.0, "tags": []} for n in range(count)]
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda f: setattr(f[1], "score", 3.0),
        lambda f: setattr(f[-2], "score", 3.0),
        lambda f: setattr(f[:2][1], "score", 3.0),
        lambda f: setattr(list(f)[1], "score", 3.0),
        lambda f: setattr(f.copy()[1], "score", 3.0),
        lambda f: setattr((f + [])[1], "score", 3.0),  # noqa: RUF005 -- the operator is tested
        lambda f: setattr((f * 1)[1], "score", 3.0),
        lambda f: setattr(next(n for n in reversed(f) if n.text == "1"), "score", 3.0),
        lambda f: setattr(sorted(f, key=lambda n: n.text)[1], "score", 3.0),
        lambda f: [setattr(n, "score", 3.0) for n in f if n.text == "1"],
    ],
)
def test_an_item_changed_in_place_is_committed_alone(
    change: Callable[[ManagedList[Note]], object],
) -> None:
    session = notes()
    change(session.list)
    assert session.commit() == [["splice", 1, 1, [{"text": "1", "score": 3.0, "tags": []}]]]


def test_what_changes_inside_an_item_is_committed() -> None:
    session = notes(1)
    session.list[0].tags.append("new")
    session.list.insert(0, Note("first"))
    session.list[0].tags.append("later")
    assert session.commit() == [
        ["splice", 0, 1, [{"text": "first", "score": 0.0, "tags": ["later"]},
                          {"text": "0", "score": 0.0, "tags": ["new"]}]]
    ]  # fmt: skip


def test_who_stored_an_item_may_go_on_changing_it_until_the_commit() -> None:
    session = Session(ManagedList[list[int]])
    mine = [1]
    session.list.append(mine)
    mine.append(2)
    assert session.list[0] is mine
    assert session.commit() == [["splice", 0, 0, [[1, 2]]]]


def test_looking_at_items_is_no_change() -> None:
    session = notes()
    assert Note("1") in session.list
    assert session.list.index(Note("2")) == 2
    assert [note.text for note in session.list] == ["0", "1", "2"]
    assert session.commit() is None


def test_sets_have_no_order_so_reading_them_is_no_change() -> None:
    words = [f"w{n}" for n in range(50)]
    session = Session(ManagedList[set[str]], [list(words)])
    assert len(session.list[0]) == 50
    assert session.commit() is None
    session.list[0].add("one more")
    [[_, at, removed, [stored]]] = session.commit()
    assert (at, removed, sorted(stored)) == (0, 1, sorted([*words, "one more"]))


def test_a_set_beside_other_things_hides_no_change() -> None:
    class Bag(BaseModel):
        words: set[str] = set()
        order: list[int] = []
        extra: Any = None

    content: list[JSON] = [{"words": ["a", "b", "c"], "order": [1, 2], "extra": 1}]
    for change in (
        lambda bag: setattr(bag, "extra", True),
        lambda bag: bag.order.reverse(),
        lambda bag: bag.words.remove("a"),
    ):
        session = Session(ManagedList[Bag], content)
        change(session.list[0])
        assert session.commit() is not None


def test_a_reference_kept_beyond_its_call_counts_no_more() -> None:
    session = notes()
    kept = session.list[1]
    added = Note("added")
    session.list.append(added)
    session.commit()
    kept.score = added.score = 9.0
    assert session.commit() is None
    assert [note.score for note in session.list] == [0.0] * 4
    assert session.list.count(Note("added")) == 1


def test_a_change_after_the_delta_was_taken_is_dropped() -> None:
    session = numbers(1)
    session.list.append(1)
    delta = session.fields.delta()
    session.list.append(2)  # a task that outlives its call
    session.fold.advance(1, FutureId("x"), delta, 0.0)
    session.fields.committed()
    assert session.list == [0, 1] == session.fold.state["f"]


def test_discard_goes_back_and_keeps_the_copy_when_nothing_changed() -> None:
    session = notes()
    session.list[0].score = 5.0
    session.list.append(Note("x"))
    session.fields.discard()
    assert session.list == [Note("0"), Note("1"), Note("2")]
    session.fields.discard()
    assert session.commit() is None


def test_frozen_items_are_not_watched() -> None:
    @dataclass(frozen=True)
    class Price:
        amount: float
        names: tuple[str, ...] = ()

    session = Session(ManagedList[Price], [{"amount": 1.0, "names": []}])
    first = session.list[0]
    session.commit()
    assert session.list[0] is first


# A plain list, and like one.


def test_made_by_hand_it_is_an_ordinary_list() -> None:
    made: ManagedList[Any] = ManagedList()
    made.append(object())
    made += "ab"
    assert made[1:] == ["a", "b"]
    assert (made.changes(), len(made)) == ([], 3)
    made.committed()
    made.discard()
    made.reload()
    assert len(made) == 3


@pytest.mark.parametrize("bound", [False, True])
def test_it_behaves_as_a_list(bound: bool) -> None:
    plain = [3, 1, 2]
    made: ManagedList[int] = (
        Session(ManagedList[int], list(plain)).list if bound else ManagedList(plain)
    )
    assert made == plain
    assert plain == made
    assert made == ManagedList(plain)
    assert made != (3, 1, 2)
    assert (repr(made), str(made), f"{made}") == ("[3, 1, 2]",) * 3
    assert made + [4] == [3, 1, 2, 4]  # noqa: RUF005 -- the operator is tested
    assert [4] + made == [4, 3, 1, 2]  # noqa: RUF005 -- the operator is tested
    assert made * 2 == 2 * made == plain * 2
    assert made < [4]
    assert made >= [3]
    assert made <= ManagedList([9])
    assert made > [3, 1]
    assert (made[1:], made[::-1]) == ([1, 2], [2, 1, 3])
    assert (made.index(1), made.count(3), 2 in made, 9 in made) == (1, 1, True, False)
    made.sort(reverse=True)
    made *= 2
    made.remove(3)
    assert made == [2, 1, 3, 2, 1]
    made *= 0
    assert made == []
    assert not made
    for wrong in (lambda: hash(made), lambda: operator.imul(made, Any)):
        with pytest.raises(TypeError):
            wrong()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda f: f[9], lambda f: f[-9], lambda f: f.pop(9), lambda f: f.__setitem__(9, 1),
        lambda f: f.__delitem__(9), lambda f: f.remove(9), lambda f: f.index(9),
        lambda f: f.index(0, 1, 3), lambda f: f.__setitem__(slice(0, 4, 2), [1]),
        lambda f: f["x"], lambda f: f.extend(5), lambda f: type(f)().pop(),
        lambda f: f.index(0, 1),
    ],
)  # fmt: skip
def test_it_fails_as_a_list_does(wrong: Callable[[Any], object]) -> None:
    def failure(of: Any) -> tuple[type, str]:
        with pytest.raises(Exception) as failed:  # noqa: PT011 -- which one is compared
            wrong(of)
        return type(failed.value), str(failed.value)

    assert failure(numbers().list) == failure(list(range(5)))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, ManagedList.copy])
def test_copies_are_plain_lists(copied: Callable[[Any], object]) -> None:
    plain = copied(numbers(2).list)
    assert type(plain) is list
    assert plain == [0, 1]


def test_pydantic_takes_it_for_a_list() -> None:
    assert TypeAdapter(list[Note]).validate_python(notes(1).list) == [Note("0")]
