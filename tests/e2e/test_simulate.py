"""`nalar simulate` as it is typed."""

import json
import os
import subprocess
import sys


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
