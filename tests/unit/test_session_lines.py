"""One call of a session at a time."""

from nalar.controllers.ranking import Rank
from nalar.controllers.session_lines import SessionLines

EARLY, LATE = (0.0, 0.0, 1), (0.0, 0.0, 2)


def always(key: str, rank: Rank) -> bool:
    del key, rank
    return True


def test_a_session_is_passed_on_in_order_and_freed_by_the_last() -> None:
    lines = SessionLines()
    assert lines.enter("s", "a", EARLY)
    assert not lines.enter("s", "c", LATE)
    assert not lines.enter("s", "b", EARLY)
    assert lines.leave("s", "b", always) is None, "it has not got it"
    assert lines.leave("s", "a", always) == "b"
    assert lines.holder("s") == "b"
    assert lines.leave("s", "b", always) == "c"
    assert lines.leave("s", "c", always) is None
    assert lines.holder("s") is None
    assert lines.enter("s", "d", LATE)


def test_a_place_that_was_left_is_skipped() -> None:
    lines = SessionLines()
    lines.enter("s", "a", EARLY)
    lines.enter("s", "b", EARLY)
    lines.move("s", "b", LATE)
    lines.enter("s", "gone", EARLY)
    stands = {("b", LATE)}
    assert lines.leave("s", "a", lambda key, rank: (key, rank) in stands) == "b"
