"""Running a server as a child process: it prints its address, serves, and ends with its parent.

The parent holds the child's stdin open; when the parent is gone, however it went, stdin closes.
"""

import argparse
import contextlib
import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path

from examples.tool_calling import endpoint

ROOT = Path(__file__).parents[2]
#: Seconds until the child must have printed its address: a model has to be loaded first.
START_MAX_S = 60
STOP_MAX_S = 5


class ChildFailed(RuntimeError):
    """The child process did not come up."""


@contextlib.contextmanager
def serving(module: str, *arguments: str) -> Generator[str]:
    """Run `python -m module` until the block ends; yields the URL that it serves at."""
    command = [sys.executable, "-m", module, "--with-parent", *arguments]
    with subprocess.Popen(  # noqa: S603 -- our own module
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for us: we tell it when to go.
    ) as process:
        try:
            url = _first_line(process, module)
            endpoint.check(url, endpoint.NO_KEY)
            yield url
        finally:
            _stop(process)


def _first_line(process: subprocess.Popen[str], module: str) -> str:
    assert process.stdout is not None
    watchdog = threading.Timer(START_MAX_S, process.kill)
    watchdog.start()
    try:
        line = process.stdout.readline().strip()
    finally:
        watchdog.cancel()
    if not line:
        raise ChildFailed(f"{module} did not start; what it says is above")
    return line


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOP_MAX_S)
    except subprocess.TimeoutExpired:
        process.kill()


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the option that `serving` uses."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--with-parent", action="store_true", help="end when stdin closes")
    return options


def serve(url: str, *, with_parent: bool) -> None:
    """Print the address and wait: for stdin to close, or until the process is ended."""
    print(url, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        if with_parent:
            sys.stdin.read()
        else:
            threading.Event().wait()
