"""`nalar simulate` as it is typed."""

import json
import os
import subprocess
import sys
from typing import Any

from tests.e2e.commands import Nalar


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
