"""What a run tells: a table for people, JSON for programs."""

import dataclasses
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.bench_measure import Figure
from nalar.bus.embedded import find_server
from nalar.clock import SystemClock


@dataclass(slots=True)
class Group:
    """All figures of one setting of `sync_interval`."""

    sync: str
    figures: list[Figure] = field(default_factory=list[Figure])
    #: Resident memory of each side's worker in MiB, after its start and after the load.
    memory_mib: dict[str, tuple[float, float]] = field(
        default_factory=dict[str, tuple[float, float]]
    )
    #: Microseconds of processor time for one call, by row, side and process.
    cpu_us: dict[str, dict[str, dict[str, float]]] = field(
        default_factory=dict[str, dict[str, dict[str, float]]]
    )


def machine() -> dict[str, Any]:
    """Return where and when this is measured."""
    said = subprocess.run(  # noqa: S603 -- our own binary, no shell
        [find_server(os.environ), "--version"], capture_output=True, text=True, check=True
    ).stdout
    return {
        "date": datetime.fromtimestamp(SystemClock().now_s(), UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "processor": _processor(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "nats_server": said.strip().rpartition("v")[2],
        "nats_py": version("nats-py"),
        "uvloop": version("uvloop"),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 -- read by line
            return next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.machine()


def as_json(where: dict[str, Any], how: dict[str, Any], groups: Sequence[Group]) -> dict[str, Any]:
    """Return the whole run as data."""
    return {
        "machine": where,
        "run": how,
        "groups": [
            {
                "sync": group.sync,
                "figures": [
                    dataclasses.asdict(figure) | {"ratio": figure.ratio, "passed": figure.passed}
                    for figure in group.figures
                ],
                "memory_mib": group.memory_mib,
                "cpu_us_per_call": group.cpu_us,
            }
            for group in groups
        ],
    }


def show(console: Console, where: dict[str, Any], groups: Sequence[Group]) -> None:
    """Print the tables."""
    console.print(
        f"{where['date']}  {where['cpus']} cores, {where['processor']}, load before the run "
        f"{where['load_before']}; Python {where['python']}, nats-server {where['nats_server']}, "
        f"nats-py {where['nats_py']}, uvloop {where['uvloop']}"
    )
    for group in groups:
        console.print(_figures(group))
        if group.cpu_us:
            console.print(_costs(group))
        for side, (before, after) in group.memory_mib.items():
            console.print(
                f"memory of a worker, {side}: {before:.0f} MiB, {after:.0f} after the load"
            )
    judged = [f.passed for group in groups for f in group.figures if f.passed is not None]
    console.print(f"{sum(judged)} of {len(judged)} bars met")


def _figures(group: Group) -> Table:
    table = Table(title=f"sync_interval: {group.sync}", title_justify="left")
    table.add_column("measured", no_wrap=True, min_width=32)
    for title in ("ours", "floor", "ratio", "rounds", "bar", ""):
        table.add_column(title, justify="right", no_wrap=True)
    for figure in group.figures:
        spread = f"{min(figure.ratios):.2f}-{max(figure.ratios):.2f}" if figure.ratios else ""
        sign = "<=" if figure.better == "lower" else ">="
        table.add_row(
            figure.name,
            _number(figure.ours, figure.unit),
            _number(figure.reference, figure.unit),
            f"{figure.ratio:.2f}",
            spread,
            "" if figure.bar is None else f"{sign} {figure.bar:.2f}",
            {True: "[green]pass[/]", False: "[red]FAIL[/]", None: ""}[figure.passed],
        )
    return table


def _costs(group: Group) -> Table:
    table = Table(title="processor time of a call, µs (ours / floor)", title_justify="left")
    table.add_column("measured", no_wrap=True)
    for process in ("caller", "worker", "server"):
        table.add_column(process, justify="right", no_wrap=True)
    for row, sides in group.cpu_us.items():
        cells = [
            " / ".join(f"{cost[process]:.0f}" for cost in sides.values())
            for process in ("caller", "worker", "server")
        ]
        table.add_row(row, *cells)
    return table


def _number(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if unit == "/s" else f"{value:.2f} {unit}"
