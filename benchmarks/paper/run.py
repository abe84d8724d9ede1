"""`python -m benchmarks.paper.run`: the paper's evaluation in the simulator, at its scale.

Each run is kept in a JSON file as soon as it has ended, and is not repeated while it stands there:
so a long evaluation may be stopped and gone on with. The same seed gives the same figures.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.paper.bars import judge
from benchmarks.paper.cases import AGENTS, CASES, FUTURES, MILLION, QUICK, Case
from nalar.errors import UsageError
from nalar.sim.metrics import Figures
from nalar.sim.report import bars, rows, save_curves
from nalar.sim.simulate import simulate
from nalar.sim.strategies import chosen
from nalar.sim.workload import Size
from nalar.sim.workloads import workload_of


def main(given: list[str] | None = None) -> None:
    """Run what is asked for and print tables, bars and verdicts."""
    options = _options(given)
    futures = QUICK if options.quick else MILLION if options.million else options.futures
    workers = AGENTS // 4 if options.quick else AGENTS
    cases = [case for case in CASES if case.workload in (options.workload or case.workload)]
    for case in cases:
        asked = options.rate or case.rate
        rate = asked * workers / AGENTS
        at = "" if asked == case.rate else f"-rate{asked:g}"
        kept = options.out / f"{case.workload}-{futures}{at}-seed{options.seed}.json"
        runs = _load(kept)
        for name in options.strategy or case.strategies:
            if name not in runs:
                runs[name] = _run(case, name, rate, workers, futures, options.seed)
                _save(kept, runs)
        if runs:
            _show(case, rate, futures, runs)
            if options.plot:
                title = f"{case.workload}, {rate:g} requests/s, {workers} agents"
                save_curves(list(runs.values()), title, kept.with_suffix(".png"))


def _options(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.paper.run", description=__doc__)
    parser.add_argument("--workload", action="append", choices=[it.workload for it in CASES])
    parser.add_argument("--strategy", action="append", metavar="NAME", help="default: all")
    parser.add_argument("--quick", action="store_true", help="small, for a first look")
    parser.add_argument("--million", action="store_true", help="a million futures")
    parser.add_argument("--futures", type=int, default=FUTURES, help="default: the paper's")
    parser.add_argument(
        "--rate",
        type=above_0,
        default=0.0,
        help="requests a second at 128 agents; else the paper's",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/paper"), metavar="FOLDER")
    parser.add_argument("--plot", action="store_true", help="PNG of the latencies (nalar[plot])")
    return parsed(parser, given)


def parsed(parser: argparse.ArgumentParser, given: list[str] | None) -> argparse.Namespace:
    """Return the options; ends the program for a `--strategy` that is none."""
    options = parser.parse_args(given)
    try:
        chosen(options.strategy or [])
    except UsageError as error:
        parser.error(str(error))
    return options


def above_0(given: str) -> float:
    """Return an option's number; raises ArgumentTypeError for one that is no rate or factor."""
    value = float(given)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{given} is not above 0")
    return value


def _run(case: Case, name: str, rate: float, workers: int, futures: int, seed: int) -> Figures:
    workload = workload_of(case.workload, Size(rate, workers, seed=seed))
    began_s = time.process_time()
    figures = simulate(workload, chosen([name])[0], seed=seed, futures_max=futures)
    spent_s = time.process_time() - began_s
    told = f"{case.workload}, {name}: {figures.futures:,} futures in {spent_s:.0f} s"
    print(told, file=sys.stderr, flush=True)
    return figures


def _show(case: Case, rate: float, futures: int, runs: dict[str, Figures]) -> None:
    print(f"\n{case.workload}: {rate:g} requests/s, {futures:,} futures\n")
    table = rows(list(runs.values()))
    widths = {key: max(len(key), *(len(str(row[key])) for row in table)) for key in table[0]}
    print("  ".join(f"{key:<{widths[key]}}" for key in widths))
    for row in table:
        print("  ".join(f"{row[key]!s:<{widths[key]}}" for key in widths))
    print("\n" + bars(list(runs.values())) + "\n")
    for verdict in judge(case.workload, runs):
        print(f"{'met' if verdict.is_met else 'NOT MET'}: {verdict.what} ({verdict.figures})")


def _load(path: Path) -> dict[str, Figures]:
    if not path.exists():
        return {}
    kept: dict[str, dict[str, Any]] = json.loads(path.read_text())
    runs: dict[str, Figures] = {}
    for name, told in kept.items():
        told["curve_s"] = tuple(told["curve_s"])
        runs[name] = Figures(**told)
    return runs


def _save(path: Path, runs: dict[str, Figures]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {name: asdict(figures) for name, figures in runs.items()}
    path.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
