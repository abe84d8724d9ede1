"""How the summary is shown: one line per task, and the totals. Pure."""

from collections import Counter

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from examples.tool_calling.records import Attempt, Call, Row, Summary

#: Columns of a terminal in which everything can be read.
WIDE = 110
TEXTS: tuple[str, ...] = ("call the model chose", "result, or what is wrong")
FIGURES: tuple[str, ...] = ("latency", "tokens")
COLUMNS: tuple[str, ...] = ("task", "user", TEXTS[0], "graded", TEXTS[1], *FIGURES, "worker")
CALL_CHARACTERS_MAX = 60
OUTCOME_CHARACTERS_MAX = 60


def table_of(summary: Summary, *, width: int) -> Table:
    """Return the tasks with what became of them; without the long texts if they do not fit."""
    table = Table(title="Tasks in the order they were asked", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    if width < WIDE:
        table.caption = "a wider terminal shows the calls too"
    columns = [column for column in COLUMNS if width >= WIDE or column not in TEXTS]
    for column in columns:
        table.add_column(
            column,
            overflow="fold",
            no_wrap=column not in TEXTS,
            justify="right" if column in FIGURES else "left",
        )
    for row in summary.rows:
        cells = dict(zip(COLUMNS, _cells(row), strict=True))
        table.add_row(*(cells[column] for column in columns))
    return table


def _cells(row: Row) -> tuple[str, ...]:
    attempt = row.attempt
    return (
        row.task,
        row.user,
        escape(_short(_written(attempt.call), CALL_CHARACTERS_MAX)) if attempt.call else "none",
        "[green]right[/]" if row.verdict.right else "[red]wrong[/]",
        escape(_short(_outcome(row), OUTCOME_CHARACTERS_MAX)),
        f"{attempt.latency_s:.2f} s",
        f"{attempt.usage.prompt_tokens} + {attempt.usage.completion_tokens}",
        escape(attempt.worker),
    )


def _written(call: Call) -> str:
    arguments = ", ".join(f"{name}={value!r}" for name, value in call.arguments.items())
    return f"{call.function}({arguments})"


def _outcome(row: Row) -> str:
    if not row.verdict.right:
        return row.verdict.reason
    return str(row.execution.value) if row.execution.executed else row.execution.note


def _short(text: str, characters_max: int) -> str:
    return text if len(text) <= characters_max else f"{text[: characters_max - 1]}…"


def totals_of(summary: Summary, *, elapsed_s: float) -> str:
    """Return the closing lines."""
    attempts = [row.attempt for row in summary.rows]
    executed = sum(row.execution.executed for row in summary.rows)
    prompt = sum(attempt.usage.prompt_tokens for attempt in attempts)
    completion = sum(attempt.usage.completion_tokens for attempt in attempts)
    answered = Counter(attempt.worker for attempt in attempts)
    shares = ", ".join(f"{escape(worker)} {count}" for worker, count in sorted(answered.items()))
    return (
        f"{summary.right} of {summary.total} right, {executed} executed; "
        f"latency {_mean_latency_s(attempts):.2f} s on average; "
        f"{prompt} + {completion} tokens; {elapsed_s:.1f} s in all\n"
        f"questions by worker: {shares}"
    )


def _mean_latency_s(attempts: list[Attempt]) -> float:
    return sum(attempt.latency_s for attempt in attempts) / len(attempts)
