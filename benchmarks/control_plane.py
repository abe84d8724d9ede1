"""The second level of control under load: `python -m benchmarks.control_plane`.

Emulated workers report so many futures, of which a fixed number change between two decisions; a
real controller on a real server takes that in, asks its policies, and publishes what is granted.
Beside that: how soon a live worker does as it is directed, and how long a local controller takes
to start the next of so many calls.
"""

import argparse
import asyncio
import contextlib
import gc
import resource
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import orjson
import uvloop

import nalar
from benchmarks import child, control_plot
from benchmarks.bench_measure import quantile
from benchmarks.control_emulated import WORKERS, EmulatedWorker, emulate
from benchmarks.processes import child_process
from benchmarks.report import machine
from nalar.agents.registry import REGISTRY
from nalar.bus.embedded import EmbeddedServer, ServerOptions
from nalar.clock import SystemClock
from nalar.cluster.arbiter import Arbiter
from nalar.cluster.controller import Controller, Figures
from nalar.cluster.loading import make_policy
from nalar.cluster.view import ClusterView
from nalar.controllers.local_events import Arrived, Ended, Finished, Start
from nalar.controllers.local_state import LocalState
from nalar.controllers.ranking import Traits
from nalar.directives import Issued, Pause, encode_directive, key_of
from nalar.ids import AgentName
from nalar.processes.worker_process import serve_until_stopped
from nalar.reports import decode_report, encode_report
from nalar.serve import connect
from nalar.settings import Settings
from nalar.statestore.jetstream import open_jetstream

SIZES = (1_024, 16_384, 131_072, 1_000_000)
QUEUES = (1_024, 16_384, 131_072)
#: What the controller runs: the paper's measure is SRTF.
POLICIES = ("srtf", "head_of_line", "autoscale")
PERIOD_S = 0.5
CLOCK = SystemClock()


@nalar.tool(name="bench_began")
async def began() -> float:
    """Say when it began."""
    return CLOCK.now_s()


@dataclass(frozen=True, slots=True)
class Loop:
    """What decisions took, over a while."""

    futures: int
    changed: int
    directed: float
    update_ms: list[float]
    decide_ms: list[float]
    publish_ms: list[float]
    whole_ms: list[float]
    #: Processor time of the whole controller process for one decision, in milliseconds.
    cpu_ms: float
    memory_mib: float


@contextlib.asynccontextmanager
async def server() -> AsyncGenerator[str]:
    """Run a nats-server in this block; yield its address."""
    with tempfile.TemporaryDirectory(prefix="nalar-bench-") as folder:
        async with EmbeddedServer(ServerOptions(Path(folder), sync_always=False)) as running:
            yield running.url


async def measure_loop(futures: int, changed: int, seconds: float) -> Loop:
    """Measure a controller's decisions while so many futures are there, and some change."""
    async with (
        server() as url,
        child_process(["benchmarks.control_plane", "emulate", url, str(futures), str(changed)]),
        connect(settings=Settings(url=url)) as client,
    ):
        controller = Controller(client.host.backend, CLOCK, period_s=PERIOD_S)
        running = asyncio.get_running_loop().create_task(controller.run(POLICIES))
        try:
            while len(controller.mind.view.requests) < futures:
                await asyncio.sleep(0.2)
                assert not running.done(), running.result()
            gc.collect()
            gc.freeze()
            await asyncio.sleep(4 * PERIOD_S)
            return await _sampled(controller, futures, changed, seconds)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            gc.unfreeze()


async def _sampled(controller: Controller, futures: int, changed: int, seconds: float) -> Loop:
    loop = asyncio.get_running_loop()
    seen: list[Figures] = []
    before, begun_cpu = controller.figures.directed, time.process_time()
    decisions, until_s = controller.figures.decisions, loop.time() + seconds
    first = decisions
    while loop.time() < until_s:
        await asyncio.sleep(0.02)
        figures = controller.figures
        if figures.decisions > decisions:
            decisions = figures.decisions
            seen.append(Figures(0, 0, figures.update_s, figures.decide_s, figures.publish_s))
    cpu_s = time.process_time() - begun_cpu
    return Loop(
        futures,
        changed,
        (controller.figures.directed - before) / (decisions - first),
        [it.update_s * 1_000 for it in seen],
        [it.decide_s * 1_000 for it in seen],
        [it.publish_s * 1_000 for it in seen],
        [(it.update_s + it.decide_s + it.publish_s) * 1_000 for it in seen],
        cpu_s * 1_000 / (decisions - first),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024,
    )


def measure_costs(futures: int, changed: int, rounds: int = 15) -> list[list[float]]:
    """Return the processor time of each stage of a decision, in ms: no server, no waiting.

    Reading the reports, taking them in, the policies, the arbiter, writing the directives.
    """
    workers = [EmulatedWorker(number, futures // WORKERS) for number in range(WORKERS)]
    view, arbiter = ClusterView(), Arbiter()
    for worker in workers:
        worker.ask()
        while (part := worker.refill()) is not None:
            view.take(part)
    view.settle()
    policies = [(name, make_policy(name)) for name in POLICIES]
    gc.collect()
    gc.freeze()
    found: list[list[float]] = []
    for _ in range(rounds):
        told = [encode_report(worker.some(changed // WORKERS)) for worker in workers]
        marks = [time.process_time()]
        reports = [decode_report(body) for body in told]
        marks.append(time.process_time())
        for report in reports:
            view.take(report)
        view.now_s = CLOCK.now_s()
        marks.append(time.process_time())
        asked = [(name, list(policy.decide(view))) for name, policy in policies]
        marks.append(time.process_time())
        granted = arbiter.judge(view, asked).granted
        marks.append(time.process_time())
        for it in granted:
            issued = Issued(it.directive, it.policy, it.reason, view.now_s, 1)
            encode_directive(issued)
            view.standing[key_of(it.directive)] = issued
        view.settle()
        marks.append(time.process_time())
        found.append([(end - begin) * 1_000 for begin, end in pairwise(marks)])
    gc.unfreeze()
    return found


async def measure_enforcement(times: int) -> list[float]:
    """Return how long after it was directed a live worker starts what had been paused, in ms."""
    agent = AgentName("bench_began")
    found: list[float] = []
    async with (
        server() as url,
        child_process(["benchmarks.control_plane", "serve", url]),
        connect(settings=Settings(url=url)) as client,
    ):
        await began()
        for _ in range(times):
            await client.steering.direct(Pause(agent), "measured")
            await asyncio.sleep(0.02)
            call = began()
            await asyncio.sleep(0.02)
            directed = CLOCK.now_s()
            await client.steering.withdraw(Pause(agent))
            found.append((await call - directed) * 1_000)
    return found


def measure_dispatch(queued: int, times: int = 5_000) -> list[float]:
    """Return how long a local controller takes from a call's end to the next one's start, in ms."""
    state, agent = LocalState(16), AgentName("bench")
    running: list[str] = []
    for number in range(queued):
        traits = Traits(agent, f"s{number}", f"r{number}", f"t{number % 8}", depth=number % 4)
        arrived = Arrived(
            str(number), None, number % 7, 1e12, frozenset(), None, float(number), traits=traits
        )
        running += [effect.key for effect in state.handle(arrived) if isinstance(effect, Start)]
    found: list[float] = []
    for number in range(times):
        key = running.pop()
        begun_s = time.perf_counter()
        effects = [*state.handle(Finished(key)), *state.handle(Ended(key))]
        found.append((time.perf_counter() - begun_s) * 1_000)
        running += [effect.key for effect in effects if isinstance(effect, Start)]
        again = Arrived(f"again{number}", None, 0, 1e12, frozenset(), None, float(queued + number))
        state.handle(again)
    return found


def spread(values: list[float]) -> str:
    """Return median and 99th percentile, as the tables have them."""
    ordered = sorted(values)
    return f"{quantile(ordered, 0.5):.2f} / {quantile(ordered, 0.99):.2f}"


def main() -> None:
    """Measure and print tables in Markdown, then what a decision costs as bars."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--futures", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--changed", type=int, nargs="*", default=[1_000])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--times", type=int, default=300)
    parser.add_argument("--offline", action="store_true", help="Processor time alone, no server.")
    parser.add_argument("--plot", type=Path, help="Save the cost of a decision as a PNG here.")
    options = parser.parse_args()
    print(orjson.dumps(machine()).decode())
    print("\n| queued in one worker | dispatch of the next call, ms, p50 / p99 |\n|---|---|")
    for queued in QUEUES:
        print(f"| {queued:,} | {spread(measure_dispatch(queued))} |", flush=True)
    curves: control_plot.Curves = {"processor time": tell_costs(options.futures)}
    if not options.offline:
        enforced = uvloop.run(measure_enforcement(options.times))
        print(f"\ndirective to enforcement, ms, p50 / p99: {spread(enforced)}\n", flush=True)
        curves["live, by the clock"] = tell_loops(options.futures, options.changed, options.seconds)
    print(f"\n{control_plot.bars(curves)}")
    if options.plot is not None:
        control_plot.save(curves, options.plot)
        print(f"saved {options.plot}", file=sys.stderr)


def tell_costs(sizes: Sequence[int]) -> list[tuple[int, float]]:
    """Print the processor time of a decision by stage; return the median of all, by size."""
    print(
        "\n| futures | read ms | view ms | policies ms | arbiter ms | write ms "
        "| all ms, p50 / p99 |\n|---|---|---|---|---|---|---|"
    )
    points: list[tuple[int, float]] = []
    for futures in sizes:
        rounds = measure_costs(futures, min(1_000, futures))
        stages = [quantile(sorted(stage), 0.5) for stage in zip(*rounds, strict=True)]
        told = " | ".join(f"{stage:.1f}" for stage in stages)
        whole = [sum(it) for it in rounds]
        points.append((futures, quantile(sorted(whole), 0.5)))
        print(f"| {futures:,} | {told} | {spread(whole)} |", flush=True)
    return points


def tell_loops(
    sizes: Sequence[int], changes: Sequence[int], seconds: float
) -> list[tuple[int, float]]:
    """Print what the live loop takes; return the median of all, by size."""
    print(
        "| futures | changed | directives | view ms | policies ms | publish ms | all ms "
        "| process ms | MiB |\n|---|---|---|---|---|---|---|---|---|"
    )
    points: list[tuple[int, float]] = []
    for futures in sizes:
        for changed in changes:
            it = uvloop.run(measure_loop(futures, min(changed, futures), seconds))
            points.append((futures, quantile(sorted(it.whole_ms), 0.5)))
            print(
                f"| {it.futures:,} | {it.changed:,} | {it.directed:.0f} | {spread(it.update_ms)} "
                f"| {spread(it.decide_ms)} | {spread(it.publish_ms)} | {spread(it.whole_ms)} "
                f"| {it.cpu_ms:.0f} | {it.memory_mib:.0f} |",
                flush=True,
            )
    return points


async def serve(url: str) -> None:
    """Be a live worker."""
    settings = Settings(url=url)
    await serve_until_stopped(
        await open_jetstream(settings),
        [REGISTRY.get(AgentName("bench_began"))],
        settings,
        ready=lambda name: child.say({"ready": name}),
    )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", url]:
            child.end_with_input()
            uvloop.run(serve(url))
        case ["emulate", url, futures, changed]:
            child.end_with_input()
            uvloop.run(emulate(url, int(futures), int(changed), PERIOD_S))
        case _:
            main()
