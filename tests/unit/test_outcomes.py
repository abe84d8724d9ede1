"""What is said of calls that are not run."""

from nalar.controllers.outcomes import crashed, not_started
from nalar.ids import AgentName, FutureId, MethodName, Ref, RootId, SessionId
from nalar.messages import Invocation, Payload

REF = Ref("r", AgentName("tool"), SessionId("_"), RootId("root"), "client", FutureId("root"))
CALL = Invocation(
    REF,
    MethodName("run"),
    SessionId("s"),
    Payload(b"{}"),
    deadline=100.0,
    created=10.0,
    path="tool",
)


def test_a_call_that_waited_too_long_says_how_long() -> None:
    outcome = not_started(CALL, 22.0)
    assert outcome.status == "expired"
    assert outcome.error is not None
    assert "waited 12 s in the queue" in outcome.error.message


def test_past_its_deadline_the_deadline_is_the_reason() -> None:
    outcome = not_started(CALL, 100.0)
    assert outcome.error is not None
    assert "deadline passed" in outcome.error.message


def test_a_crashed_call_failed_and_says_how_often() -> None:
    outcome = crashed(CALL, 5)
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert outcome.error.code == "crashed"
    assert "died 5 times or more" in outcome.error.message
