"""The processes of a run: workers and callers, killed, frozen, and started again."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nalar.processes.child import PARENT

ROOT: Final = Path(__file__).parents[2]


@dataclass
class Child:
    """One place in a run, and the process that fills it now."""

    name: str
    words: Sequence[str]
    environ: Mapping[str, str]
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    frozen: bool = False
    #: How often it was started.
    lives: int = 0

    def start(self) -> None:
        """Start it; it ends with this process at the latest."""
        self.lives += 1
        with self.file.open("ab") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.words],
                stdin=subprocess.DEVNULL,
                stdout=err,
                stderr=err,
                cwd=ROOT,
                env={**self.environ, PARENT: str(os.getpid())},
            )

    @property
    def code(self) -> int | None:
        """The exit code; None while it lives."""
        return None if self.process is None else self.process.poll()

    @property
    def file(self) -> Path:
        """Where it writes."""
        return self.folder / f"{self.name}.err"

    @property
    def said(self) -> str:
        """The end of what it wrote."""
        return self.file.read_text("utf-8", "replace")[-2000:]

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
        self.frozen = False

    def kill(self) -> None:
        """End it as a crash does; one that is frozen too."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.frozen = False
