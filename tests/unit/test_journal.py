"""What controllers write down of their decisions."""

from nalar.cluster.arbiter import Refused, Verdict
from nalar.cluster.journal import LINES_MAX, describe, encode_decision
from nalar.directives import SetPriority


def refused(reason: str, number: int) -> Refused:
    return Refused("p", SetPriority("tenant", f"t{number}", 1), reason)


def test_thousands_of_refusals_for_one_reason_are_one_line_with_their_number() -> None:
    verdict = Verdict(refused=[refused("too many", number) for number in range(9_000)])
    decision = describe(verdict, {}, at_s=1.0, epoch=1, version=1)
    [line] = decision.refused
    assert (line["times"], decision.refused_in_all) == (9_000, 9_000)
    assert "t0" in line["first"]


def test_an_entry_stays_small_whatever_a_policy_is_refused() -> None:
    verdict = Verdict(refused=[refused(f"reason {number}", number) for number in range(9_000)])
    decision = describe(verdict, {}, at_s=1.0, epoch=1, version=1)
    assert (len(decision.refused), decision.refused_in_all) == (LINES_MAX, 9_000)
    assert len(encode_decision(decision)) < 20_000
