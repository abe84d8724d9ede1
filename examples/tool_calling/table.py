"""How the summary is shown: one line per task, and the totals. Pure."""

from rich.markup import escape
from rich.table import Table

from examples.tool_calling.records import Attempt, Row, Summary

RESULT_CHARACTERS_MAX = 40


def table_of(summary: Summary) -> Table:
    """Return the tasks with what became of them."""
    table = Table(title="BFCL tasks, in the order they were asked")
    for column in ("task", "user", "function chosen", "result", "graded"):
        table.add_column(column, overflow="fold")
    for column in ("latency", "tokens"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("worker", overflow="fold")
    for row in summary.rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Row) -> tuple[str, ...]:
    attempt, verdict = row.attempt, row.verdict
    graded = "[green]right[/]" if verdict.right else f"[red]wrong[/]: {escape(verdict.reason)}"
    return (
        row.task,
        row.user,
        escape(attempt.call.function) if attempt.call else "none",
        escape(_result(row)),
        graded,
        f"{attempt.latency_s:.2f} s",
        f"{attempt.usage.prompt_tokens} + {attempt.usage.completion_tokens}",
        escape(attempt.worker),
    )


def _result(row: Row) -> str:
    execution = row.execution
    text = str(execution.value) if execution.executed else f"({execution.note})"
    return text if len(text) <= RESULT_CHARACTERS_MAX else f"{text[: RESULT_CHARACTERS_MAX - 1]}…"


def totals_of(summary: Summary, *, elapsed_s: float) -> str:
    """Return the closing line."""
    attempts = [row.attempt for row in summary.rows]
    executed = sum(row.execution.executed for row in summary.rows)
    workers = len({attempt.worker for attempt in attempts})
    prompt = sum(attempt.usage.prompt_tokens for attempt in attempts)
    completion = sum(attempt.usage.completion_tokens for attempt in attempts)
    return (
        f"{summary.right} of {summary.total} right, {executed} executed; "
        f"latency {_mean_latency_s(attempts):.2f} s on average; "
        f"{prompt} + {completion} tokens; {workers} workers; {elapsed_s:.1f} s in all"
    )


def _mean_latency_s(attempts: list[Attempt]) -> float:
    return sum(attempt.latency_s for attempt in attempts) / len(attempts)
