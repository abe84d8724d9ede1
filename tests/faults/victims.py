"""Real worker and caller processes that fail where NALAR_FAULT says.

They are forked from a process that has imported everything, so that one costs milliseconds; from
there on each runs what `nalar worker` runs.
"""

import asyncio
import dataclasses
import logging
import multiprocessing
import os
import re
import signal
import time
from collections.abc import Callable, Coroutine
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import nalar
from nalar.agents.registry import REGISTRY
from nalar.faults.plan import FAULT
from nalar.loops import new_loop
from nalar.serve import run_worker
from nalar.settings import Settings
from tests.clusters import until
from tests.faults.served import DESKS

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__])
READY = "serving"
#: Longer than anything here takes on a slow machine: what is awaited comes, or has failed.
PATIENCE_S = 30.0


@dataclasses.dataclass(frozen=True)
class Victim:
    """A process that is to fail; what it says on standard error is kept."""

    process: BaseProcess
    err: Path

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def said(self) -> str:
        return self.err.read_text("utf-8") if self.err.exists() else ""

    async def says(self, pattern: str, within_s: float = PATIENCE_S) -> str:
        """Wait until it has said something that matches `pattern`; return the first group."""

        def said() -> re.Match[str] | None:
            ended = self.process.exitcode is not None
            found = re.search(pattern, self.said)
            assert found or not ended, self.said
            return found

        await until(said, within_s)
        found = said()
        assert found is not None
        return found.group(found.re.groups)

    async def fails(self, fault: str) -> None:
        """Wait until the fault has happened; one that ends the process has ended it."""
        await self.says(f"{FAULT} {re.escape(fault)}")
        if ":exit" in fault:
            await until(lambda: self.process.exitcode is not None, PATIENCE_S)

    def wake(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def end(self) -> None:
        """End it whatever it does."""
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join(5)


def start_worker(
    settings: Settings, fault: str, agents: tuple[str, ...], err: Path, *, ahead_s: float = 0.0
) -> Victim:
    """Start a worker process that serves `agents`, with a clock that is `ahead_s` ahead."""
    return _start(_work, (settings, agents, ahead_s), fault, err)


def start_caller(
    settings: Settings, fault: str, call: tuple[int, str, str, int], err: Path
) -> Victim:
    """Start a program that makes a deposit under the key of its account."""
    return _start(_call, (settings, call), fault, err)


def _start(work: Callable[..., Any], given: tuple[Any, ...], fault: str, err: Path) -> Victim:
    process = FORKS.Process(target=_run, args=(work, given, fault, str(err)), daemon=True)
    process.start()
    return Victim(process, err)


def _run(
    work: Callable[..., Coroutine[Any, Any, None]], given: tuple[Any, ...], fault: str, err: str
) -> None:
    file = os.open(err, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 2)
    logging.basicConfig(level=logging.WARNING)
    os.environ[FAULT] = fault
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(work(*given))


async def _work(settings: Settings, agents: tuple[str, ...], ahead_s: float) -> None:
    told = time.time  # noqa: TID251 -- the clock that is to be wrong
    time.time = lambda: told() + ahead_s  # noqa: TID251 -- the same
    served = [REGISTRY.get(name) for name in agents]
    await run_worker(served, settings, ready=lambda _: _say(READY))


async def _call(settings: Settings, call: tuple[int, str, str, int]) -> None:
    async with nalar.connect(settings=settings):
        desk, log, account, amount = call
        deposit = DESKS[desk].deposit.options(idempotency_key=account)
        future = deposit(log, account, amount)
        _say(f"asked {future.ref}")
        _say(f"result {await future}")


def _say(text: str) -> None:
    os.write(2, f"{text}\n".encode())
