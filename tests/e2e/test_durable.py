"""`nalar signal`, and workflows that wait for people, in real processes that are killed."""

import shutil
import signal
from pathlib import Path

import pytest

from tests.e2e.commands import Nalar, until

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture
def approval(served: Nalar) -> Nalar:
    shutil.copy(EXAMPLES / "approval.py", served.folder)
    return served


def submitted(served: Nalar, payee: str) -> str:
    what = f'{{"payee": "{payee}", "amount": 1200}}'
    return served("submit", "approval.py:pay", "--json", what).stdout.strip()


def test_a_payment_waits_for_a_person_through_the_death_of_its_worker(approval: Nalar) -> None:
    worker = approval.start("worker", "approval.py", NALAR_SET_LEASE_S="2")
    worker.says("worker ready")
    run = submitted(approval, "Ada")
    until(lambda: "pay 1,200.00 to Ada?" in worker.out.read_text() + worker.said, "the question")
    assert "has not ended" in approval("result", run, "--no-wait", code=3).stderr
    worker.signal(signal.SIGKILL)
    worker.ends()
    again = approval.start("worker", "approval.py", NALAR_SET_LEASE_S="2")
    again.says("worker ready")
    said = approval("signal", run, "approval", "--json", '{"approved": true, "by": "Grace"}')
    assert f"signal approval is stored: run {run}" in said.stderr
    paid = approval.json("result", run, "--timeout", 30)
    assert paid.endswith("1,200.00 to Ada")
    state = approval.json("sessions", "get", "Account", "main", "-o", "json")
    assert state["state"]["payments"].count(paid) == 1


def test_a_suspended_payment_says_what_it_waits_for_and_needs_no_worker_for_that(
    approval: Nalar,
) -> None:
    soon = {"NALAR_SET_SUSPEND_AFTER_S": "0.3", "NALAR_SET_LEASE_S": "2"}
    worker = approval.start("worker", "approval.py", **soon)
    worker.says("worker ready")
    run = submitted(approval, "Ada")
    waits = f"(call {run}) is suspended: it waits for signal approval, at the longest until 20"
    until(lambda: waits in approval("result", run, "--no-wait", code=3).stderr, "its suspension")
    assert "suspended): 1" in approval("doctor", code=None).stdout
    worker.signal(signal.SIGKILL)
    worker.ends()
    again = approval.start("worker", "approval.py", **soon)
    again.says("worker ready")
    approval("signal", run, "approval", "--json", '{"approved": true, "by": "Grace"}')
    assert approval.json("result", run, "--timeout", 30).endswith("1,200.00 to Ada")


def test_who_refuses_is_named_and_nothing_is_paid(approval: Nalar) -> None:
    run = submitted(approval, "Eve")
    approval("signal", run, "approval", "--json", "-", stdin='{"approved": false, "by": "Grace"}')
    worker = approval.start("worker", "approval.py")
    worker.says("worker ready")
    assert "was refused by Grace" in approval.json("result", run, "--timeout", 30)


def test_a_signal_that_nobody_can_take_is_refused(approval: Nalar) -> None:
    run = submitted(approval, "Bob")
    approval("cancel", run)
    ended = approval("signal", run, "approval", code=2)
    assert f"run {run} has ended (cancelled) and takes no more signals" in ended.stderr
    assert "no run 'nonsense'" in approval("signal", "nonsense", "approval", code=2).stderr
    odd = approval("signal", run, "approval", "--json", "{approved}", code=2)
    assert "--json is not JSON" in odd.stderr


def test_the_example_runs_by_itself(nalar: Nalar) -> None:
    shutil.copy(EXAMPLES / "approval.py", nalar.folder)
    done = nalar("run", "approval.py:pay", "--json", '["Ada", 99]')
    assert "99.00 to Ada" in done.stdout
