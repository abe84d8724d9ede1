"""Policies as JSON: what is written is read again, what is anything else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nalar.bus.call_policies import policy_fields, policy_of
from nalar.call_policy import CallPolicy, Retry
from nalar.errors import MalformedMessage

times = st.none() | st.floats(1e-6, 1e9)
retries = st.builds(
    Retry,
    st.integers(1, 100),
    st.floats(0, 1e6),
    st.floats(1, 10),
    st.floats(0, 1e6),
    st.floats(0, 1),
    st.lists(st.sampled_from(["ValueError", "Busy"])).map(tuple),
)


@given(st.builds(CallPolicy, st.none() | retries, times, times))
def test_a_policy_is_read_back_as_it_was_written(policy: CallPolicy) -> None:
    assert policy_of(policy_fields(policy)) == policy


def test_what_has_its_default_is_left_out() -> None:
    assert policy_fields(CallPolicy(Retry(3))) == {"retry": {"max_attempts": 3}}


@pytest.mark.parametrize(
    "value",
    [
        3,
        {"retry": []},
        {"retry": {"max_attempts": 0}},
        {"retry": {"max_attempts": "3"}},
        {"retry": {"non_retryable": "ValueError"}},
        {"retry": {"non_retryable": [1]}},
        {"retry": {"non_retryable": ["no name"]}},
        {"timeout_s": -1},
        {"queue_timeout_s": "soon"},
        {"timeout_s": True},
    ],
)
def test_a_policy_that_does_not_fit_is_malformed(value: object) -> None:
    with pytest.raises(MalformedMessage):
        policy_of(value)


def test_members_of_a_later_version_are_let_be() -> None:
    assert policy_of({"hurry": 1, "retry": {"max_attempts": 2, "mood": 3}}) == CallPolicy(Retry(2))
