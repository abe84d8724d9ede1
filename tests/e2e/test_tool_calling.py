"""The tool-calling example: all its processes, with a scripted endpoint in the place of a model."""

import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

import pytest

from examples.tool_calling.scripted_endpoint import Endpoint, Script
from examples.tool_calling.tasks import pick
from tests.e2e.commands import PATIENCE_S, Nalar, until
from tests.e2e.conftest import ROOT

ROW = re.compile(
    r" (?P<task>sample_\w+) +(?P<user>\w+) +(?P<call>\S.*?) +(?P<graded>right|wrong) +"
    r"(?P<outcome>\S.*?) +(?P<latency>[\d.]+) s +(?P<asked>\d+) \+ (?P<said>\d+) +(?P<worker>\S+)"
)
TOTALS = re.compile(
    r"(?P<right>\d+) of (?P<count>\d+) right, (?P<executed>\d+) executed; .*; "
    r"(?P<asked>\d+) \+ (?P<said>\d+) tokens; .*\nquestions by worker: (?P<shares>.*)"
)
#: Every fifth answer of the script has a mistake; these are the words for it in the table.
MISTAKES = {
    "sample_simple_2": "x is missing",
    "sample_multiple_4": "cut after",
    "sample_simple_7": "the right function is",
    "sample_multiple_9": "radius is missing",
}


class Demo(Nalar):
    """Runs the example instead of `nalar`, from a folder that is not the repository."""

    def _argv(self, words: tuple[object, ...]) -> list[str]:
        demo = ROOT / "examples" / "tool_calling" / "demo.py"
        return [sys.executable, str(demo), *map(str, words)]


@dataclass(frozen=True)
class Shown:
    """What the demo printed."""

    rows: list[dict[str, str]]
    totals: dict[str, str]

    @classmethod
    def of(cls, text: str) -> "Shown":
        totals = TOTALS.search(text)
        assert totals, text
        return cls([row.groupdict() for row in ROW.finditer(text)], totals.groupdict())

    def check(self, count: int) -> None:
        """The rows are the tasks, and the totals are theirs."""
        assert [row["task"] for row in self.rows] == [
            task.question.id for task in pick(count, "sample")
        ]
        graded = Counter(row["graded"] for row in self.rows)
        assert (int(self.totals["count"]), int(self.totals["right"])) == (count, graded["right"])
        for tokens in ("asked", "said"):
            assert int(self.totals[tokens]) == sum(int(row[tokens]) for row in self.rows)
        answered = Counter(row["worker"] for row in self.rows)
        assert self.totals["shares"] == ", ".join(f"{w} {n}" for w, n in sorted(answered.items()))

    @property
    def mistakes(self) -> dict[str, str]:
        return {row["task"]: row["outcome"] for row in self.rows if row["graded"] == "wrong"}


class Gated(Script):
    """A script that keeps everybody waiting for its answers until it may go on."""

    def __init__(self) -> None:
        super().__init__(pick(20, "sample"))
        self.asked, self.open = Event(), Event()

    def completion(self, request: dict[str, Any]) -> dict[str, Any] | None:
        self.asked.set()
        self.open.wait(PATIENCE_S)
        return super().completion(request)


@contextmanager
def endpoint_of(script: Script) -> Generator[str]:
    """Serve `script` from this process; yields the URL."""
    with Endpoint(script) as endpoint:
        thread = Thread(target=endpoint.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield endpoint.url
        finally:
            endpoint.shutdown()
            thread.join()


Serve = Callable[[Script], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves scripts until the test ends."""
    with ExitStack() as stack:
        yield lambda script: stack.enter_context(endpoint_of(script))


def demo_of(commands: Nalar) -> Demo:
    environ = {k: v for k, v in commands.environ.items() if not k.startswith("OPENAI_")}
    return Demo(commands.folder, environ, commands.started)


@pytest.fixture
def demo(nalar: Nalar) -> Demo:
    return demo_of(nalar)


def test_scripted_run_prints_the_table_and_nothing_else_and_leaves_nothing(demo: Demo) -> None:
    done = demo("--scripted")
    assert done.stderr == ""
    shown = Shown.of(done.stdout)
    shown.check(20)
    assert shown.mistakes.keys() == MISTAKES.keys()
    for task, words in MISTAKES.items():
        assert words in shown.mistakes[task]
    assert (shown.totals["right"], shown.totals["executed"]) == ("16", "9")
    assert demo.family() == []


def test_two_workers_share_the_sessions_of_four_users(served: Nalar, serve: Serve) -> None:
    script = Gated()
    running = demo_of(served).start("--tasks", "sample", OPENAI_BASE_URL=serve(script))
    for _ in range(2):  # The first one saw the second come, at the latest while we look again.
        until(lambda: len(served.json("workers", "ls", "-o", "json")) == 2, "two workers")
    script.open.set()
    assert running.ends() == 0, running.said
    shown = Shown.of(running.out.read_text("utf-8"))
    shown.check(20)
    assert shown.mistakes.keys() == MISTAKES.keys()
    assert len({row["worker"] for row in shown.rows}) == 2
    state = served.json("sessions", "get", "Assistant", "grace", "-o", "json")["state"]
    assert [exchange["call"]["function"] for exchange in state["history"]] == [
        "recipes.find",
        "calculate_circumference",
        "calculate_average",
        "highest_grade",
        "math.circle_area",
    ], "one session, whichever workers it was served by"


def test_dead_endpoint_is_told_in_one_line_before_anything_is_started(demo: Demo) -> None:
    done = demo("--tasks", "sample", OPENAI_BASE_URL="http://127.0.0.1:1/v1", code=1)
    assert done.stdout == ""
    assert re.fullmatch(r"error: no model answers at http://127.0.0.1:1/v1: .*\n", done.stderr)


def test_question_without_an_answer_is_graded_wrong_and_the_run_goes_on(
    demo: Demo, serve: Serve
) -> None:
    url = serve(Script(pick(6, "sample")))  # It answers others with 404.
    shown = Shown.of(demo("--tasks", "sample", "--count", 8, OPENAI_BASE_URL=url).stdout)
    shown.check(8)
    assert shown.mistakes.keys() == {"sample_simple_2", "sample_simple_3", "sample_multiple_3"}
    for task in ("sample_simple_3", "sample_multiple_3"):
        assert shown.mistakes[task].startswith("no answer: Error code: 404")


def test_model_that_never_answers_is_a_failure(demo: Demo, serve: Serve) -> None:
    done = demo("--tasks", "sample", "--count", 2, OPENAI_BASE_URL=serve(Script(())), code=1)
    Shown.of(done.stdout).check(2)
    assert done.stderr.startswith("error: the model answered no question; the first got no answer")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_demo_ends_all_its_processes(
    demo: Demo, serve: Serve, number: signal.Signals, code: int
) -> None:
    script = Gated()
    running = demo.start("--tasks", "sample", OPENAI_BASE_URL=serve(script))
    assert script.asked.wait(PATIENCE_S)
    assert len(demo.family()) >= 4, "the demo, nalar, a server and a worker"
    running.signal(number)
    assert running.ends() == code
    script.open.set()
    assert "Traceback" not in running.said
    assert demo.family() == []


def test_endpoint_ends_with_the_process_that_started_it(nalar: Nalar) -> None:
    module = ("-m", "examples.tool_calling.scripted_endpoint", "--with-parent")
    with subprocess.Popen(
        [sys.executable, *module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=nalar.folder,
        env=nalar.environ,
    ) as process:
        assert process.stdout
        assert process.stdout.readline().startswith(b"http://127.0.0.1:")
        assert process.stdin
        process.stdin.close()
        assert process.wait(PATIENCE_S) == 0
