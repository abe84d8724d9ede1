"""The main of `make demo`: start a model, serve the workflow on two workers, show what came out.

With OPENAI_BASE_URL set, the model behind it is used and none is started. A wrong answer of the
model is no failure: the exit code is 0 if the run completed and the model answered at all.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

from pydantic import ValidationError
from rich.console import Console

from examples.tool_calling import child, endpoint, model_server, scripted_endpoint, tasks
from examples.tool_calling.endpoint import API_KEY, BASE_URL, NO_KEY
from examples.tool_calling.records import Summary
from examples.tool_calling.table import table_of, totals_of

TARGET = "examples/tool_calling/workflow.py:tool_calling"
#: Seconds that the runtime may take to end its processes.
STOP_MAX_S = 30
#: Columns, where the output is not a terminal.
WIDTH = 160


class RunFailed(RuntimeError):
    """The workflow did not complete, or the model never answered."""


#: What can go wrong that a message explains better than a traceback.
EXPLAINED = (child.ChildFailed, endpoint.NoEndpoint, tasks.NoTasks, RunFailed)


def main() -> None:
    """Run the demo as the command line says."""
    options = _parser().parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _leave)
    try:
        _run_and_show(options)
    except EXPLAINED as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None


def _leave(number: int, _: object) -> None:
    """End by an exception, so that what was started is stopped."""
    raise SystemExit(128 + number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20, help="tasks to run (20)")
    parser.add_argument("--processes", type=int, default=2, help="worker processes (2)")
    parser.add_argument(
        "--tasks", choices=tasks.SOURCES, default="bfcl", help="whose tasks: BFCL's, or our own"
    )
    parser.add_argument(
        "--scripted",
        action="store_true",
        help="our own tasks, answered by a script instead of a model",
    )
    return parser


def _run_and_show(options: argparse.Namespace) -> None:
    started_s = time.perf_counter()
    source = "sample" if options.scripted else options.tasks
    tasks.pick(options.count, source)  # What is missing here would be missing in the workers.
    with _endpoint(options) as url:
        arguments: dict[str, object] = {"count": options.count, "source": source}
        summary = run(arguments, options.processes, os.environ | {BASE_URL: url})
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(table_of(summary, width=console.width))
    console.print(totals_of(summary, elapsed_s=time.perf_counter() - started_s), soft_wrap=True)
    if not any(row.attempt.answered for row in summary.rows):
        problem = summary.rows[0].attempt.problem
        raise RunFailed(f"the model answered no question; the first got {problem}")


@contextmanager
def _endpoint(options: argparse.Namespace) -> Generator[str]:
    """Yield where the model is while the workflow runs."""
    url = os.environ.get(BASE_URL)
    if url and not options.scripted:
        endpoint.check(url, os.environ.get(API_KEY) or NO_KEY)
        yield url
        return
    endpoint.reach_ourselves_directly()
    if options.scripted:
        module = scripted_endpoint.MODULE
    else:
        module = model_server.MODULE
        print("Starting SmolLM2-135M on this machine ...", file=sys.stderr)
    with child.serving(module) as url:
        yield url


def run(arguments: dict[str, object], processes: int, environment: dict[str, str]) -> Summary:
    """Serve the workflow on workers of its own, run it once, and return its result."""
    command = [sys.executable, "-m", "nalar_cli", "run", TARGET]
    command += ["--json", json.dumps(arguments), "--processes", str(processes)]
    with subprocess.Popen(  # noqa: S603 -- our own command
        command,
        cwd=child.ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for us: we tell it when to go.
    ) as process:
        try:
            output, _ = process.communicate()
        except BaseException:
            process.send_signal(signal.SIGINT)
            process.wait(STOP_MAX_S)
            raise
    if process.returncode:
        raise RunFailed("the workflow did not complete; what nalar says is above")
    try:
        return Summary.model_validate_json(output)
    except ValidationError as error:
        raise RunFailed(f"the workflow returned no summary: {error}") from error


if __name__ == "__main__":
    main()
