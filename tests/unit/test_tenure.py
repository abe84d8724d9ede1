"""Which sets of policies are held to be the end of the controllers that run them."""

from dataclasses import replace

import pytest

from nalar.cluster.policy_set import PolicySet
from nalar.cluster.tenure import (
    FORGIVEN_S,
    LOST_MAX,
    Tenure,
    begin,
    decode_tenure,
    encode_tenure,
    suspects,
)
from nalar.errors import MalformedMessage


def test_a_set_whose_first_leader_is_lost_before_it_is_proven_is_in_doubt() -> None:
    first = begin(None, "one", 3, 10.0)
    assert not first.is_in_doubt
    assert begin(first, "two", 3, 15.0).is_in_doubt
    assert not begin(first, "two", 4, 15.0).is_in_doubt, "another set has been applied"


def test_a_proven_set_is_in_doubt_once_several_leaders_were_lost_soon_after_one_another() -> None:
    tenure = replace(begin(None, "0", 3, 0.0), proven=True)
    for number in range(1, LOST_MAX + 1):
        tenure = begin(tenure, str(number), 3, 10.0 * number)
        assert not tenure.is_in_doubt
    assert not begin(tenure, "later", 3, tenure.at_s + FORGIVEN_S + 1).is_in_doubt
    assert begin(tenure, "next", 3, tenure.at_s + 10).is_in_doubt


def test_who_ends_in_order_or_leads_again_is_not_lost() -> None:
    first = begin(None, "one", 3, 0.0)
    assert not begin(first, "one", 3, 5.0).is_in_doubt
    after = begin(replace(first, closed=True), "two", 3, 5.0)
    assert (after.lost, after.closed) == (0, False)


def test_suspects_are_those_that_came_with_the_set() -> None:
    before, newest = PolicySet(1, ("a",), 0.0), PolicySet(2, ("a", "b"), 0.0)
    assert suspects([before, newest]) == ["b"]
    assert suspects([newest]) == ["a", "b"]
    assert suspects([newest, replace(newest, version=3)]) == ["a", "b"]


def test_a_tenure_is_read_as_it_was_written() -> None:
    tenure = Tenure("one", 3, 1.5, 2, proven=True, closed=True)
    assert decode_tenure(encode_tenure(tenure)) == tenure


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"who":"a","version":"x"}', b"null"])
def test_what_is_no_tenure_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_tenure(body)
