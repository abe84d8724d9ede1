"""What names the calls of one caller, above all when it is tried again."""

import dataclasses

from nalar.bus.codec import encode_record
from nalar.calls.lineage import Lineage
from nalar.ids import AgentName, FutureId, MethodName, Ref, RootId, SessionId, again_id, child_id
from nalar.messages import ErrorInfo, Payload, Record
from nalar.statestore.port import LedgerEntry

CHILD = child_id("parent", "tool.run", b"{}", 0)
SECOND, THIRD = again_id(CHILD, 2), again_id(CHILD, 3)


def entry(name: FutureId, revision: int, *, failed: bool) -> LedgerEntry:
    ref = Ref("r", AgentName("tool"), SessionId("_"), RootId("root"), "parent", name)
    good = Record(
        ref, MethodName("run"), SessionId("s"), "succeeded", Payload(b"1"), None, Payload(b"{}"),
        None, "w", 1, 1.0, 1.0, 1.0,
    )  # fmt: skip
    error = ErrorInfo("agent", "ValueError", "no")
    record = dataclasses.replace(good, status="failed", result=None, error=error)
    return LedgerEntry(ref, revision, encode_record(record if failed else good))


def named(*entries: LedgerEntry, failed_upto: int) -> FutureId:
    lineage = Lineage("parent", {e.ref.future: e for e in entries}, failed_upto=failed_upto)
    return lineage.name("tool.run", b"{}", None)


def test_a_retried_caller_reuses_a_finished_child() -> None:
    assert named(entry(CHILD, 5, failed=False), failed_upto=9) == CHILD


def test_a_retried_caller_attaches_to_a_child_that_has_no_record_yet() -> None:
    assert named(failed_upto=9) == CHILD


def test_a_retried_caller_makes_a_failed_child_again() -> None:
    assert named(entry(CHILD, 5, failed=True), failed_upto=5) == SECOND


def test_each_retry_has_a_generation_of_its_own() -> None:
    failed = entry(CHILD, 5, failed=True), entry(SECOND, 8, failed=True)
    assert named(*failed, failed_upto=9) == THIRD


def test_a_resumed_attempt_finds_what_it_has_made_itself() -> None:
    earlier = entry(CHILD, 5, failed=True)
    assert named(earlier, entry(SECOND, 8, failed=False), failed_upto=5) == SECOND
    assert named(earlier, entry(SECOND, 8, failed=True), failed_upto=5) == SECOND


def test_a_caller_that_was_not_retried_sees_its_errors_again() -> None:
    assert named(entry(CHILD, 5, failed=True), failed_upto=0) == CHILD


def test_a_child_with_a_name_of_its_own_has_generations_too() -> None:
    name = child_id("parent", "tool.run", b"{}", "draft")
    lineage = Lineage("parent", {name: entry(name, 1, failed=True)}, failed_upto=1)
    assert lineage.name("tool.run", b"{}", "draft") == again_id(name, 2)
