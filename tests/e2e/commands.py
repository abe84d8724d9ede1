"""`nalar` as a user starts it, in real processes that end with the test whatever happens."""

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

#: Longer than anything here takes on a slow machine: what is awaited comes, or has failed.
PATIENCE_S = 30.0
_LOOK_S = 0.02
#: In the environment of every process that a test starts: which test it was.
MARK = "NALAR_TEST"


def until(condition: Callable[[], T | None], what: str = "", within_s: float = PATIENCE_S) -> T:
    """Wait until `condition()` is true and return what it is."""
    deadline = time.perf_counter() + within_s
    while not (found := condition()):
        assert time.perf_counter() < deadline, f"not within {within_s} s: {what or condition}"
        time.sleep(_LOOK_S)
    return found


@dataclass
class Started:
    """A `nalar` command that runs beside the test."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def said(self) -> str:
        return self.err.read_text("utf-8", "replace")

    def says(self, pattern: str) -> re.Match[str]:
        """Wait until standard error matches `pattern`."""

        def look() -> re.Match[str] | None:
            found = re.search(pattern, self.said)
            assert found or self.process.poll() is None, f"it ended, and said: {self.said}"
            return found

        return until(look, f"{pattern!r} in what it says")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ends(self, within_s: float = PATIENCE_S) -> int:
        """Wait for its end and return the exit code."""
        return self.process.wait(within_s)


@dataclass
class Nalar:
    """Starts `nalar` commands in one folder."""

    folder: Path
    environ: dict[str, str]
    started: list[Started] = field(default_factory=list)

    def __call__(
        self, *words: object, stdin: str | None = None, code: int | None = 0, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; `code` is what it must return."""
        done = subprocess.run(
            self._argv(words),
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environ | environ,
            timeout=PATIENCE_S * 2,
            check=False,
        )
        assert code is None or done.returncode == code, f"{done.returncode}: {done.stderr}"
        return done

    def json(self, *words: object, **more: Any) -> Any:
        """Run a command and return what it prints, which must be JSON and nothing else."""
        return json.loads(self(*words, **more).stdout)

    def start(self, *words: object, **environ: str) -> Started:
        """Start a command and leave it running; it ends with the test at the latest."""
        return self._start(self._argv(words), environ)

    def start_within(self, memory_mib: int, *words: object, **environ: str) -> Started:
        """Start a command that, as each process it starts, may take so much memory."""
        limit = f'ulimit -v {memory_mib * 1024}; exec "$@"'
        return self._start(["sh", "-c", limit, "sh", *self._argv(words)], environ)

    def _start(self, argv: list[str], environ: dict[str, str]) -> Started:
        number = len(self.started)
        out, err = self.folder / f"out-{number}.txt", self.folder / f"err-{number}.txt"
        with out.open("wb") as to_out, err.open("wb") as to_err:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=to_out,
                stderr=to_err,
                cwd=self.folder,
                env=self.environ | environ,
            )
        self.started.append(Started(process, out, err))
        return self.started[-1]

    def open(self, gate: str) -> None:
        """Let calls through a gate."""
        (self.folder / f"open-{gate}").touch()

    def entered(self, gate: str, times: int = 1) -> list[int]:
        """Wait until calls have come to a gate; return the processes they came in."""
        log = self.folder / f"entered-{gate}"

        def look() -> list[int]:
            pids = [int(line) for line in log.read_text().split()] if log.exists() else []
            return pids if len(pids) >= times else []

        return until(look, f"{times} calls at gate {gate}")

    def family(self) -> list[int]:
        """Return all processes that came of this test's commands, whatever their parent."""
        mark = f"{MARK}={self.environ[MARK]}".encode()
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                environ = (entry / "environ").read_bytes() if entry.name.isdigit() else b""
                if mark in environ.split(b"\0"):
                    found.append(int(entry.name))
        return found

    def clean(self) -> None:
        for one in reversed(self.started):
            if one.process.poll() is None:
                one.process.kill()
                one.process.wait()

    def _argv(self, words: tuple[object, ...]) -> list[str]:
        return [sys.executable, "-m", "nalar_cli", *map(str, words)]
