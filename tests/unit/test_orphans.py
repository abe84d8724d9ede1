"""Which recorded calls a resumed caller still has to claim."""

from nalar.bus.codec import encode_record
from nalar.calls.orphans import Orphans
from nalar.ids import AgentName, FutureId, MethodName, Ref, RootId, SessionId
from nalar.messages import ErrorInfo, Payload, Record
from nalar.statestore.port import LedgerEntry


def entry(future: str, *, effect: str = "s", fails: bool = False) -> LedgerEntry:
    session = SessionId("s" if effect == "s" else "_")
    ref = Ref("s" if effect == "s" else "r", AgentName("Bank"), session, RootId("root"), "parent",
              FutureId(future))  # fmt: skip
    error = ErrorInfo("agent", "ValueError", "no") if fails else None
    record = Record(
        ref, MethodName("pay"), session, "failed" if fails else "succeeded",
        None if fails else Payload(b"1"), error, Payload(b"{}"), None, "w", 1, 0.0, 0.0, 0.0,
    )  # fmt: skip
    return LedgerEntry(ref, 1, encode_record(record))


def test_a_caller_that_was_not_resumed_withholds_nothing() -> None:
    orphans = Orphans()
    assert not orphans.withholds("Bank.pay")
    assert (len(orphans), orphans.targets) == (0, ())


def test_a_method_is_withheld_until_the_last_of_its_calls_is_claimed() -> None:
    orphans = Orphans([entry("a"), entry("b")])
    assert orphans.withholds("Bank.pay")
    assert not orphans.withholds("Bank.look")
    assert not orphans.claim("Bank.pay", FutureId("a"))
    assert not orphans.claim("Bank.pay", FutureId("a"))
    assert orphans.withholds("Bank.pay")
    assert orphans.claim("Bank.pay", FutureId("b"))
    assert not orphans.withholds("Bank.pay")


def test_what_has_changed_nothing_withholds_nothing_and_is_counted() -> None:
    orphans = Orphans([entry("a", effect="r"), entry("b", fails=True)])
    assert not orphans.withholds("Bank.pay")
    assert len(orphans) == 2
    orphans.claim("Bank.pay", FutureId("b"))
    assert len(orphans) == 1


def test_the_error_names_what_was_not_repeated_and_what_was_asked_for() -> None:
    orphans = Orphans([entry(name) for name in "abcde"])
    told = str(orphans.error(["Bank.pay"], ["<Future x>"]))
    assert "Bank.pay (a, b, c and 2 more)" in told
    assert "asks for <Future x> instead" in told
    assert 'on_orphan="ignore"' in told


def test_a_record_that_cannot_be_read_withholds_nothing() -> None:
    broken = LedgerEntry(entry("a").ref, 1, b"{}")
    assert not Orphans([broken]).withholds("Bank.pay")
