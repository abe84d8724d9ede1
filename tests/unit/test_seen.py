"""What a process has seen of sessions: the newest commit it has heard of, and of changes alone."""

from nalar.calls.seen import Seen
from nalar.ids import AgentName, Effect, FutureId, Ref, RootId, SessionId
from nalar.statestore.port import LedgerEntry

AGENT = AgentName("SeenAgent")


def entry(session: str, revision: int, effect: Effect = "s") -> LedgerEntry:
    ref = Ref(effect, AGENT, SessionId(session), RootId("r"), "p", FutureId(f"f{revision}"))
    return LedgerEntry(ref, revision, b"{}")


def test_the_newest_commit_counts_in_whatever_order_they_are_heard_of() -> None:
    seen = Seen()
    for revision in (5, 9, 7):
        seen.note(entry("a", revision))
    assert seen.upto(AGENT, SessionId("a")) == 9
    assert seen.upto(AGENT, SessionId("b")) == 0
    assert seen.upto(AgentName("Another"), SessionId("a")) == 0


def test_records_that_changed_no_session_do_not_count() -> None:
    seen = Seen()
    seen.note(entry("_", 5, effect="r"))
    assert seen.upto(AGENT, SessionId("_")) == 0


def test_the_sessions_heard_of_last_are_remembered_and_no_more_than_so_many() -> None:
    seen = Seen()
    for number in range(10_001):
        seen.note(entry(f"s{number}", number + 1))
        seen.note(entry("often", number + 1))
    assert seen.upto(AGENT, SessionId("s1")) == 0
    assert seen.upto(AGENT, SessionId("s10000")) == 10_001
    assert seen.upto(AGENT, SessionId("often")) == 10_001
