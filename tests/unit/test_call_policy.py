"""What may be said of retries and time limits."""

from typing import Any

import pytest

from nalar.call_policy import Batch, CallPolicy, Retry
from nalar.errors import UsageError


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 2.5}, "max_attempts"),
        ({"max_attempts": True}, "max_attempts"),
        ({"initial_s": -1}, "initial_s"),
        ({"multiplier": 0.5}, "multiplier"),
        ({"cap_s": float("inf")}, "cap_s"),
        ({"jitter": 2}, "jitter.* from 0 to 1"),
        ({"non_retryable": ["no name"]}, "exception classes"),
        ({"non_retryable": [int]}, "exception classes"),
    ],
)
def test_a_retry_that_cannot_be_meant_is_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Retry(**arguments)


def test_one_exception_class_will_do() -> None:
    assert Retry(non_retryable=ValueError).non_retryable == (ValueError,)  # type: ignore[arg-type]


def test_classes_and_their_names_are_the_same_on_the_wire() -> None:
    assert Retry(non_retryable=(ValueError, "Busy")).final_names == ("ValueError", "Busy")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"retry": 3}, "nalar.Retry"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"queue_timeout_s": -1}, "queue_timeout_s"),
        ({"queue_timeout_s": "soon"}, "queue_timeout_s"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        CallPolicy(**arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"size": 0}, "size.* from 1 to 10000"),
        ({"size": True}, "size"),
        ({"size": 2.0}, "size"),
        ({"size": 10_001}, "size"),
        ({"linger_s": -1}, "linger_s"),
        ({"linger_s": float("inf")}, "linger_s"),
    ],
)
def test_a_batch_that_cannot_be_meant_is_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Batch(**arguments)
