"""What is shown: results on standard output, everything else on standard error."""

import contextlib
import json
import logging
import sys
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from nalar_cli.cells import cell, is_cut, json_lines, line, lines
from nalar_cli.options import Output

if TYPE_CHECKING:
    from nalar.errors import CallError, UsageError

#: Width of a table that goes to a file or pipe: wide enough that nothing is cut.
_PIPE_WIDTH = 10_000
#: How often a progress line is drawn anew, in seconds.
_REDRAW_S = 0.25


def result(value: object) -> None:
    """Print a result as JSON: spread out for people, one line for programs."""
    if sys.stdout.isatty():
        write(json_lines(json.dumps(value, ensure_ascii=False, indent=2)))
    else:
        write(json.dumps(value, ensure_ascii=False))


def write(text: str) -> None:
    """Print a line on standard output, whatever its encoding."""
    line = text + "\n"
    try:
        sys.stdout.write(line)
    except UnicodeEncodeError:
        sys.stdout.buffer.write(line.encode())
    sys.stdout.flush()


def note(text: str) -> None:
    """Print a line for people on standard error."""
    with contextlib.suppress(OSError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def error(message: str, hint: str = "") -> None:
    """Print what went wrong, and what to do."""
    head = "\x1b[1;31merror:\x1b[0m" if sys.stderr.isatty() else "error:"
    note(f"{head} {lines(message)}")
    if hint:
        note(f"hint: {hint}")


def failure(failed: "CallError | UsageError") -> None:
    """Print the error that a call ended in: its type, path and remote traceback."""
    name = getattr(failed, "type_name", type(failed).__name__)
    what = failed.path.partition(" > ")[0] or "the call"
    error(f"{what} failed: {name}: {failed.args[0]}")
    if failed.path:
        note(f"  in: {line(failed.path)}")
    if failed.remote_traceback:
        note("")
        for told in lines(failed.remote_traceback).rstrip().splitlines():
            note(f"  | {told}")


def listing(rows: Sequence[dict[str, Any]], columns: Sequence[str], output: Output) -> None:
    """Print `rows`: all they hold as JSON, or `columns` of them as a table."""
    if output is Output.json:
        result(rows)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.upper().replace("_", " "), overflow="fold")
    shown = [[cell(row.get(column, "")) for column in columns] for row in rows]
    for cells in shown:
        table.add_row(*cells)
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    console = Console(width=width, markup=False, highlight=False, emoji=False)
    with console.capture() as captured:
        console.print(table)
    write("\n".join(drawn.rstrip() for drawn in captured.get().splitlines()))
    if any(is_cut(text) for cells in shown for text in cells):
        note("long values are cut; -o json prints all of them")


def log_to_stderr(level: int) -> None:
    """Log one short line per event."""
    logging.basicConfig(
        level=level,
        stream=sys.stderr,
        format="%(asctime)s.%(msecs)03d %(levelname)-7s %(message)s",
        datefmt="%H:%M:%S",
    )


class Progress:
    """A line on standard error that shows that a run goes on; nothing when nobody watches."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._now = "starting"
        self._watched = sys.stderr.isatty()
        self._print: Callable[[str], None] = note

    @property
    def say(self) -> "Callable[[str], None] | None":
        """What prints a line of somebody else's above ours; None when nothing is shown."""
        return self._say if self._watched else None

    def _say(self, line: str) -> None:
        self._print(line)

    def counted(self, calls: int) -> None:
        """So many calls of the run have ended."""
        self._now = f"{calls} call{'' if calls == 1 else 's'} finished"

    def says(self, now: str) -> None:
        """Show what happens now."""
        self._now = now

    @contextlib.contextmanager
    def shown(self) -> Generator[None]:
        """Show the line in this block, if standard error is a terminal."""
        if not self._watched:
            yield
            return
        from rich.console import Console
        from rich.live import Live
        from rich.progress import Progress as Line
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        line = Line(
            SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
        )
        task = line.add_task(self._what)

        def draw() -> Line:
            line.update(task, description=f"{self._what}: {self._now}")
            return line

        console = Console(stderr=True, markup=False, highlight=False, emoji=False)
        live = Live(
            get_renderable=draw, console=console, refresh_per_second=1 / _REDRAW_S,
            transient=True, redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        self._print = lambda text: console.print(text, soft_wrap=True)
        try:
            with live:
                yield
        finally:
            self._print = note
