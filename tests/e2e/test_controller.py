"""Controllers beside real workers: killed half-way, swapped while they run, and contained."""

import signal
import time
from pathlib import Path

from nalar import connect
from nalar.context import CallOptions
from tests.e2e.commands import Nalar, until

ODD = """
from dataclasses import dataclass
from typing import ClassVar


@dataclass
class Odd:
    name: ClassVar[str] = "odd"

    def decide(self, view):
        while True:
            pass
"""
#: Another controller leads within this after the first was killed; its lease is 5 s.
LEADS_S = 10.0
RELIEF = "prefix_affinity,rebuild_s=0.1"


def stuck_and_freed(served: Nalar, url: str, gate: str) -> None:
    """Have a session keep the only slot of a worker, and see those behind it be moved away."""
    with connect(url) as client:
        holder = client.call("Counter.add", 1, gate, options=CallOptions(session=gate))
        served.entered(gate)
        # Spread over two workers by their hash: once in 4,000 times none comes to the held one.
        others = [
            client.call("Counter.add", 1, options=CallOptions(session=f"{gate}{number}"))
            for number in range(12)
        ]
        assert [other.result(30) for other in others] == [1] * 12
        served.open(gate)
        assert holder.result(30) == 1
    moved = [
        row["directive"]["session"]
        for row in served.json("directives", "ls", "-o", "json")
        if row["by"] == RELIEF
    ]
    assert any(session.startswith(gate) for session in moved)


def test_a_controller_is_killed_another_takes_over_and_with_none_work_goes_on(
    served: Nalar, url: str
) -> None:
    for number in range(2):
        served.start(
            "worker", "flows.py", "--agents", "Counter", "-c", 1, "--name", f"w{number}"
        ).says("ready")
    first = served.start("controller", "-p", RELIEF, "--period", 0.1, "--name", "first")
    first.says("leads in epoch")
    second = served.start("controller", "--period", 0.1, "--name", "second")
    second.says("controller ready name=second")
    assert "leads in epoch" not in second.said
    stuck_and_freed(served, url, "before")
    first.signal(signal.SIGKILL)
    killed_at = time.perf_counter()
    second.says("leads in epoch")
    assert time.perf_counter() - killed_at < LEADS_S
    stuck_and_freed(served, url, "after")
    assert "led by second" in served("policy", "ls").stderr
    second.signal(signal.SIGTERM)
    assert second.ends() == 0
    assert "no controller runs" in served("policy", "ls").stderr
    add = ("call", "Counter.add", "--session", "alone", "--json", "[1]")
    assert served.json(*add) == 1


def test_policies_are_applied_compared_and_rolled_back_while_a_controller_runs(
    served: Nalar,
) -> None:
    controller = served.start("controller", "-p", "srtf,step=3", "-p", "fair_share")
    version = int(controller.says(r"version (\d+) runs: srtf,step=3, fair_share").group(1))
    assert served("policy", "apply", "fair_share", "--reason", "enough").stdout == "fair_share\n"
    controller.says(f"version {version + 1} runs: fair_share")
    assert served("policy", "diff").stdout == "- srtf,step=3\n"
    served("policy", "rollback")
    controller.says(f"version {version + 2} runs: srtf,step=3, fair_share")
    notes = [row["note"] for row in served.json("policy", "versions", "-o", "json")]
    assert notes[-2:] == ["enough", f"as version {version}"]


def test_a_policy_of_ones_own_that_loops_is_suspended_and_told(served: Nalar) -> None:
    Path(served.folder, "odd.py").write_text(ODD)
    controller = served.start("controller", "-p", "fair_share", "--period", 0.1)
    controller.says("leads in epoch")
    served("policy", "apply", "fair_share", "odd.py:Odd")
    controller.says("policy odd.py:Odd is suspended: it did not come back within 2 s")
    controller.says(r"is suspended(.|\n)*version \d+ runs: fair_share")
    shown = served.json("policy", "show", "-o", "json")
    assert (shown["policies"], shown["by"]) == (["fair_share"], "controller")
    assert "odd.py:Odd was suspended" in shown["note"]
    until(lambda: "did not come back" in served("policy", "log").stdout, "it is in the log")
