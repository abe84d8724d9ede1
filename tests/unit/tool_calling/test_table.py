import io

from rich.console import Console

from examples.tool_calling.records import Attempt, Call, Execution, Row, Summary, Usage, Verdict
from examples.tool_calling.table import table_of, totals_of


def row(task: str, *, call: Call | None, verdict: Verdict, **more: object) -> Row:
    attempt = Attempt(
        call=call,
        usage=Usage(prompt_tokens=100, completion_tokens=7),
        latency_s=0.25,
        worker=f"worker-{task[0]}",
    )
    execution = Execution.model_validate({"executed": False, **more})
    return Row(task=task, user="ada", attempt=attempt, execution=execution, verdict=verdict)


RIGHT = Verdict(right=True)
ROWS = (
    row(
        "a1",
        call=Call(function="area", arguments={"radius": 2, "unit": "[cm]"}),
        verdict=RIGHT,
        executed=True,
        value=12.5,
    ),
    row("a2", call=Call(function="find", arguments={}), verdict=RIGHT, note="not implemented"),
    row("b1", call=None, verdict=Verdict(right=False, reason="cut " + "x" * 100)),
)
SUMMARY = Summary(right=2, total=3, rows=ROWS)


def shown(width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    console.print(table_of(SUMMARY, width=width))
    assert isinstance(console.file, io.StringIO)
    return [line for line in console.file.getvalue().splitlines() if "ada" in line]


def test_each_task_has_a_line_with_call_grade_outcome_cost_and_worker() -> None:
    executed, unimplemented, wrong = shown(160)
    for text in ("a1", "area(radius=2, unit='[cm]')", "right", "12.5", "0.25 s", "100 + 7"):
        assert text in executed
    assert "worker-a" in executed
    assert "find()" in unimplemented
    assert "not implemented" in unimplemented
    assert "none" in wrong
    assert "wrong" in wrong
    assert "cut xxx" in wrong
    assert "worker-b" in wrong


def test_narrow_terminal_is_shown_what_fits() -> None:
    assert [line.split() for line in shown(80)] == [
        ["a1", "ada", "right", "0.25", "s", "100", "+", "7", "worker-a"],
        ["a2", "ada", "right", "0.25", "s", "100", "+", "7", "worker-a"],
        ["b1", "ada", "wrong", "0.25", "s", "100", "+", "7", "worker-b"],
    ]


def test_totals_add_up_and_count_the_questions_of_each_worker() -> None:
    assert totals_of(SUMMARY, elapsed_s=9.87).splitlines() == [
        "2 of 3 right, 1 executed; latency 0.25 s on average; 300 + 21 tokens; 9.9 s in all",
        "questions by worker: worker-a 2, worker-b 1",
    ]
