"""The paper's workloads on real processes: `python -m benchmarks.paper.live --workload financial`.

A real server, a worker process for each engine and one for all agents without, and a controller
process. Engines are the simulator's model, run by the clock: they wait for as long as a GPU would
take. All of it is faster than the paper's by `--scale`, and printed at full length. Beside what was
measured stands what the simulator predicts of the same requests on the same workers.
"""

import argparse
import asyncio
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import uvloop

from benchmarks import child
from benchmarks.paper.compressed import ENGINES, WIDE, Compressed, User
from benchmarks.paper.live_agents import Cast
from benchmarks.paper.run import above_0
from benchmarks.processes import child_process
from benchmarks.report import machine
from nalar.agents.registry import REGISTRY
from nalar.bus.embedded import EmbeddedServer, ServerOptions
from nalar.client.client import Client
from nalar.clock import SystemClock
from nalar.cluster.controller import Controller
from nalar.cluster.loading import make_policy
from nalar.errors import NalarError
from nalar.ids import AgentName, SessionId
from nalar.processes.worker_process import serve_until_stopped
from nalar.serve import connect
from nalar.settings import Settings
from nalar.sim.control import Cadence
from nalar.sim.metrics import percentile
from nalar.sim.placing import Lanes, Pinned
from nalar.sim.simulate import Strategy, simulate
from nalar.sim.workload import AgentModel
from nalar.sim.workloads import WORKLOADS
from nalar.statestore.jetstream import open_jetstream

STRATEGIES: Final = ("nalar", "no_migration", "pinned")
#: Requests a second, how many, and the scale, unless said otherwise: engines are busy for most of
#: the time. The router's generations are short: made 20 times as fast, calls cost more than they.
DEFAULTS: Final = {
    "financial": (0.2, 100, 20.0), "router": (1.25, 250, 5.0), "software": (0.04, 40, 20.0),
}  # fmt: skip
#: Between two decisions of the controller, and two reports of a worker, in seconds of the clock.
PERIOD_S: Final = 0.1
#: How long requests may take to end once nobody comes any more, in seconds of the clock.
PATIENCE_S: Final = 60.0
MEASURES: Final = ("P50", "P95", "P99", "mean")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run; each process is told, and draws the same from it."""

    workload: str
    strategy: str
    rate: float
    requests: int
    scale: float
    seed: int

    @classmethod
    def of(cls, words: Sequence[str]) -> "Plan":
        """Return the plan that a child was started with."""
        workload, strategy, rate, requests, scale, seed = words
        return cls(workload, strategy, float(rate), int(requests), float(scale), int(seed))

    @property
    def words(self) -> list[str]:
        told = (self.workload, self.strategy, self.rate, self.requests, self.scale, self.seed)
        return [str(it) for it in told]

    @property
    def pinned(self) -> bool:
        return self.strategy == "pinned"

    @property
    def policies(self) -> list[str]:
        """What the controller runs: with the time that a prefix takes to be read, made faster."""
        return [f"prefix_affinity,rebuild_s={2 / self.scale:g}"] * (self.strategy == "nalar")

    def drawn(self) -> Compressed:
        """Return the workload."""
        return Compressed(self.workload, self.rate, self.requests, self.scale, self.seed)


@dataclass(slots=True)
class Seen:
    """What users saw, in seconds of the clock."""

    latency_s: list[float] = field(default_factory=list[float])
    lost: int = 0
    moved: int = 0


# What the processes are.


async def serve(url: str, host: str, plan: Plan) -> None:
    """Be a worker process: an engine, or all agents that have none."""
    models = plan.drawn().agents()
    served = Cast(models, pinned=plan.pinned).served[host]
    model = next(it for it in models if it.name == host)
    settings = Settings(
        url=url,
        concurrency=model.concurrency,
        prefetch_factor=model.prefetch or 1 / (2 * WIDE),  # Less than one call is none.
    )
    await serve_until_stopped(
        await open_jetstream(settings),
        [REGISTRY.get(AgentName(name)) for name in served],
        settings,
        ready=lambda name: child.say({"ready": name}),
    )


async def control(url: str, plan: Plan) -> None:
    """Be the controller."""
    backend = await open_jetstream(Settings(url=url))
    controller = Controller(backend, SystemClock(), period_s=PERIOD_S)
    await controller.run(plan.policies, ready=lambda: child.say({"ready": controller.name}))


async def visit(user: User, agents: Cast, began_s: float, seen: Seen) -> None:
    """Be a user: come, ask, think, and perhaps ask again."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(began_s + user.at_s - loop.time())
    for request in user.requests:
        await asyncio.sleep(request.after_s)
        asked_s = loop.time()
        given = {"session": request.session, "tenant": request.tenant}
        try:
            await agents.ask(request.agent, request.script, **given)
        except NalarError as error:
            seen.lost += 1
            print(f"lost: {error}", file=sys.stderr)
        else:
            seen.latency_s.append(loop.time() - asked_s)


# What is measured, and what is predicted.


async def measure(plan: Plan) -> Seen:
    """Run a plan on processes that end with it."""
    drawn = plan.drawn()
    users, models = drawn.users, drawn.agents()
    agents = Cast(models, pinned=plan.pinned)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="nalar-bench-"))
        options = ServerOptions(Path(folder), sync_always=False)
        server = await stack.enter_async_context(EmbeddedServer(options))
        roles = [["worker", server.url, it.name] for it in models for _ in range(it.workers)]
        roles += [["controller", server.url]] * bool(plan.policies)
        async with asyncio.TaskGroup() as starting:
            for role in roles:
                words = ["benchmarks.paper.live", *role, *plan.words]
                starting.create_task(stack.enter_async_context(child_process(words)))
        client = await stack.enter_async_context(connect(settings=Settings(url=server.url)))
        await _spread(client, models)
        if plan.pinned:
            await _pin(client, models, users)
        seen = Seen()
        began_s = asyncio.get_running_loop().time()
        async with asyncio.timeout(users[-1].at_s + PATIENCE_S):
            await asyncio.gather(*[visit(user, agents, began_s, seen) for user in users])
        if not plan.pinned:
            standing = await client.steering.standing()
            seen.moved = sum(it.issued.directive.kind == "route" for it in standing)
        return seen


async def _spread(client: Client, models: Sequence[AgentModel]) -> None:
    """Wait until each worker of what sessions go to owns slots."""
    for model in models:
        while model.stateful and model.workers:
            if len(await client.steering.owners(AgentName(model.name))) == model.workers:
                break
            await asyncio.sleep(0.05)  # There is nothing to be told by.


async def _pin(client: Client, models: Sequence[AgentModel], users: Sequence[User]) -> None:
    """Give each session a worker in turn, for good."""
    for model in models:
        if model.name not in ENGINES or not model.stateful:
            continue  # Its sessions have one worker to go to.
        workers = sorted(await client.steering.owners(AgentName(model.name)))
        for number, user in enumerate(users):
            session = SessionId(user.requests[0].session)
            to = workers[number % len(workers)]
            await client.steering.migrate(AgentName(model.name), session, to, "pinned")


def predict(plan: Plan) -> list[float]:
    """Return the latencies that the simulator comes to, in seconds of the clock."""
    strategy = Strategy(
        plan.strategy,
        "as live",
        lambda _: Pinned() if plan.pinned else Lanes(),
        lambda _: [make_policy(it) for it in plan.policies],
        priorities=not plan.pinned,
    )
    figures = simulate(plan.drawn(), strategy, seed=plan.seed, cadence=Cadence(PERIOD_S, PERIOD_S))
    return [figures.p50_s, figures.p95_s, figures.p99_s, figures.mean_s]


def table(plan: Plan, seen: Seen) -> str:
    """Return what was measured and what is predicted, at full length."""
    ordered = sorted(seen.latency_s)
    live = [percentile(ordered, share) for share in (0.5, 0.95, 0.99)]
    live.append(sum(ordered) / len(ordered) if ordered else math.nan)
    told = predict(plan)
    rows = {
        f"`{plan.strategy}` live": [f"{it * plan.scale:.1f} s" for it in live],
        "simulator": [f"{it * plan.scale:.1f} s" for it in told],
        "simulator against live": [
            f"{(there - here) / here:+.1%}" for here, there in zip(live, told, strict=True)
        ],
    }
    lines = [f"| {name} | {' | '.join(values)} |" for name, values in rows.items()]
    lost = f"{len(ordered)} requests, {seen.lost} lost, {seen.moved} sessions moved"
    return "\n".join([*lines, f"\n{lost}"])


def main(given: list[str] | None = None) -> None:
    """Run what is asked for and print a table for each strategy."""
    options = _options(given)
    told = machine()
    rate, requests, scale = DEFAULTS[options.workload]
    rate, requests = options.rate or rate, options.requests or requests
    scale = options.scale or scale
    print(
        f"{told['date']}, {told['cpus']} cores: {options.workload}, {rate:g} requests/s, seed "
        f"{options.seed}, {scale:g} times as fast as told"
    )
    for strategy in options.strategy or ["nalar"]:
        plan = Plan(options.workload, strategy, rate, requests, scale, options.seed)
        print(f"\n| | {' | '.join(MEASURES)} |\n|{'---|' * (1 + len(MEASURES))}")
        print(table(plan, uvloop.run(measure(plan))), flush=True)


def _options(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.paper.live", description=__doc__)
    parser.add_argument("--workload", default="financial", choices=list(WORKLOADS))
    parser.add_argument(
        "--strategy", action="append", choices=STRATEGIES, help="may be repeated; default: nalar"
    )
    parser.add_argument("--rate", type=above_0, help="requests a second, before --scale")
    parser.add_argument("--requests", type=_count, help="then nobody asks any more")
    parser.add_argument("--scale", type=above_0, help="how much faster time is")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(given)


def _count(given: str) -> int:
    value = int(given)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{given} is not above 0")
    return value


def _be_child() -> None:
    """End with the run that started this process, and not by a Ctrl-C of its own."""
    os.setpgid(0, 0)
    child.end_with_input()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["worker", url, host, *words]:
            _be_child()
            uvloop.run(serve(url, host, Plan.of(words)))
        case ["controller", url, *words]:
            _be_child()
            uvloop.run(control(url, Plan.of(words)))
        case _:
            try:
                main()
            except KeyboardInterrupt:
                sys.exit(130)
