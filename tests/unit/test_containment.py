"""Which policies are to run no longer."""

from nalar.cluster.arbiter import Verdict
from nalar.cluster.containment import SLIPS_MAX, Containment


def test_a_slip_is_forgiven_unless_it_goes_on() -> None:
    containment, slip = Containment(), Verdict(slips={"p": "there is no agent X"})
    for _ in range(SLIPS_MAX - 1):
        assert not containment.suspended({}, slip)
    assert not containment.suspended({}, Verdict())  # It has recovered: counted anew.
    for _ in range(SLIPS_MAX - 1):
        assert not containment.suspended({}, slip)
    assert "there is no agent X" in containment.suspended({}, slip)["p"]


def test_a_fault_is_enough_once() -> None:
    verdict = Verdict(faults={"floods": "made too many"})
    told = Containment().suspended({"raises": "raised KeyError"}, verdict)
    assert told == {"floods": "made too many", "raises": "raised KeyError"}
