"""When a call that failed is tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nalar.agents.retry import is_retryable, next_delay_s
from nalar.call_policy import ONCE, Retry
from nalar.messages import ErrorInfo, Status

MANY = Retry(max_attempts=10, initial_s=1, multiplier=2, cap_s=6, jitter=0.5)


def error(code: str = "agent") -> ErrorInfo:
    return ErrorInfo(code, "Busy", "try later")


def test_the_wait_doubles_up_to_its_cap() -> None:
    assert [next_delay_s(MANY, n, 0.5) for n in range(1, 6)] == [1, 2, 4, 6, 6]


def test_the_last_attempt_is_not_followed_by_another() -> None:
    assert next_delay_s(MANY, 9, 0.5) is not None
    assert next_delay_s(MANY, 10, 0.5) is None
    assert next_delay_s(ONCE, 1, 0.5) is None


@given(st.floats(0, 1), st.integers(1, 9))
def test_chance_moves_the_wait_within_its_share(chance: float, attempt: int) -> None:
    middle, wait = next_delay_s(MANY, attempt, 0.5), next_delay_s(MANY, attempt, chance)
    assert middle is not None
    assert wait is not None
    assert 0.5 * middle <= wait <= 1.5 * middle


def test_the_whole_share_is_left_to_chance() -> None:
    assert [next_delay_s(MANY, 1, chance) for chance in (0.0, 0.25, 0.75, 1.0)] == [
        0.5, 0.75, 1.25, 1.5,
    ]  # fmt: skip


def test_an_error_can_lengthen_the_wait_and_not_shorten_it() -> None:
    assert next_delay_s(MANY, 1, 0.5, retry_after_s=30) == 30
    assert next_delay_s(MANY, 3, 0.5, retry_after_s=0.1) == 4


def test_a_wait_beyond_all_numbers_is_the_cap() -> None:
    endless = Retry(max_attempts=10_000, initial_s=1, multiplier=10, cap_s=60, jitter=0)
    assert next_delay_s(endless, 9_000, 0.5) == 60


@pytest.mark.parametrize(
    ("status", "code", "retried"),
    [
        ("failed", "agent", True),
        ("failed", "retry_later", True),
        ("failed", "expired", True),  # A child's: this call may have another with more luck.
        ("failed", "dependency_failed", True),
        ("failed", "argument", False),
        ("failed", "unknown_target", False),
        ("failed", "reentrant_call", False),
        ("failed", "value_too_large", False),
        ("failed", "invalid_result", False),
        ("expired", "expired", False),
        ("cancelled", "cancelled", False),
        ("dependency_failed", "dependency_failed", False),
        ("rejected", "rejected", False),
    ],
)
def test_failures_are_tried_again_but_for_those_that_would_come_again(
    status: Status, code: str, retried: bool
) -> None:
    assert is_retryable(MANY, status, error(code), ("Busy", "Exception")) is retried


def test_a_result_is_no_failure() -> None:
    assert not is_retryable(MANY, "succeeded", None, ())


def test_a_non_retryable_error_is_known_by_all_that_it_inherits_from() -> None:
    choosy = Retry(max_attempts=3, non_retryable=(LookupError,))
    kinds = [kind.__name__ for kind in KeyError.__mro__]
    assert not is_retryable(choosy, "failed", error(), kinds)
    assert is_retryable(choosy, "failed", error(), [kind.__name__ for kind in ValueError.__mro__])
