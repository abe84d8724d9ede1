from hypothesis import given
from hypothesis import strategies as st

from nalar.statestore.managed_pieces import PIECES_MAX, Edit, Pieces

steps = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 4), st.integers(0, 3)), max_size=12)


@given(st.integers(0, 12), steps, st.sets(st.integers(0, 11)))
def test_edits_turn_the_base_into_the_current_list(
    size: int, splices: list[tuple[int, int, int]], touched: set[int]
) -> None:
    base: list[object] = list(range(size))
    current, pieces = list(base), Pieces(size)
    for step, (at, remove, insert) in enumerate(splices):
        start = min(at, len(current))
        gone = min(remove, len(current) - start)
        new = [f"new{step}.{n}" for n in range(insert)]
        current[start : start + gone] = new
        pieces.splice(start, gone, insert)
        origins = [pieces.origin(place) for place in range(len(current))]
        assert origins == [item if isinstance(item, int) else None for item in current]
    pieces.touched |= {origin for origin in touched if origin < size}
    result, inserted = list(base), 0
    for at, start, remove, insert in pieces.edits(pieces.find(pieces.touched)):
        assert result[at : at + remove] == base[start : start + remove]
        result[at : at + remove] = current[at : at + insert]
        inserted += insert
    assert result == current
    assert inserted <= len(touched) + sum(insert for _, _, insert in splices)


@given(st.integers(0, 12), steps, st.sets(st.integers(0, 11)), st.sets(st.integers(0, 11)))
def test_after_a_commit_all_that_was_out_is_stale(
    size: int, splices: list[tuple[int, int, int]], touched: set[int], stale: set[int]
) -> None:
    current: list[object] = list(range(size))
    pieces = Pieces(size)
    pieces.touched |= {origin for origin in touched if origin < size}
    pieces.stale |= {origin for origin in stale if origin < size}
    out = pieces.touched | pieces.stale
    for at, remove, insert in splices:
        start = min(at, len(current))
        gone = min(remove, len(current) - start)
        current[start : start + gone] = [None] * insert
        pieces.splice(start, gone, insert)
    pieces.rebase(hand_back=True)
    expected = {place for place, item in enumerate(current) if item is None or item in out}
    assert pieces.stale >= expected
    assert not pieces.touched
    assert all(0 <= place < len(current) for place in pieces.stale)
    assert pieces.edits(()) == []


def test_appending_makes_one_piece() -> None:
    pieces = Pieces(100_000)
    for _ in range(1_000):
        pieces.splice(pieces.size, 0, 1)
    assert pieces.edits(()) == [Edit(100_000, 100_000, 0, 1_000)]


def test_a_list_in_too_many_pieces_says_so() -> None:
    pieces = Pieces(10 * PIECES_MAX)
    for place in range(PIECES_MAX + 1):
        pieces.splice(place * 2, 1, 0)
    assert pieces.crowded
    pieces.rewrite()
    assert not pieces.crowded
    assert pieces.edits(()) == [Edit(0, 0, 10 * PIECES_MAX, pieces.size)]
