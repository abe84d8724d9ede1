"""One side of the benchmark as processes: a fresh server, one worker, one caller."""

import asyncio
import contextlib
import dataclasses
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from benchmarks.bench_measure import Sample
from benchmarks.load import Load
from nalar.bus.embedded import EmbeddedServer, ServerOptions

#: How long a child may take to say that it is ready, and to end.
START_S = 20.0
STOP_S = 15.0
#: How long a round may take beyond its own seconds: calls in flight at its end.
PATIENCE_S = 30.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a side's processes have used so far, in seconds of processor time."""

    caller_s: float
    worker_s: float
    server_s: float

    def since(self, before: "Usage", calls: int) -> dict[str, float]:
        """Return the microseconds of each process for one call since `before`."""
        return {
            name: (getattr(self, f"{name}_s") - getattr(before, f"{name}_s")) / calls * 1e6
            for name in ("caller", "worker", "server")
        }


class Side:
    """The processes of one implementation."""

    def __init__(self, server: EmbeddedServer, worker: Process, caller: Process) -> None:
        self._server = server
        self._worker = worker
        self._caller = caller

    async def drive(self, call: str, load: Load) -> Sample:
        """Have the caller drive one load."""
        asked = orjson.dumps({"call": call, "load": dataclasses.asdict(load)})
        assert self._caller.stdin is not None, "children are started with pipes"
        self._caller.stdin.write(asked + b"\n")
        told = await _hear(self._caller, load.warm_s + load.seconds + PATIENCE_S)
        return Sample(**told)

    def memory_mib(self) -> float:
        """Return the worker's resident memory."""
        status = Path(f"/proc/{self._worker.pid}/status").read_text("utf-8")
        [line] = (line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024

    def usage(self) -> Usage:
        """Return the processor time used so far."""
        return Usage(*map(_cpu_s, (self._caller.pid, self._worker.pid, self._server.pid)))


def _cpu_s(pid: int) -> float:
    # After the name, which may hold anything: utime and stime are fields 14 and 15 of proc(5).
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


async def _hear(child: Process, timeout_s: float) -> dict[str, Any]:
    assert child.stdout is not None, "children are started with pipes"
    async with asyncio.timeout(timeout_s):
        line = await child.stdout.readline()
    if not line:
        raise RuntimeError(f"a benchmark process ended with code {await child.wait()}")
    told: dict[str, Any] = orjson.loads(line)
    return told


@contextlib.asynccontextmanager
async def child_process(arguments: Sequence[str]) -> AsyncGenerator[Process]:
    """Run `python -m <arguments>` until the block ends; its input's end is its sign to stop."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *arguments,
        stdin=PIPE, stdout=PIPE, env={**os.environ, "PYTHONHASHSEED": "0"},
    )  # fmt: skip
    try:
        await _hear(child, START_S)
        yield child
    finally:
        assert child.stdin is not None, "children are started with pipes"
        child.stdin.close()
        try:
            async with asyncio.timeout(STOP_S):
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()


@contextlib.asynccontextmanager
async def side(
    module: str, *, sync_always: bool, serve: Sequence[str] = ()
) -> AsyncGenerator[Side]:
    """Start a server, a worker that serves (its arguments after the URL), and a caller."""
    with TemporaryDirectory(prefix="nalar-bench-") as folder:
        options = ServerOptions(Path(folder), sync_always=sync_always)
        async with (
            EmbeddedServer(options) as server,
            child_process([module, "worker", server.url, *serve]) as worker,
            child_process([module, "caller", server.url]) as caller,
        ):
            yield Side(server, worker, caller)
