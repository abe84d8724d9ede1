"""Measure Nalar beside the raw floor and print the table: `python -m benchmarks.run`."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import orjson
from rich.console import Console

from benchmarks.bench_measure import (
    Figure,
    Sample,
    ideal_figure,
    latency_figures,
    throughput_figure,
)
from benchmarks.load import Load
from benchmarks.processes import Side, side
from benchmarks.report import Group, as_json, machine, show
from benchmarks.rows import CONCURRENCY, NAP, NAP_CONCURRENCY, NAP_S, Row, chosen

RESULTS = Path(__file__).parent / "results" / "latest.json"
#: Columns of the table where there is no terminal to ask.
WIDTH = 100
#: Before a row is measured, each side is loaded so: sessions are loaded, code is warm.
WARM_UP = Load(in_flight=512, seconds=1.0, warm_s=0.0)
WARM_UP_ONE = Load(in_flight=1, seconds=0.5, warm_s=0.0)

_ONLY = "rows whose name begins so (tool, tool-512, state, fan, nap); may be repeated"
_SYNC = "the server's sync_interval: fsync before every ack, or its default of two minutes"
_JSON = "where the JSON goes; - is standard output (default: benchmarks/results/latest.json)"
_EXAMPLES = """examples:
  python -m benchmarks.run                       both settings, about six minutes
  python -m benchmarks.run --quick               shorter rounds: a look, not a figure to keep
  python -m benchmarks.run --only tool --sync default
  python -m benchmarks.run --only nap --only fan --json -
  make bench ARGS='--quick --sync always'
"""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description="Measure calls through Nalar beside the same messages over bare nats-py.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="two rounds of one second, not three of three")
    add("--only", action="append", default=[], metavar="NAME", help=_ONLY)
    add("--sync", choices=("always", "default", "both"), default="both", help=_SYNC)
    add("--json", default=str(RESULTS), metavar="FILE", help=_JSON)
    add("--rounds", type=int, metavar="N", help="rounds of each side, in turns")
    add("--seconds", type=float, metavar="S", help="seconds a round is counted")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (2 if options.quick else 3)
    options.seconds = options.seconds or (1.0 if options.quick else 3.0)
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds and --seconds must be above zero")
    try:
        options.rows = chosen(options.only)
    except ValueError as error:
        parser.error(str(error))
    return options


class Run:
    """One run over the chosen rows; figures go into one group for each sync setting."""

    def __init__(self, options: argparse.Namespace, console: Console) -> None:
        self._rows: list[Row] = options.rows
        self._rounds: int = options.rounds
        self._seconds: float = options.seconds
        self._console = console

    async def group(self, *, sync_always: bool) -> Group:
        """Measure all rows with one setting of the server."""
        group = Group("always" if sync_always else "default")
        beside = [row for row in self._rows if row is not NAP]
        if beside:
            await self._beside_floor(group, beside, sync_always=sync_always)
        if NAP in self._rows:
            await self._against_ideal(group, sync_always=sync_always)
        return group

    async def _beside_floor(self, group: Group, rows: list[Row], *, sync_always: bool) -> None:
        serve = (str(CONCURRENCY), "noop", "Counter", "fan")
        async with AsyncExitStack() as stack:
            sides = {
                "ours": await stack.enter_async_context(
                    side("benchmarks.ours", sync_always=sync_always, serve=serve)
                ),
                "floor": await stack.enter_async_context(
                    side("benchmarks.floor", sync_always=sync_always)
                ),
            }
            before = {name: one.memory_mib() for name, one in sides.items()}
            for row in rows:
                self._console.print(f"sync {group.sync}: {row.title}", style="dim")
                group.figures += await self._row(group, row, sides)
            for name, one in sides.items():
                group.memory_mib[name] = (before[name], one.memory_mib())

    async def _row(self, group: Group, row: Row, sides: dict[str, Side]) -> list[Figure]:
        rounds: dict[str, list[Sample]] = {name: [] for name in sides}
        calls = row.calls_each or 1
        for one in sides.values():
            await one.drive(row.call, WARM_UP_ONE if row.call == "fan" else WARM_UP)
        used: dict[str, dict[str, float]] = {}
        load = Load(row.in_flight, self._seconds)
        for number in range(self._rounds):
            # A B, B A, A B: what drifts with time falls on both.
            order = list(sides.items()) if number % 2 == 0 else list(reversed(sides.items()))
            for name, one in order:
                start = one.usage()
                sample = await one.drive(row.call, load)
                rounds[name].append(sample)
                # Calls of the warm-up were paid for too.
                counted = sample.per_s * (load.seconds + load.warm_s) * calls
                cost = one.usage().since(start, max(1, int(counted)))
                used[name] = {key: min(cost[key], used.get(name, cost)[key]) for key in cost}
        group.cpu_us[row.title] = {name: used[name] for name in sides}
        figures: list[Figure] = []
        if row.latency:
            figures += latency_figures(row.title, rounds["ours"], rounds["floor"])
        if row.calls_each:
            title = f"{row.title}, children" if row.calls_each > 1 else row.title
            figures.append(
                throughput_figure(title, rounds["ours"], rounds["floor"], calls_each=row.calls_each)
            )
        return figures

    async def _against_ideal(self, group: Group, *, sync_always: bool) -> None:
        self._console.print(f"sync {group.sync}: {NAP.title}", style="dim")
        serve = (str(NAP_CONCURRENCY), "nap")
        async with side("benchmarks.ours", sync_always=sync_always, serve=serve) as ours:
            await ours.drive(NAP.call, Load(NAP.in_flight, 0.5, warm_s=0.0))
            load = Load(NAP.in_flight, self._seconds)
            rounds = [await ours.drive(NAP.call, load) for _ in range(self._rounds)]
        group.figures.append(
            ideal_figure(
                f"{NAP.title} (of ideal)", rounds, concurrency=NAP_CONCURRENCY, sleep_s=NAP_S
            )
        )


async def measure(options: argparse.Namespace, console: Console) -> list[Group]:
    """Measure with the settings that were chosen."""
    settings = {"always": [True], "default": [False], "both": [False, True]}[options.sync]
    run = Run(options, console)
    return [await run.group(sync_always=always) for always in settings]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print the table, to standard error with `--json -`."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    # With the JSON on standard output, that holds nothing else.
    console = Console(stderr=options.json == "-", width=None if sys.stdout.isatty() else WIDTH)
    where = machine()
    groups = asyncio.run(measure(options, Console(stderr=True)))
    show(console, where, groups)
    how = {
        "rounds": options.rounds,
        "seconds": options.seconds,
        "rows": [row.name for row in options.rows],
    }
    text = orjson.dumps(as_json(where, how, groups), option=orjson.OPT_INDENT_2)
    if options.json == "-":
        sys.stdout.write(text.decode() + "\n")
        return
    target = Path(options.json)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(text + b"\n")
    console.print(f"written to {options.json}")


if __name__ == "__main__":
    main()
