from hypothesis import given
from hypothesis import strategies as st

from nalar.statestore.managed_narrow import narrowed
from nalar.statestore.session import JSON, apply

#: Python calls some of these equal; JSON does not.
items = st.lists(st.sampled_from([0, 1, True, False, 1.0, None, "a"]), max_size=7)


def never(_: int, __: int) -> bool:
    return False


@given(items, items, items)
def test_the_operations_make_one_list_of_the_other(
    before: list[JSON], old: list[JSON], new: list[JSON]
) -> None:
    state: dict[str, JSON] = {"f": [*before, *old, "after"]}
    apply(state, {"f": narrowed(len(before), old, new, never)})
    assert repr(state["f"]) == repr([*before, *new, "after"])


@given(items)
def test_nothing_is_said_of_a_list_that_is_the_same(old: list[JSON]) -> None:
    assert narrowed(3, old, list(old), never) == []


def test_a_filtered_list_is_told_by_what_was_left_out() -> None:
    old: list[JSON] = list(range(10))
    assert narrowed(0, old, [1, 2, 3, 7, 8, 9], never) == [
        ["splice", 0, 1, []],
        ["splice", 3, 3, []],
    ]


def test_a_replaced_stretch_is_told_alone() -> None:
    assert narrowed(5, [1, 2, 3, 4], [1, 9, 9, 9, 4], never) == [["splice", 6, 2, [9, 9, 9]]]


def test_items_of_the_same_value_are_not_told() -> None:
    assert narrowed(0, [[1, 2], [3]], [[2, 1], [3]], lambda i, j: i == j) == []
