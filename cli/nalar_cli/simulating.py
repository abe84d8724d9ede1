"""`nalar simulate`: what a policy would do, on a virtual clock."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nalar_cli import printing
from nalar_cli.options import Listing, Output

if TYPE_CHECKING:
    from nalar.sim.metrics import Figures
    from nalar.sim.simulate import Progress


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        "simulate", epilog="Example: nalar simulate --workload financial --rate 8 --compare pinned"
    )(simulating)


Workload = Annotated[
    str, typer.Option("--workload", "-w", metavar="NAME|FILE", help="What is simulated.")
]
Policy = Annotated[
    list[str] | None,
    typer.Option(
        "--policy",
        "-p",
        metavar="NAME|MODULE:CLASS",
        help="What steers, with ,parameter=value; may be repeated.",
    ),
]
Compare = Annotated[
    list[str] | None,
    typer.Option("--compare", metavar="NAME|MODULE:CLASS", help="Beside these. May be repeated."),
]
Rate = Annotated[
    float, typer.Option("--rate", min=0.001, max=1e6, metavar="N", help="Requests a second.")
]
Workers = Annotated[
    int, typer.Option("--workers", min=1, max=100_000, metavar="N", help="Workers in all.")
]
Futures = Annotated[
    int, typer.Option("--futures", min=1, metavar="N", help="End after so many calls.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="The same seed, the same run.")]
Plot = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", help="Save curves of latency as PNG.")
]


def simulating(  # noqa: PLR0913, PLR0917 -- an option each
    workload: Workload = "financial",
    policy: Policy = None,
    compare: Compare = None,
    rate: Rate = 1.0,
    workers: Workers = 32,
    futures: Futures = 20_000,
    seed: Seed = 1,
    plot: Plot = None,
    output: Listing = Output.table,
) -> None:
    """Say what a policy would do to latency, on a virtual clock.

    Of --policy, else of nalar, beside --compare; with neither, of nalar and its peers. Workers'
    local controllers and the policies are those that run live; only time and the work are
    simulated. A run is repeated exactly by its seed. docs/simulation.md says what is assumed.
    """
    from nalar.sim.report import as_data, bars, check_plot, rows, save_curves
    from nalar.sim.simulate import simulate
    from nalar.sim.strategies import chosen
    from nalar.sim.workload import Size
    from nalar.sim.workloads import workload_of

    size = Size(rate, workers, seed=seed)
    if plot is not None:
        check_plot(plot)
    asked = [*(policy or (["nalar"] if compare else [])), *(compare or [])]
    strategies = chosen(asked)
    shown = printing.Progress(f"simulating {workload}")
    figures: list[Figures] = []
    with shown.shown():
        for each in strategies:

            def tell(progress: "Progress", name: str = each.name) -> None:
                done = min(1.0, progress.futures / futures)
                shown.says(f"{name}, {progress.virtual_s:,.0f} s of virtual time, {done:.0%}")

            source = workload_of(workload, size)
            figures.append(simulate(source, each, seed=seed, futures_max=futures, progress=tell))
    if output is Output.json:
        printing.result(as_data(figures))
    else:
        told = rows(figures)
        printing.listing(told, list(told[0]), output)
        printing.write("\n" + bars(figures))
    if plot is not None:
        save_curves(figures, f"{workload}, {rate:g} requests/s, {workers} workers", plot)
        printing.note(f"saved {plot}")
