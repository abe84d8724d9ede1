"""The paper's workloads on real processes: `python -m benchmarks.paper.live --workload financial`.

A real server, a node that keeps a worker process for each engine and one for all agents without,
and a controller process. Engines are the simulator's model, run by the clock: they wait for as long
as a GPU would take, also to load a model. All of it is faster than the paper's by `--scale`, and
printed at full length. Beside what was measured stands what the simulator predicts of the same
requests on the same workers under the same strategy.
"""

import argparse
import asyncio
import math
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import uvloop

from benchmarks.paper.compressed import User
from benchmarks.paper.live_agents import Cast
from benchmarks.paper.live_plan import Plan
from benchmarks.paper.live_processes import MODULE, be, started
from benchmarks.paper.run import above_0, parsed
from benchmarks.processes import child_process
from benchmarks.report import machine
from nalar.bus.embedded import EmbeddedServer, ServerOptions
from nalar.client.client import Client
from nalar.cluster.journal import Journal
from nalar.directives import Route, prefix_of
from nalar.errors import NalarError
from nalar.ids import AgentName
from nalar.serve import connect
from nalar.settings import Settings
from nalar.sim.metrics import percentile
from nalar.sim.workload import AgentModel
from nalar.sim.workloads import WORKLOADS

#: Requests a second, how many, and the scale, unless said otherwise. The router's generations are
#: short: made 20 times as fast, calls cost more than they. It takes two phases to show what moves.
DEFAULTS: Final = {
    "financial": (0.2, 100, 20.0), "router": (5.0, 2_600, 5.0), "software": (0.22, 120, 10.0),
}  # fmt: skip
#: How long requests may take to end once nobody comes any more, in seconds of the clock.
PATIENCE_S: Final = 120.0
#: How long all workers may take to start.
START_S: Final = 60.0
MEASURES: Final = ("P50", "P95", "P99", "mean")


@dataclass(slots=True)
class Seen:
    """What users saw, in seconds of the clock, and what was done meanwhile."""

    latency_s: list[float] = field(default_factory=list[float])
    lost: int = 0
    #: Moves of a session to another worker, and workers that serve another agent than before.
    moved: int = 0
    reassigned: int = 0
    #: Policies that the controller suspended, and why.
    suspended: dict[str, str] = field(default_factory=dict[str, str])


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


async def measure(plan: Plan) -> Seen:
    """Run a plan on processes that end with it."""
    users, models = plan.drawn().users, plan.drawn().agents()
    agents = Cast(plan)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nalar-bench-")))
        workers = folder / "workers"
        workers.mkdir()
        options = ServerOptions(folder, sync_always=False)
        server = await stack.enter_async_context(EmbeddedServer(options))
        client = await stack.enter_async_context(connect(settings=Settings(url=server.url)))
        node = [MODULE, "node", server.url, str(workers), *plan.words]
        await stack.enter_async_context(child_process(node))
        async with asyncio.timeout(START_S):
            first = await _all_serve(client, agents, models, workers)
        if plan.policies:
            controller = [MODULE, "controller", server.url, *plan.words]
            await stack.enter_async_context(child_process(controller))
        seen = Seen()
        began_s = asyncio.get_running_loop().time()
        async with asyncio.timeout(users[-1].at_s + PATIENCE_S):
            await asyncio.gather(*[visit(user, agents, began_s, seen) for user in users])
        seen.reassigned = started(workers) - first
        await _look_back(client, seen)
        return seen


async def _all_serve(client: Client, agents: Cast, models: list[AgentModel], folder: Path) -> int:
    """Wait until all workers serve, and each that sessions go to owns slots; return how many."""
    wanted = {name: it.workers for it in agents.hosted.values() for name in it.agents}
    stateful = {it.name for it in models if it.stateful} & wanted.keys()
    count = sum(it.workers for it in agents.hosted.values())
    while True:
        told = [name for it in await client.workers() for name in it["agents"]]
        owners = {name: len(await client.steering.owners(AgentName(name))) for name in stateful}
        if (
            started(folder) == count
            and all(told.count(name) == wanted[name] for name in wanted)
            and all(owners[name] == wanted[name] for name in stateful)
        ):
            return count
        await asyncio.sleep(0.05)  # There is nothing to be told by.


async def _look_back(client: Client, seen: Seen) -> None:
    """See what the controller has done: sessions that were moved, policies that it stopped."""
    for decision in await Journal(client.host.backend.control).last(sys.maxsize):
        seen.suspended |= decision.suspended
        given = [it["key"] for it in decision.done if not it["withdrawn"]]
        seen.moved += sum(key.startswith(f"{prefix_of(Route)}.") for key in given)


def table(plan: Plan, seen: Seen) -> str:
    """Return what was measured and what is predicted, at full length."""
    ordered = sorted(seen.latency_s)
    live = [percentile(ordered, share) for share in (0.5, 0.95, 0.99)]
    live.append(sum(ordered) / len(ordered) if ordered else math.nan)
    told = plan.predict()
    predicted = [told.p50_s, told.p95_s, told.p99_s, told.mean_s]
    rows = {
        f"`{plan.strategy}` live": [f"{it * plan.scale:.1f} s" for it in live],
        "simulator": [f"{it * plan.scale:.1f} s" for it in predicted],
        "simulator against live": [
            f"{(there - here) / here:+.1%}" for here, there in zip(live, predicted, strict=True)
        ],
    }
    lines = [f"| {name} | {' | '.join(values)} |" for name, values in rows.items()]
    done = (
        f"{len(ordered)} requests, {seen.lost} lost; {seen.moved} moves of sessions (simulator: "
        f"{told.migrations}), {seen.reassigned} workers given to another agent"
    )
    stopped = [f"suspended: {policy} {why}" for policy, why in seen.suspended.items()]
    return "\n".join([*lines, f"\n{done}", *stopped])


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
    parser = argparse.ArgumentParser(prog=MODULE, description=__doc__)
    parser.add_argument("--workload", default="financial", choices=list(WORKLOADS))
    parser.add_argument(
        "--strategy", action="append", metavar="NAME",
        help="as `nalar simulate` knows them; may be repeated; default: nalar",
    )  # fmt: skip
    parser.add_argument("--rate", type=above_0, help="requests a second, before --scale")
    parser.add_argument("--requests", type=_count, help="then nobody asks any more")
    parser.add_argument("--scale", type=above_0, help="how much faster time is")
    parser.add_argument("--seed", type=int, default=1)
    return parsed(parser, given)


def _count(given: str) -> int:
    value = int(given)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{given} is not above 0")
    return value


if __name__ == "__main__":
    if sys.argv[1:2] in (["worker"], ["node"], ["controller"]):
        uvloop.run(be(sys.argv[1:]))
        sys.exit()
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
