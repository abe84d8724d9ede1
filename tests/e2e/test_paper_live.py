"""The paper's workloads on real processes, in small."""

import re
import subprocess
import sys
from pathlib import Path


def left_of(session: int) -> list[int]:
    """Return the processes of a session that are still there."""
    left: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text("utf-8").rpartition(")")[2].split()
        except OSError:
            continue  # It has just ended.
        if int(stat[3]) == session and stat[0] != "Z":
            left.append(int(folder.name))
    return left


def test_a_workload_runs_live_and_is_set_beside_what_the_simulator_says() -> None:
    words = ["--strategy", "nalar", "--requests", "4", "--scale", "400"]
    benchmark = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.paper.live", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    told, complaints = benchmark.communicate(timeout=60)
    assert benchmark.returncode == 0, complaints
    assert re.search(r"^\| `nalar` live \|( \d+\.\d s \|){4}$", told, re.MULTILINE)
    assert re.search(r"^\| simulator \|( \d+\.\d s \|){4}$", told, re.MULTILINE)
    [(ended, lost)] = re.findall(r"(\d+) requests, (\d+) lost", told)
    assert (int(ended), int(lost)) == (4, 0)
    assert left_of(benchmark.pid) == [], "it ends what it has started"
