"""Putting together what a call yields."""

from itertools import pairwise, permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nalar.chunks import Assembly, Chunk, decode_chunk, encode_chunk
from nalar.errors import MalformedMessage
from nalar.ids import Ref

REF = Ref.parse("call.r.Poet._.root.parent.future")


def parts_of(values: list[int], cuts: set[int]) -> list[tuple[int, list[int]]]:
    """Cut `values` and say where each part begins."""
    places = sorted({0, len(values), *(cut % (len(values) + 1) for cut in cuts)})
    return [(begin, values[begin:end]) for begin, end in pairwise(places)]


@given(
    st.lists(st.integers(), max_size=12),
    st.sets(st.integers(0, 12), max_size=4),
    st.randoms(),
    st.integers(0, 12),
)
def test_values_come_in_order_and_once_however_their_chunks_come(
    values: list[int], cuts: set[int], chance: Any, after: int
) -> None:
    after = min(after, len(values))
    chunks = parts_of(values, cuts) * 2
    chance.shuffle(chunks)
    reader = Assembly(position=after)
    got = [value for at, part in chunks for value in reader.take("e", at, part)]
    assert got == values[after:]
    assert not reader.lacks
    assert reader.finish(values) == []


def test_what_is_lacking_is_known_and_comes_with_the_whole_result() -> None:
    reader = Assembly()
    assert reader.take("e", 0, ["a"]) == ["a"]
    assert reader.take("e", 2, ["c"]) == []
    assert reader.lacks
    assert reader.finish(["a", "b", "c", "d"]) == ["b", "c", "d"]
    assert reader.position == 4


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_values_of_an_execution_that_is_over_are_left_aside(order: tuple[int, ...]) -> None:
    reader = Assembly()
    assert reader.take("first", 0, ["a"]) == ["a"]
    assert reader.take("second", 0, ["A", "B"]) == ["B"]  # Its first stands in place of the other.
    assert reader.restarted
    late = [("first", 1, ["b"]), ("first", 2, ["c"]), ("first", 0, ["a"])]
    assert [reader.take(*late[index]) for index in order] == [[], [], []]
    assert not reader.lacks


def test_a_late_reader_begins_with_the_newest_execution() -> None:
    reader = Assembly()
    reader.begin(["first", "second", "first"])
    assert reader.take("first", 0, ["a"]) == []
    assert reader.take("second", 0, ["A"]) == ["A"]
    assert not reader.restarted


def test_one_that_began_before_any_value_came_knows_of_no_restart() -> None:
    reader = Assembly()
    reader.begin([])
    assert reader.take("first", 1, ["b"]) == []
    assert reader.take("second", 0, ["A"]) == ["A"]
    assert not reader.restarted


def test_a_chunk_arrives_as_it_was_sent() -> None:
    chunk = Chunk(REF, "1-abc", 7, b'["a",{"b":[1.5,null]}]')
    assert decode_chunk(REF, encode_chunk(chunk)) == chunk


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"null", b"{}", b"\xff", b'{"epoch":"e","at":0}',
        b'{"epoch":1,"at":0,"values":[]}', b'{"epoch":"e","at":-1,"values":[]}',
        b'{"epoch":"e","at":true,"values":[]}', b'{"epoch":"e","at":0,"values":{}}',
        b"[" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_chunk_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_chunk(REF, body)
