"""What NALAR_FAULT may say, when a fault is due, and what is said of a mistake."""

import pytest

from nalar.errors import CommitUnknown, UsageError
from nalar.faults.plan import FAULT, POINTS, Fault, Faults, from_environment


def planned(text: str) -> Faults:
    faults = from_environment({FAULT: text})
    assert faults is not None
    return faults


def test_without_the_variable_nothing_is_planned() -> None:
    assert from_environment({}) is None
    assert from_environment({FAULT: " "}) is None


def test_several_faults_are_planned_and_told_in_full() -> None:
    faults = planned("before_commit:exit, after_commit@Account:drop:2,before_run:delay=1.5:*")
    assert str(faults) == (
        "before_commit:exit:1, after_commit@Account:drop:2, before_run:delay=1.5:*"
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("before_comit:exit", "Did you mean 'before_commit'?"),
        ("before_commit", "point:action"),
        ("before_commit:exit:1:2", "point:action"),
        ("before_commit:explode", "not 'explode'"),
        ("before_commit:drop", "before_commit can exit, stop, delay, raise"),
        ("before_commit:delay", "delay=SECONDS"),
        ("before_commit:exit=1", "delay=SECONDS"),
        ("before_commit:delay=soon", "delay=soon is no number of seconds"),
        ("before_commit:delay=inf", "no number of seconds"),
        ("before_commit:delay=-1", "no number of seconds"),
        ("before_commit:exit:0", "not '0'"),
        ("before_commit:exit:first", "not 'first'"),
        ("before_commit:exit:\u0663", "which time"),
        ("before_commit:exit,,", "'' is no point"),
        ("before_comit@Account:exit", "Did you mean 'before_commit'?"),
        ("before_commit@:exit", "'' names no agent"),
        ("before_commit@Acc.add:exit", "'Acc.add' names no agent"),
        ("before_commit@a@b:exit", "'a@b' names no agent"),
    ],
)
def test_a_mistake_is_named_with_all_the_points(text: str, told: str) -> None:
    with pytest.raises(UsageError) as raised:
        planned(text)
    said = str(raised.value)
    assert told in said
    assert all(point in said for point in POINTS)


def test_a_fault_is_due_the_nth_time_alone_or_every_time() -> None:
    faults = planned("heard:drop:2,before_ack:drop:*")
    assert [faults.at("heard", "a") for _ in range(3)] == [None, Fault("heard", "drop", 2), None]
    assert [faults.at("before_ack", "a") is None for _ in range(3)] == [False] * 3
    assert faults.at("received", "a") is None


def test_a_fault_of_an_agent_counts_what_concerns_that_agent_and_leaves_the_others_alone() -> None:
    faults = planned("heard@Account:drop:2,before_ack@Account:drop:*,received:drop:2")
    met = [faults.at("heard", agent) for agent in ("Account", "vet", "vet", "Account", "Account")]
    assert met == [None, None, None, Fault("heard", "drop", 2, agent="Account"), None]
    assert [faults.at("before_ack", agent) is None for agent in ("vet", "Account")] == [True, False]
    assert [faults.at("received", agent) is None for agent in ("vet", "Account")] == [True, False]


async def test_what_is_lost_is_an_error_of_the_port() -> None:
    faults = planned("after_commit:drop,before_commit:delay=0")
    await faults.reach("before_commit", "a", CommitUnknown)
    with pytest.raises(CommitUnknown, match="after_commit:drop"):
        await faults.reach("after_commit", "a", CommitUnknown)
    await faults.reach("after_commit", "a", CommitUnknown)


def test_a_message_passes_unless_it_is_lost() -> None:
    faults = planned("received:drop:2")
    passed: list[int] = []
    for number in range(3):
        faults.pass_on("received", "a", lambda number=number: passed.append(number))
    assert passed == [0, 2]
