"""`nalar simulate` as it is typed."""

import json
import os
import subprocess
import sys
from typing import Any

from tests.e2e.commands import Nalar

MINE = """
from dataclasses import dataclass
from typing import ClassVar

from nalar.directives import SetPriority


@dataclass
class Mine:
    name: ClassVar[str] = "mine"
    step: int = 1

    def decide(self, view):
        for root in view.changed_requests:
            yield SetPriority("request", root, 1 // self.step)
"""


def simulated(hash_seed: str) -> str:
    """Return what the command prints in a process with its own order of sets."""
    command = [
        sys.executable, "-m", "nalar_cli", "simulate", "-w", "software", "--rate", "0.5",
        "--workers", "16", "--futures", "300", "-p", "nalar", "--compare", "las", "-o", "json",
    ]  # fmt: skip
    told = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, check=True,
        text=True,
    )  # fmt: skip
    return told.stdout


def test_the_same_seed_prints_the_same_in_every_process() -> None:
    printed = simulated("1")
    assert printed == simulated("2")
    assert [run["strategy"] for run in json.loads(printed)] == ["nalar", "las"]


def test_traffic_that_was_served_is_written_and_simulated(served: Nalar) -> None:
    none = served("traffic", code=2).stderr
    assert "no request ended in the last 1h" in none
    served.start("worker", "flows.py", "--concurrency", 3).says("worker ready")
    assert served.json("call", "greet", "--json", '[["ann", "bo"]]') == {"ann": "ANN!", "bo": "BO!"}
    served("call", "Counter.add", "--session", "büro", "--json", "[1]")
    wrote = served("traffic", "served.jsonl", "--since", "10m").stderr
    assert "wrote 2 requests to served.jsonl" in wrote
    printed = served("traffic").stdout
    assert printed == (served.folder / "served.jsonl").read_text()
    lines: list[dict[str, Any]] = [json.loads(line) for line in printed.splitlines()]
    declared = {line.pop("name"): line for line in lines if "name" in line}
    assert declared["Counter"] == {"workers": 1, "concurrency": 3, "stateful": True}
    assert declared["greet"] == declared["shout"] == {"beside": "Counter"}
    greet, counted = (line for line in lines if "at" in line)
    assert json.dumps(greet["steps"]).count('"shout"') == 2, "one after the other, or side by side"
    assert counted["session"] == "büro"
    for figures in served.json("simulate", "-w", "served.jsonl", "-o", "json"):
        assert (figures["requests"], figures["futures"]) == (2, 4)
    assert "cannot be written" in served("traffic", "no/such/folder.jsonl", code=2).stderr
    assert "say how long" in served("traffic", "--since", "soon", code=2).stderr


def test_what_is_compared_stands_beside_nalar_unless_another_is_named(nalar: Nalar) -> None:
    few = ("--workers", 8, "--futures", 100, "-o", "json")
    runs = nalar.json("simulate", "--compare", "las", *few)
    assert [run["strategy"] for run in runs] == ["nalar", "las"]
    began = nalar("simulate", "--plot", "no/such/folder/x.png", "--futures", 10**9, code=2).stderr
    assert "there is no folder" in began or "needs matplotlib" in began


def test_a_policy_of_ones_own_is_tried_with_its_parameters(nalar: Nalar) -> None:
    (nalar.folder / "mine.py").write_text(MINE)
    few = ("--workers", 16, "--futures", 300, "-o", "json")
    named = ("mine.py:Mine", "mine.py:Mine,step=2+autoscale,target=0.7")
    runs = nalar.json("simulate", "-p", named[0], "--compare", named[1], *few)
    assert [run["strategy"] for run in runs] == [*named]
    assert all(run["futures"] >= 300 for run in runs)
    raised = nalar("simulate", "-p", "mine.py:Mine,step=0", *few, code=2).stderr
    assert "policy mine raised ZeroDivisionError" in raised
    assert "(mine.py:15)" in raised
    assert "Did you mean 'step'?" in nalar("simulate", "-p", "mine.py:Mine,stp=2", code=2).stderr
    assert "one of your own is" in nalar("simulate", "-p", "mine", code=2).stderr
