"""The main of `make demo`: start a model, serve the workflow on two workers, show what came out.

With OPENAI_BASE_URL set, the model behind it is used and none is started. A wrong answer of the
model is no failure: the exit code is 0 if the run completed.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager, nullcontext

from pydantic import ValidationError
from rich.console import Console

from examples.tool_calling import child, model_server, scripted_endpoint
from examples.tool_calling.llm import BASE_URL
from examples.tool_calling.records import Summary
from examples.tool_calling.table import table_of, totals_of

TARGET = "examples/tool_calling/workflow.py:tool_calling"
#: Seconds that the runtime may take to end its processes.
STOP_MAX_S = 30
#: Columns, where the output is not a terminal.
WIDTH = 160


class RunFailed(RuntimeError):
    """The workflow did not complete."""


def main() -> None:
    """Run the demo as the command line says."""
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, _leave)
    started_s = time.perf_counter()
    try:
        with _endpoint(options) as url:
            environment = os.environ | {BASE_URL: url}
            summary = run(options.count, options.processes, environment)
    except (child.ChildFailed, RunFailed) as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(table_of(summary))
    console.print(totals_of(summary, elapsed_s=time.perf_counter() - started_s))


def _leave(*_: object) -> None:
    """End by an exception, so that what was started is stopped."""
    raise SystemExit(128 + signal.SIGTERM)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20, help="tasks to run (20)")
    parser.add_argument("--processes", type=int, default=2, help="worker processes (2)")
    parser.add_argument("--scripted", action="store_true", help="known answers, not a model")
    return parser


def _endpoint(options: argparse.Namespace) -> AbstractContextManager[str]:
    """Return what serves the model while the workflow runs."""
    if options.scripted:
        return child.serving(scripted_endpoint.MODULE, "--count", str(options.count))
    if BASE_URL in os.environ:
        return nullcontext(os.environ[BASE_URL])
    print("Starting SmolLM2-135M on this machine ...", file=sys.stderr)
    return child.serving(model_server.MODULE)


def run(count: int, processes: int, environment: dict[str, str]) -> Summary:
    """Serve the workflow on workers of its own, run it once, and return its result."""
    command = [sys.executable, "-m", "nalar_cli", "run", TARGET]
    command += ["--json", json.dumps({"count": count}), "--processes", str(processes)]
    with subprocess.Popen(  # noqa: S603 -- our own command
        command, cwd=child.ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            output, _ = process.communicate()
        except BaseException as reason:
            if not isinstance(reason, KeyboardInterrupt):  # which the terminal sent to both
                process.terminate()
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
