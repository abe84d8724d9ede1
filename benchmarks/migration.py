"""How long a session stands still when it is moved: `python -m benchmarks.migration`.

Two workers, a session with so many calls queued, and a directive that moves it to the other worker
while they run. The pause is from the end of the last call at the old worker to the start of the
first one at the new worker, by the clock that both processes share. Every call adds to the state of
the session: what is lost or takes effect twice shows in its result.
"""

import argparse
import asyncio
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import uvloop

import nalar
from benchmarks import child
from benchmarks.bench_measure import quantile
from benchmarks.processes import child_process
from benchmarks.report import machine
from nalar.agents.registry import REGISTRY
from nalar.bus.embedded import EmbeddedServer, ServerOptions
from nalar.client.client import Client
from nalar.clock import SystemClock
from nalar.ids import AgentName, SessionId, WorkerId
from nalar.processes.worker_process import serve_until_stopped
from nalar.serve import connect
from nalar.settings import Settings
from nalar.statestore.jetstream import open_jetstream

AGENT = AgentName("Ledger")
#: Bytes of the session's state that move along.
STATE_BYTES = 10_000
WORKERS = 2
CLOCK = SystemClock()


class Ledger(nalar.Agent, stateful=True):
    """Counts its calls, and says where and when each ran."""

    count: nalar.ManagedValue[int]
    ballast: nalar.ManagedValue[str]

    @nalar.method
    async def add(self) -> tuple[int, str, float, float]:
        """Return how many calls there were, the worker, and when this one began and ended."""
        began = CLOCK.now_s()
        if not self.ballast.is_set:
            self.ballast.value = "x" * STATE_BYTES
        count = self.count.get(0) + 1
        self.count.value = count
        call = nalar.context()
        return count, call.worker, began, CLOCK.now_s()


@dataclass(frozen=True, slots=True)
class Move:
    """One migration as its calls saw it."""

    pause_ms: float
    #: From the directive to the start of the first call at the new worker.
    whole_ms: float
    #: Calls that ran at the new worker.
    moved: int


async def work(url: str) -> None:
    """Serve until told to stop."""
    settings = Settings(url=url)
    await serve_until_stopped(
        await open_jetstream(settings),
        [REGISTRY.get(AGENT)],
        settings,
        ready=lambda name: child.say({"ready": name}),
    )


async def move(client: Client, session: str, queued: int, workers: list[WorkerId]) -> Move:
    """Queue calls of a session, move it once some have run, and look at what they saw."""
    ledger = Ledger.options(session=session)
    _, home, _, _ = await ledger.add()
    away = next(name for name in workers if name != home)
    futures = [ledger.add() for _ in range(queued)]
    await futures[queued // 10]
    directed = CLOCK.now_s()
    await client.steering.migrate(AGENT, SessionId(session), away, "measured")
    seen = await nalar.gather(*futures)
    counts = [count for count, _, _, _ in seen]
    assert counts == list(range(2, queued + 2)), "a call was lost, came twice, or overtook another"
    ended = max((end for _, name, _, end in seen if name == home), default=directed)
    begun = min(began for _, name, began, _ in seen if name == away)
    moved = sum(name == away for _, name, _, _ in seen)
    return Move((begun - ended) * 1000, (begun - directed) * 1000, moved)


async def measure(moves: int, queued: int, *, sync_always: bool) -> list[Move]:
    """Return so many migrations, each of a session of its own."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="nalar-bench-"))
        options = ServerOptions(Path(folder), sync_always=sync_always)
        server = await stack.enter_async_context(EmbeddedServer(options))
        words = ["benchmarks.migration", "worker", server.url]
        for _ in range(WORKERS):
            await stack.enter_async_context(child_process(words))
        client = await stack.enter_async_context(connect(settings=Settings(url=server.url)))
        workers: list[WorkerId] = []
        while len(workers) < WORKERS:
            await asyncio.sleep(0.05)  # There is nothing to be told by: the other one takes half.
            workers = sorted(await client.steering.owners(AGENT))
        return [await move(client, f"s{number}", queued, workers) for number in range(moves)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", type=int, default=100)
    parser.add_argument("--queued", type=int, default=1000)
    parser.add_argument("--sync", choices=("always", "default"), default="always")
    options = parser.parse_args()
    told = machine()
    moves = uvloop.run(measure(options.moves, options.queued, sync_always=options.sync == "always"))
    pauses, whole = (
        sorted(getattr(one, name) for one in moves) for name in ("pause_ms", "whole_ms")
    )
    print(
        f"{told['date']}, {told['cpus']} cores, sync_interval {options.sync}: "
        f"{len(moves)} moves with {options.queued} calls queued, of which "
        f"{sum(one.moved for one in moves) / len(moves):.0f} ran at the new worker; "
        "none lost, none twice, none out of order"
    )
    for title, values in (("standing still", pauses), ("directive to first call", whole)):
        print(
            f"{title}: p50 {quantile(values, 0.5):.1f} ms, p99 {quantile(values, 0.99):.1f} ms, "
            f"longest {values[-1]:.1f} ms"
        )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["worker", url]:
            child.end_with_input()
            uvloop.run(work(url))
        case _:
            main()
