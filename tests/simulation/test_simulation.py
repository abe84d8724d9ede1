"""Whole systems in virtual time, under faults drawn from a seed.

Each seed is a run: workers, clients and what they ask for, and everything that goes wrong on the
way. When all has come to rest the broker is looked at, and the run compared with one without
faults. A failure names its seed; run it alone, or many more, with

    NALAR_SIM_SEEDS=17 pytest tests/simulation/test_simulation.py
    NALAR_SIM_SEEDS=1000-3000 pytest -n 2 tests/simulation/test_simulation.py

What a seed found is shrunk into a test of its own in test_found.py or test_found_slots.py.
"""

import functools
import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.simulation import Run, simulate
from tests.simulation.weather import FAULTS

#: Lines of the trace that a failure shows.
TAIL = 60


def chosen_seeds(text: str) -> list[int]:
    """Return the seeds of `17`, `1000-1999` or a list of both with commas."""
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


SEEDS = chosen_seeds(os.environ.get("NALAR_SIM_SEEDS", "0-19"))


@functools.cache
def stormy(seed: int) -> Run:
    return simulate(seed)


def digest(run: Run) -> str:
    return hashlib.sha256("\n".join(run.trace).encode()).hexdigest()


def told(run: Run, *, without: list[str]) -> str:
    """Return what a failure shows: the seed, its weather, what is wrong, how it came to it."""
    wrong = [*run.findings, *without]
    return "\n".join((f"seed {run.seed}: {run.weather}", *wrong, "...", *run.trace[-TAIL:]))


@pytest.mark.parametrize("seed", SEEDS)
def test_faults_lose_nothing_and_double_nothing_and_change_no_result(seed: int) -> None:
    run, calm = stormy(seed), simulate(seed, faults=False)
    assert not calm.findings, told(calm, without=[])
    differences = run.differences(calm)
    if run.findings or differences:
        pytest.fail(told(run, without=differences), pytrace=False)


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_a_seed_is_one_run(seed: int) -> None:
    assert simulate(seed).trace == stormy(seed).trace


def test_a_seed_is_the_same_run_in_every_process() -> None:
    code = (
        "from tests.simulation.test_simulation import digest, simulate;"
        f"print(digest(simulate({SEEDS[0]})))"
    )
    for hashes in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hashes},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            check=True,
            text=True,
        )
        assert done.stdout.strip() == digest(stormy(SEEDS[0]))


@pytest.mark.skipif("NALAR_SIM_SEEDS" in os.environ, reason="says something of the usual seeds")
def test_every_fault_and_what_it_leads_to_is_met() -> None:
    met: Counter[str] = Counter()
    for seed in SEEDS:
        run = stormy(seed)
        met.update(run.met)
        for line in run.trace:
            met["commits refused"] += " refused " in line
            met["deliveries repeated"] += " received " in line and " #1 " not in line
            met["publishes repeated"] += "resent=True" in line
    expected = {*FAULTS, "commits refused", "deliveries repeated", "publishes repeated"}
    assert {name for name in expected if met[name] < 3} == set()
