"""The paper's workloads on real processes, in small."""

import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

#: In the environment of all that a run starts.
MARK = "NALAR_TEST_RUN"


def left_of(run: str) -> list[int]:
    """Return the processes of a run that are still there."""
    left: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            marked = f"{MARK}={run}".encode() in (folder / "environ").read_bytes()
        except OSError:
            continue  # It has just ended.
        if marked:
            left.append(int(folder.name))
    return left


def run_live(*words: str) -> str:
    """Run the benchmark and return what it tells; it leaves no process."""
    run = secrets.token_hex(8)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.paper.live", *words],
        env=os.environ | {MARK: run}, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert left_of(run) == [], "it ends what it has started"
    return done.stdout


def test_a_workload_runs_live_and_is_set_beside_what_the_simulator_says() -> None:
    told = run_live("--strategy", "las", "--requests", "4", "--scale", "400")
    assert re.search(r"^\| `las` live \|( \d+\.\d s \|){4}$", told, re.MULTILINE)
    assert re.search(r"^\| simulator \|( \d+\.\d s \|){4}$", told, re.MULTILINE)
    [(ended, lost)] = re.findall(r"(\d+) requests, (\d+) lost", told)
    assert (int(ended), int(lost)) == (4, 0)


def test_a_worker_process_ends_and_another_agents_begins_while_requests_are_served() -> None:
    words = ["--workload", "router", "--rate", "20", "--requests", "300", "--scale", "10"]
    told = run_live(*words, "--strategy", "nalar")
    [(ended, lost, given)] = re.findall(
        r"(\d+) requests, (\d+) lost; .* (\d+) workers given to another agent", told
    )
    assert (int(ended), int(lost)) == (300, 0)
    assert int(given) >= 1
