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
