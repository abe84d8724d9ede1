"""Sets of policies and what they are called."""

from dataclasses import replace

import pytest

from nalar.cluster.policy_set import (
    BY_START,
    PolicySet,
    canonical,
    decode_set,
    difference,
    encode_set,
    is_to_start,
    key_of_version,
    parse_spec,
    without,
)
from nalar.errors import MalformedMessage, UsageError


def version(number: int, *policies: str) -> PolicySet:
    return PolicySet(number, policies, 1.0)


def test_a_policy_is_named_with_its_parameters_whose_values_may_have_commas() -> None:
    spec = parse_spec(" reassign, agents=Chat,Code ,ratio=3 ")
    assert spec.name == "reassign"
    assert spec.parameters == (("agents", "Chat,Code"), ("ratio", "3"))
    assert str(spec) == "reassign,agents=Chat,Code,ratio=3"
    assert parse_spec(str(spec)) == spec


@pytest.mark.parametrize("text", ["", ",step=3", "srtf,3", "srtf,step=1,step=2", "hand"])
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_spec(text)


def test_a_policy_stands_once_in_a_set() -> None:
    assert canonical(["srtf", " lpt"]) == ("srtf", "lpt")
    with pytest.raises(UsageError, match="srtf is named twice"):
        canonical(["srtf", "lpt", "srtf "])


def test_a_version_is_read_as_it_was_written() -> None:
    known = PolicySet(7, ("srtf", "lpt"), 12.5, "hand", "why", ("bad",))
    assert decode_set(key_of_version(7), encode_set(known)) == known
    assert key_of_version(9) < key_of_version(10)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{}", b'{"v":2,"policies":[],"at":1}',
             b'{"v":1,"policies":[1],"at":1}', b'{"v":1,"policies":"srtf","at":"x"}'],
)  # fmt: skip
def test_what_is_no_version_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_set(key_of_version(1), body)


def test_a_faulty_policy_gives_way_to_the_set_before_it() -> None:
    history = [version(1, "a"), version(2, "a", "b"), version(3, "a", "b", "bad")]
    assert without(history, ["bad"]) == ("a", "b")
    assert without([*history, version(4, "bad", "c")], ["bad"]) == ("a", "b")
    assert without(history, ["b", "bad"]) == ("a",)


def test_with_no_set_before_it_the_others_go_on() -> None:
    assert without([version(1, "a", "bad")], ["bad"]) == ("a",)
    assert without([version(1), version(2, "bad")], ["bad"]) == ()


def test_what_was_ever_found_faulty_is_not_gone_back_to() -> None:
    rolled_back = PolicySet(2, (), 2.0, "controller", faulty=("bad",))
    history = [version(1, "bad"), rolled_back, version(3, "worse")]
    assert without(history, ["worse"]) == ()
    sound = [version(1, "a"), version(2, "bad"), replace(rolled_back, version=3), *history[2:]]
    assert without(sound, ["worse"]) == ("a",)


def test_a_controller_that_is_started_again_overrules_nobody() -> None:
    started = PolicySet(1, ("a",), 1.0, BY_START)
    assert is_to_start([], ("a",))
    assert is_to_start([version(1, "b")], ("a",)), "it was never started with these"
    assert not is_to_start([started, version(2, "b")], ("a",))
    assert is_to_start([started, version(2, "b")], ("a", "c")), "it is started with others"
    again = PolicySet(3, ("c",), 3.0, BY_START)
    assert is_to_start([started, version(2, "b"), again], ("a",))


def test_a_difference_says_what_went_came_and_changed_places() -> None:
    assert difference(version(1, "a", "b"), version(2, "b", "c")) == ["- a", "+ c"]
    assert difference(version(1, "a", "b"), version(2, "b", "a")) == ["~ order: b, a"]
    assert not difference(version(1, "a"), version(2, "a"))
