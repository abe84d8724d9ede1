"""Dead letters: for whom they are written, what they say, and what is made of them."""

import base64
import dataclasses

import orjson
import pytest

from nalar.call_policy import CallPolicy, Retry
from nalar.calls.letters import (
    DeadLetter,
    decode_letter,
    details,
    encode_letter,
    invocation_of,
    is_due,
    noted,
    redriven,
)
from nalar.errors import MalformedMessage, UsageError
from nalar.ids import AgentName, FutureId, MethodName, Ref, RootId, SessionId
from nalar.messages import ErrorInfo, Invocation, Payload, Record, Status

CHILD = Ref(
    "s", AgentName("Analyst"), SessionId("=w7w"), RootId("root"), "parent", FutureId("child")
)
REQUEST = dataclasses.replace(CHILD, parent="client", future=FutureId("root"))
INVOCATION = Invocation(
    CHILD, MethodName("study"), SessionId("=w7w"), Payload(b'{"ticker":"\xc3\xbc"}'), 2e9, 1e9,
    after=REQUEST, tenant="acme", priority=3, attempt=2, holds=("report/root",),
    path="report > Analyst.study", not_before=1e9, policy=CallPolicy(Retry(4), 3.0),
)  # fmt: skip


def record(ref: Ref = CHILD, status: Status = "failed", code: str = "agent") -> Record:
    error = ErrorInfo(code, "ValueError", "no \ud800", "Traceback ...", "report > Analyst.study")
    return Record(
        ref, INVOCATION.method, INVOCATION.session, status, None, error, INVOCATION.arguments,
        None, "w1", 2, 1e9, 1e9, 1e9 + 5,
    )  # fmt: skip


def letter() -> DeadLetter:
    return decode_letter("dead.child", encode_letter(INVOCATION, record()), 7)


@pytest.mark.parametrize(
    ("ref", "status", "code", "max_attempts", "due"),
    [
        (REQUEST, "failed", "agent", 1, True),
        (REQUEST, "expired", "expired", 1, True),
        (REQUEST, "rejected", "unknown_target", 1, True),
        (REQUEST, "cancelled", "cancelled", 1, False),
        (REQUEST, "dependency_failed", "dependency_failed", 1, False),
        (CHILD, "failed", "agent", 1, False),
        (CHILD, "failed", "agent", 3, True),
        (CHILD, "failed", "crashed", 1, True),
        (CHILD, "expired", "expired", 3, False),
        (CHILD, "cancelled", "cancelled", 3, False),
    ],
)
def test_operators_hear_of_requests_exhausted_retries_and_killers(
    ref: Ref, status: Status, code: str, max_attempts: int, *, due: bool
) -> None:
    assert is_due(record(ref, status, code), max_attempts) is due


def test_a_letter_says_what_was_called_and_why_it_failed() -> None:
    read = letter()
    assert (read.id, read.kind, read.revision, read.at) == ("child", "call", 7, 1e9 + 5)
    assert (read.agent, read.target, read.attempts) == ("Analyst", "Analyst.study", 2)
    assert read.reason.startswith("ValueError: no")
    shown = details(read)
    assert shown["arguments"] == {"ticker": "ü"}
    assert shown["session"] == "ü"
    assert shown["error"]["traceback"] == "Traceback ..."
    assert "body" not in shown
    orjson.dumps(shown)


def test_a_redriven_call_is_the_same_call_as_a_request_of_its_own() -> None:
    again = redriven(invocation_of(letter()), RootId("new"), "c1", now_s=5.0, deadline_s=60.0)
    assert again.ref == dataclasses.replace(CHILD, root=RootId("new"), parent="c1", future="new")
    assert (again.attempt, again.after, again.holds, again.not_before) == (1, None, (), 0.0)
    assert (again.created, again.deadline, again.path) == (5.0, 65.0, "Analyst.study")
    for kept in ("method", "session", "arguments", "tenant", "priority", "policy"):
        assert getattr(again, kept) == getattr(INVOCATION, kept), kept


def test_runs_made_of_a_letter_are_noted_in_it() -> None:
    once = decode_letter("dead.child", noted(letter(), "r1"), 8)
    twice = decode_letter("dead.child", noted(once, "r2"), 9)
    assert twice.redriven_as == ("r1", "r2")
    assert invocation_of(twice) == invocation_of(letter())


def test_a_message_that_was_no_call_is_shown_and_cannot_be_redriven() -> None:
    raw = base64.b64encode(b"not\xff a call").decode()
    told = {"reason": "no headers", "at": 3.0, "lane": "q.normal", "size": 11, "raw": raw}
    read = decode_letter("dead.abc", orjson.dumps(told), 1)
    assert read.kind == "malformed"
    assert details(read)["raw"] == "not\\xff a call"
    with pytest.raises(UsageError, match="no headers"):
        invocation_of(read)


@pytest.mark.parametrize("changes", [{"ref": "x"}, {"headers": 3}, {"body": "{"}, {"headers": ""}])
def test_a_letter_that_somebody_has_changed_is_not_redriven(changes: dict[str, object]) -> None:
    value = orjson.dumps(letter().told | changes)
    with pytest.raises(UsageError, match="child cannot be redriven"):
        invocation_of(decode_letter("dead.child", value, 1))


def test_an_entry_that_is_no_letter_is_malformed() -> None:
    with pytest.raises(MalformedMessage):
        decode_letter("dead.x", b"nonsense", 1)
