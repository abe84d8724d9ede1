"""What a decision costs over the number of futures: bars in plain text, curves as a picture."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

#: (futures, milliseconds), by what was measured.
Curves = dict[str, Sequence[tuple[int, float]]]
_WIDTH = 40


def bars(curves: Curves) -> str:
    """Return bars to one scale: they are as long for many futures as for few, or they are not."""
    longest = max((ms for points in curves.values() for _, ms in points), default=0.0)
    lines: list[str] = []
    for name, points in curves.items():
        lines.append(f"{name}, ms, p50")
        for futures, ms in points:
            ink = "█" * max(1, round(_WIDTH * ms / longest)) if longest else ""
            lines.append(f"{futures:>11,}  {ink} {ms:.1f}")
    return "\n".join(lines)


def save(curves: Curves, path: Path) -> None:
    """Save the curves as a PNG; exits with a way out where matplotlib is missing."""
    try:
        library: Any = import_module("matplotlib.figure")  # An extra, and slow to import.
    except ImportError as error:
        raise SystemExit("a picture needs matplotlib: pip install 'nalar[plot]'") from error
    picture: Any = library.Figure(figsize=(8, 5), layout="constrained")
    axes: Any = picture.subplots()
    for name, points in curves.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set(xlabel="futures, all but 1,000 idle", ylabel="ms, p50", xscale="log")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    picture.savefig(path, format="png", dpi=120)
