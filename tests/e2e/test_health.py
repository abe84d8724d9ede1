"""`nalar health`: the exit code that a readiness probe asks for."""

import signal

from tests.e2e.commands import Nalar, until

NAME = "barista-1"


def test_a_worker_is_ready_until_it_drains_and_then_gone(served: Nalar) -> None:
    assert "no worker is alive" in served("health", code=1).stderr
    worker = served.start("worker", "flows.py", "--name", NAME, NALAR_SET_LEASE_S="1.5")
    worker.says("worker ready")
    [row] = until(
        lambda: [it for it in served.json("health", "-o", "json") if it["slots"] == 16],
        "all slots at its next sign of life",
    )
    assert (row["worker"], row["state"], row["why"]) == (NAME, "ready", "")
    assert f"mean '{NAME}'?" in served("health", "--worker", "barista-2", code=1).stderr

    served("submit", "hold", "--json", '["drain"]')
    served.entered("drain")
    worker.signal(signal.SIGTERM)
    until(
        lambda: "takes no new calls" in served("health", code=None).stdout,
        "it drains, at its next sign of life",
    )
    assert "draining" in served("health", "--worker", NAME, code=1).stdout
    served.open("drain")
    assert worker.ends() == 0
    assert f"no worker '{NAME}' is alive" in served("health", "--worker", NAME, code=1).stderr


def test_without_a_server_nothing_is_ready(nalar: Nalar) -> None:
    assert "no NATS server" in nalar("health", code=1).stderr
