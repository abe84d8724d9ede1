"""What metric reports cost a live worker: `python -m benchmarks.reporting`.

The rows of `benchmarks.run` without the floor. The worker measures the processor time of its own
thread while it counts and tells; that is set beside what worker, caller and server take for a call.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import orjson

from benchmarks import ours
from benchmarks.load import Load
from benchmarks.processes import side
from benchmarks.report import machine
from benchmarks.rows import CONCURRENCY, Row, chosen
from nalar.controllers.reporting import Reporting

#: In the environment of the worker: where it writes what it has measured.
_TOTALS = "NALAR_BENCH_TOTALS"
#: It writes as often as it reports, so that what is read is a tenth of a second old at the most.
_METHODS = ("_tell", "ended")


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="as of a bench")
    options = parser.parse_args()
    rows = chosen(options.only or ["tool", "state", "fan"])
    print(orjson.dumps(machine()).decode())
    with tempfile.TemporaryDirectory(prefix="nalar-bench-") as folder:
        os.environ[_TOTALS] = str(Path(folder) / "totals.json")
        asyncio.run(measure(rows, options.seconds))


async def measure(rows: Sequence[Row], seconds: float) -> None:
    """Print a row for each load."""
    print("\n| measured | reports, µs a call | worker | all | of the worker | of all |")
    print("|---|---|---|---|---|---|")
    serve = (str(CONCURRENCY), "noop", "Counter", "fan")
    async with side("benchmarks.reporting", sync_always=False, serve=serve) as it:
        for row in rows:
            await it.drive(row.call, Load(row.in_flight, 1.0, warm_s=0.0))
            start, spent = it.usage(), _spent_s()
            sample = await it.drive(row.call, Load(row.in_flight, seconds, warm_s=0.0))
            calls = max(1, sample.calls * max(1, row.calls_each))
            reports = (_spent_s() - spent) / calls * 1e6
            used = it.usage().since(start, calls)
            worker, whole = used["worker"], sum(used.values())
            print(
                f"| {row.title} | {reports:.1f} | {worker:.0f} | {whole:.0f} "
                f"| {reports / worker:.1%} | {reports / whole:.1%} |",
                flush=True,
            )


def _spent_s() -> float:
    return float(orjson.loads(Path(os.environ[_TOTALS]).read_bytes())["spent_s"])


class Stopwatch:
    """The processor time of a worker's thread inside of some methods."""

    def __init__(self, totals: Path) -> None:
        self._totals = totals
        self._spent_ns = 0

    def time(self, method: Callable[..., Any], *, writes: bool) -> Callable[..., Any]:
        """Return `method`, measured; where it `writes`, the total is written as well."""

        @wraps(method)
        def measured(*args: Any, **kwargs: Any) -> Any:
            before = time.thread_time_ns()
            try:
                return method(*args, **kwargs)
            finally:
                self._spent_ns += time.thread_time_ns() - before
                if writes:
                    self._totals.write_bytes(orjson.dumps({"spent_s": self._spent_ns / 1e9}))

        return measured


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        stopwatch = Stopwatch(Path(os.environ[_TOTALS]))
        for name in _METHODS:
            was = getattr(Reporting, name)
            setattr(Reporting, name, stopwatch.time(was, writes=name == "_tell"))
    if sys.argv[1:2] in (["worker"], ["caller"]):
        ours.main(sys.argv[1:])
    else:
        main()
