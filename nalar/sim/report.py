"""How figures are shown: rows for a table, bars in plain text, curves as a picture."""

from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from nalar.errors import UsageError
from nalar.sim.metrics import Figures

#: Columns of the table, in order.
COLUMNS = (
    "strategy", "p50", "p95", "p99", "mean", "goodput", "in_time", "fairness", "utilisation",
    "migrations", "growth",
)  # fmt: skip
_BARS = (("P50", "p50_s", "░"), ("P95", "p95_s", "▒"), ("P99", "p99_s", "█"))


def rows(figures: Sequence[Figures]) -> list[dict[str, Any]]:
    """Return the rows of the table, as people read them."""
    return [
        {
            "strategy": it.strategy,
            "p50": f"{it.p50_s:.2f} s",
            "p95": f"{it.p95_s:.2f} s",
            "p99": f"{it.p99_s:.2f} s",
            "mean": f"{it.mean_s:.2f} s",
            "goodput": f"{it.goodput:.2f}/s",
            "in_time": f"{it.in_time:.1%}",
            "fairness": f"{it.fairness:.3f}",
            "utilisation": f"{it.utilisation:.0%}",
            "migrations": it.migrations,
            "growth": f"{it.growth:.2f}",
        }
        for it in figures
    ]


def as_data(figures: Sequence[Figures]) -> list[dict[str, Any]]:
    """Return all figures as JSON has them."""
    return [asdict(it) for it in figures]


def bars(figures: Sequence[Figures], width: int = 72) -> str:
    """Return bars of the latencies in plain text, all to one scale."""
    longest = max((it.p99_s for it in figures), default=0.0)
    label = max((len(it.strategy) for it in figures), default=0)
    room = max(10, width - label - 18)
    lines: list[str] = []
    for it in figures:
        for index, (name, attribute, ink) in enumerate(_BARS):
            value = getattr(it, attribute)
            cells = max(1, round(room * value / longest)) if longest > 0 and value > 0 else 0
            head = it.strategy if index == 0 else ""
            lines.append(f"{head:<{label}}  {name} {ink * cells} {value:.2f} s")
    return "\n".join(lines)


def check_plot(path: Path) -> None:
    """Raise UsageError where a picture cannot be saved: before minutes of work, not after."""
    _matplotlib()
    if not path.parent.is_dir():
        raise UsageError(f"the picture cannot be saved as {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise UsageError(f"the picture cannot be saved as {path}: that is a folder")


def _matplotlib() -> Any:
    try:
        return import_module("matplotlib.figure")  # An extra, and slow to import.
    except ImportError as error:
        raise UsageError(
            "a picture needs matplotlib: pip install 'nalar[plot]'; the bars need nothing"
        ) from error


def save_curves(figures: Sequence[Figures], title: str, path: Path) -> None:
    """Save the distribution of latency as a PNG; raises UsageError without matplotlib."""
    picture: Any = _matplotlib().Figure(figsize=(8, 5), layout="constrained")
    axes: Any = picture.subplots()
    for it in figures:
        shares = [index / (len(it.curve_s) - 1) for index in range(len(it.curve_s))]
        axes.plot(it.curve_s, shares, label=it.strategy)
    axes.set(title=title, xlabel="latency in s", ylabel="share of requests", xscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    picture.savefig(path, format="png", dpi=120)
