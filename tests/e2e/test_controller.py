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
#: Nothing in the process can do anything against either.
DEADLY = """
import os
from dataclasses import dataclass
from typing import ClassVar


@dataclass
class Freezes:
    name: ClassVar[str] = "freezes"

    def decide(self, view):
        return [sum(range(10**13))]


@dataclass
class Exits:
    name: ClassVar[str] = "exits"

    def decide(self, view):
        os._exit(7)
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


def test_a_policy_that_is_the_end_of_its_controller_is_taken_back_by_the_next(
    served: Nalar,
) -> None:
    (served.folder / "deadly.py").write_text(DEADLY)

    def newest_by_controller(said: str) -> bool:
        told = served.json("policy", "versions", "-o", "json")[-1]
        return told["by"] == "controller" and said in told["note"]

    frozen = served.start("controller", "-p", RELIEF, "--name", "frozen")
    frozen.says("leads in epoch")
    killed = served.start("controller", "--name", "killed")
    killed.says("controller ready")
    served("policy", "apply", RELIEF, "deadly.py:Freezes")
    killed.says("deadly.py:Freezes was suspended: its controller was lost while running it")
    until(lambda: newest_by_controller("deadly.py:Freezes was suspended"))
    killed.says(f"runs: {RELIEF}")
    served("policy", "apply", RELIEF, "deadly.py:Exits")
    assert killed.ends() == 7
    last = served.start("controller", "--name", "last")
    last.says("deadly.py:Exits was suspended")
    until(lambda: newest_by_controller("deadly.py:Exits was suspended"))
    assert served.json("policy", "show", "-o", "json")["policies"] == [RELIEF]
    assert frozen.ends() == 1, "it has ended itself"
    assert "deadly.py" in frozen.said, "and said where it stood"
