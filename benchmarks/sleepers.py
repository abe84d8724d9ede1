"""What sleeping workflows cost a worker: `python -m benchmarks.sleepers`.

Starts so many workflows that all sleep until one time, on one worker process, and looks at its
memory when it has let go of them all. Then they wake and end.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop

import nalar
from benchmarks import child
from benchmarks.processes import child_process
from nalar.agents.registry import REGISTRY
from nalar.bus.embedded import EmbeddedServer, ServerOptions
from nalar.client.client import Client
from nalar.clock import SystemClock
from nalar.processes.worker_process import serve_until_stopped
from nalar.serve import connect
from nalar.settings import Settings
from nalar.statestore.jetstream import open_jetstream

#: Pause between two looks at the worker, in seconds.
LOOK_S = 0.25
#: How long the sleepers may take to fall asleep, and to end, in seconds.
PATIENCE_S = 240.0


def now_s() -> float:
    """Return the time, Unix seconds."""
    return SystemClock().now_s()


@nalar.workflow(name="sleepers_nap")
async def nap(until: float, number: int) -> int:
    """Sleep until then."""
    await nalar.sleep(max(0.0, until - await nalar.step(now_s)))
    return number


@nalar.workflow(name="sleepers_brief")
async def brief(number: int) -> int:
    """Do not sleep."""
    return number


async def serve(url: str) -> None:
    """Serve them until told to stop."""
    settings = Settings(url=url)
    await serve_until_stopped(
        await open_jetstream(settings),
        [REGISTRY.get("sleepers_nap"), REGISTRY.get("sleepers_brief")],
        settings,
        ready=lambda name: child.say({"ready": name}),
    )


def memory_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    [line] = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def worker(url: str) -> AsyncGenerator[int]:
    """Run the worker; gives its process id."""
    async with child_process(["benchmarks.sleepers", "--serve", url]) as process:
        yield process.pid


async def fallen_asleep(client: Client, count: int, pid: int) -> float:
    """Wait until `count` workflows are suspended; return the worker's largest memory till then."""
    peak_mib = 0.0
    async with asyncio.timeout(PATIENCE_S):
        while True:
            peak_mib = max(peak_mib, memory_mib(pid))
            if await held(client) == 0 and await asleep(client) == count:
                return peak_mib
            await asyncio.sleep(LOOK_S)


async def asleep(client: Client) -> int:
    """Return how many calls are suspended."""
    return len(await client.suspended())


async def held(client: Client) -> int:
    """Return how many calls the worker says that it holds."""
    [told] = await client.workers()
    states = ("parked", "queued", "running", "waiting", "returning", "settling", "leaving")
    return sum(int(told[state]) for state in states)


async def measure(count: int, sleep_s: float) -> None:
    """Let them sleep, and print what that took."""
    with tempfile.TemporaryDirectory() as store:
        options = ServerOptions(store=Path(store), sync_always=False)
        async with (
            EmbeddedServer(options) as server,
            worker(server.url) as pid,
            connect(settings=Settings(url=server.url)) as client,
        ):
            await nalar.gather(*[brief(number) for number in range(count)])
            before_mib = memory_mib(pid)
            used_s = cpu_s(pid)
            began, until = time.perf_counter(), now_s() + sleep_s
            sleeping = [nap(until, number) for number in range(count)]
            peak_mib = await fallen_asleep(client, count, pid)
            took_s, left_s = time.perf_counter() - began, until - now_s()
            asleep_mib, slept_s = memory_mib(pid), cpu_s(pid) - used_s
            if left_s <= 0:
                sys.exit(f"they slept too briefly: {took_s:.0f} s until the last was suspended")
            async with asyncio.timeout(left_s + PATIENCE_S):
                ended: Sequence[Any] = await nalar.gather(*sleeping)
            late_s = now_s() - until
            assert list(ended) == list(range(count))
            left, woke_s = await asleep(client), cpu_s(pid) - used_s - slept_s
    print(
        f"{count:,} sleepers on one worker: {took_s:.1f} s until all were suspended and none held; "
        f"worker {before_mib:.0f} MiB before (after as many calls that do not sleep), at most "
        f"{peak_mib:.0f} meanwhile, {asleep_mib:.0f} with all asleep; the last had woken and ended "
        f"{late_s:.1f} s after their time, {left} entries left; the worker's processor time was "
        f"{slept_s:.1f} s until all were asleep and {woke_s:.1f} s from then to the end"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--sleep", type=float, default=90.0, help="seconds from the first call on")
    parser.add_argument("--serve", metavar="URL", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        child.end_with_input()
        uvloop.run(serve(chosen.serve))
    else:
        uvloop.run(measure(chosen.count, chosen.sleep))
