"""Signs of life: what happens to calls when their worker blocks, freezes, and wakes up again."""

import signal

from tests.e2e.commands import Nalar, until

LEASE = {"NALAR_SET_LEASE_S": "1.5"}


def test_code_that_blocks_the_loop_for_leases_runs_once_and_is_named(served: Nalar) -> None:
    worker = served.start("worker", "flows.py", "--name", "blocked", **LEASE)
    worker.says("worker ready")
    run = served("submit", "block", "--json", '["long"]').stdout.strip()
    other = served.start("worker", "flows.py", "--name", "other", **LEASE)
    other.says("worker ready")
    assert served.entered("long") == [worker.pid]
    worker.says(r"event loop is blocked by _log_and_wait \(\S+flows.py:\d+\)")

    def seen() -> bool:
        rows = served.json("workers", "ls", "-o", "json")
        told = next(row for row in rows if row["worker"] == "blocked")
        return told.get("blocked_s", 0) > 3 * 1.5 and "_log_and_wait" in told["blocked_in"]

    until(seen, "blocked for three leases, and still a worker")
    assert "BLOCKED IN" in served("workers", "ls").stdout
    assert "_log_and_wait" in served("doctor", code=1).stdout
    served.open("long")
    assert served.json("result", run) == worker.pid
    assert served.entered("long") == [worker.pid]
    until(
        lambda: all("blocked_s" not in row for row in served.json("workers", "ls", "-o", "json")),
        "it goes on",
    )


def test_a_frozen_worker_that_wakes_changes_nothing_and_says_so(served: Nalar) -> None:
    zombie = served.start("worker", "flows.py", "--agents", "Counter", "--name", "zombie", **LEASE)
    zombie.says("worker ready")
    add = ("submit", "Counter.add", "--session", "haunted", "--json")
    run = served(*add, '{"amount": 40, "through": "freeze"}').stdout.strip()
    assert served.entered("freeze") == [zombie.pid]
    zombie.signal(signal.SIGSTOP)
    heir = served.start("worker", "flows.py", "--agents", "Counter", "--name", "heir", **LEASE)
    assert served.entered("freeze", times=2) == [zombie.pid, heir.pid]
    served.open("freeze")
    assert served.json("result", run) == 40
    assert served.json("call", *add[1:], "[2]") == 42
    zombie.signal(signal.SIGCONT)
    zombie.says(r"this process did not run for \d")
    zombie.says("others took this worker for dead")
    until(
        lambda: (
            [
                row["lapses"]
                for row in served.json("workers", "ls", "-o", "json")
                if row["worker"] == "zombie"
            ]
            == [1]
        ),
        "it is back, and counts",
    )
    assert served.json("call", *add[1:], "[3]") == 45
    state = served.json("sessions", "get", "Counter", "haunted", "-o", "json")["state"]
    assert state == {"totals": {"all": 45}}
