"""A piece of a log is all there is, or it is refused."""

import pytest

from nalar.ids import AgentName, FutureId, Ref, RootId, SessionId
from nalar.statestore.log_chain import LogCut, check_unbroken
from nalar.statestore.port import LedgerEntry


def entry(revision: int, follows: int | None) -> LedgerEntry:
    future = FutureId(f"f{revision}")
    ref = Ref("s", AgentName("A"), SessionId("s"), RootId("r"), "p", future)
    return LedgerEntry(ref, revision, b"", follows)


def test_entries_that_follow_each_other_are_a_whole_piece() -> None:
    check_unbroken(3, [entry(5, 3), entry(9, 5), entry(10, 9)])
    check_unbroken(0, [entry(5, 0)])
    check_unbroken(7, [])


@pytest.mark.parametrize(
    ("after", "entries"),
    [
        (0, [entry(9, 5)]),
        (3, [entry(9, 5), entry(10, 9)]),
        (3, [entry(5, 3), entry(10, 9)]),
        (5, [entry(9, 3)]),
    ],
)
def test_a_gap_is_seen_wherever_it_is(after: int, entries: list[LedgerEntry]) -> None:
    with pytest.raises(LogCut, match=f"between {after if len(entries) == 1 else '[35]'} and"):
        check_unbroken(after, entries)


def test_what_does_not_say_what_it_follows_is_believed() -> None:
    check_unbroken(3, [entry(5, 3), entry(8, None), entry(9, 8)])
