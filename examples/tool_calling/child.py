"""Running a server as a child process: it prints its address, serves, and ends with its parent.

The parent holds the child's stdin open; when the parent is gone, however it went, stdin closes.
"""

import argparse
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Seconds until the child must have printed its address: a model has to be loaded first.
START_MAX_S = 60
STOP_MAX_S = 5


class ChildFailed(RuntimeError):
    """The child process did not come up."""


@contextmanager
def serving(module: str, *arguments: str) -> Generator[str]:
    """Run `python -m module` until the block ends; yields the URL that it serves at."""
    command = [sys.executable, "-m", module, "--with-parent", *arguments]
    with subprocess.Popen(  # noqa: S603 -- our own module
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            url = _first_line(process, module)
            _check(url, module)
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


def _check(url: str, module: str) -> None:
    try:
        with urllib.request.urlopen(f"{url}/models", timeout=START_MAX_S):  # noqa: S310 -- loopback
            return
    except urllib.error.URLError as error:
        raise ChildFailed(f"{module} does not answer at {url}: {error}") from error


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
    if with_parent:
        sys.stdin.read()
    else:
        threading.Event().wait()
