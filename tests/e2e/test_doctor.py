"""`nalar doctor` finds what is wrong, and says what to do."""

import json
import signal
from typing import Any

from tests.e2e.commands import Nalar


def findings(served: Nalar, code: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(served("doctor", "-o", "json", code=code).stdout)
    return found


def test_a_call_that_waits_for_nobody_is_found_and_a_worker_cures_it(served: Nalar) -> None:
    worker = served.start("worker", "flows.py", "--agents", "shout")
    worker.says(r"worker ready")
    run = served("submit", "shout", "--json", '["a"]').stdout.strip()
    assert served("result", run).stdout == '"A!"\n'
    assert {one["state"] for one in findings(served, 0)} <= {"ok", "note"}
    worker.signal(signal.SIGTERM)
    assert worker.ends() == 0
    run = served("submit", "shout", "--json", '["b"]').stdout.strip()
    wrong = [one["what"] for one in findings(served, 1) if one["state"] == "wrong"]
    assert "no worker is alive" in wrong
    assert any("shout; 1 calls wait" in what for what in wrong)
    served.start("worker", "flows.py", "--agents", "shout").says(r"worker ready")
    assert served("result", run).stdout == '"B!"\n'


def test_no_server_is_found_with_what_to_do(nalar: Nalar) -> None:
    [found] = findings(nalar, 1)
    assert "no NATS server" in found["what"]
    assert "nalar server" in found["remedy"]


def test_who_waits_for_a_paused_agent_is_told_by_whom_and_how_to_go_on(served: Nalar) -> None:
    """By the doctor, and by what tells that a call has not ended."""
    served.start("worker", "flows.py").says(r"worker ready")
    served("pause", "shout", "--reason", "the model is down")
    assert [one["state"] for one in findings(served, 0) if "paused" in one["what"]] == ["note"]
    run = served("submit", "shout", "--json", '["a"]').stdout.strip()
    [found] = [one for one in findings(served, 1) if "paused" in one["what"]]
    assert found["state"] == "wrong"
    assert found["what"].startswith("shout is paused, by hand, since 20")
    assert found["what"].endswith(": the model is down; 1 of its calls wait or run")
    assert found["remedy"] == "nalar resume shout"
    late = served("result", run, "--timeout", 1, code=3).stderr
    assert f"it goes on: nalar result {run}" in late
    assert "hint: shout is paused, by hand, since 20" in late
    assert "the model is down; nalar resume shout" in late
    other = served("call", "hold", "--json", '["late"]', "--timeout", 1, code=3).stderr
    assert "hint: shout is paused, and it may wait for that: 'nalar doctor' says" in other
    served("resume", "shout")
    assert served("result", run).stdout == '"A!"\n'
    still = served("call", "hold", "--json", '["late too"]', "--timeout", 1, code=3).stderr
    assert "hint: 'nalar doctor' says what holds calls back" in still
    served.open("late")
    served.open("late too")
