"""What the processes of a live run are: workers, the node that keeps them, the controller."""

import asyncio
import fcntl
import os
import sys
from pathlib import Path
from typing import Final

from benchmarks import child
from benchmarks.paper.compressed import WIDE
from benchmarks.paper.live_agents import Cast, Hosted
from benchmarks.paper.live_plan import PERIOD_S, Plan
from nalar.agents.registry import REGISTRY
from nalar.clock import SystemClock
from nalar.cluster.controller import Controller
from nalar.cluster.nodes import Group
from nalar.ids import AgentName
from nalar.processes.child import StopSignals, stay_with_parent, tell_ready
from nalar.processes.node import Node, Offer, machine
from nalar.processes.place import Command
from nalar.processes.worker_process import serve_until_stopped
from nalar.serve import connect
from nalar.settings import Settings
from nalar.sim.workload import AgentModel
from nalar.statestore.jetstream import open_jetstream

#: How to be one of them.
MODULE: Final = "benchmarks.paper.live"
#: Calls that a worker holds where the order is its own to decide, as a multiple of its concurrency.
_ALL: Final = 64.0
#: How often a worker looks whether a device is free, in seconds.
_LOOK_S: Final = 0.02


async def serve(url: str, folder: Path, hosted: Hosted, plan: Plan) -> None:
    """Be a worker process: an engine, or all agents that have none."""
    model = hosted.host
    device = await _load(model, folder / (model.group or model.name), plan)
    few = model.prefetch or 1 / (2 * WIDE)  # Less than one call is none.
    settings = Settings(
        url=url,
        concurrency=model.concurrency,
        prefetch_factor=_ALL if plan.ranks and model.llm is not None else few,
    )
    try:
        await serve_until_stopped(
            await open_jetstream(settings),
            [REGISTRY.get(AgentName(name)) for name in hosted.agents],
            settings,
            ready=lambda name: _ready(folder, name),
        )
    finally:
        if device is not None:
            os.close(device)


async def _load(model: AgentModel, folder: Path, plan: Plan) -> int | None:
    """Take an accelerator for as long as this process lives, and load the model.

    There are as many as there are engines to begin with: who takes another's place waits for it.
    """
    if model.llm is None:
        return None
    models = plan.drawn().agents()
    group = [it for it in models if (it.group or it.name) == (model.group or model.name)]
    while True:
        for number in range(sum(it.workers for it in group)):
            device = os.open(f"{folder}-{number}", os.O_CREAT | os.O_RDWR)
            try:
                fcntl.flock(device, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(device)
            else:
                await asyncio.sleep(model.start_s)
                return device
        await asyncio.sleep(_LOOK_S)  # There is nothing to be told by.


def _ready(folder: Path, name: str) -> None:
    (folder / f"worker {name}").touch()
    tell_ready(name)


def started(folder: Path) -> int:
    """Return how many worker processes have begun to serve."""
    return sum(1 for _ in folder.glob("worker *"))


async def supervise(url: str, folder: Path, plan: Plan) -> None:
    """Be the node: keep as many workers of each agent alive as directives say."""
    hosted = Cast(plan).hosted
    offers = [
        Offer(
            Group(name, it.agents, it.workers),
            Command([sys.executable, "-m", MODULE, "worker", url, str(folder), name, *plan.words]),
        )
        for name, it in hosted.items()
    ]
    with StopSignals().caught() as stop:
        async with connect(settings=Settings(url=url)) as client:
            # Half of an exchange may be heard of first: it is the devices that bound them.
            room = 2 * sum(it.workers for it in hosted.values())
            node = Node(client.host.backend, client.host.settings, machine("bench", room, {}), stop)
            child.say({"ready": node.name})
            await node.run(offers)


async def control(url: str, plan: Plan) -> None:
    """Be the controller."""
    backend = await open_jetstream(Settings(url=url))
    controller = Controller(backend, SystemClock(), period_s=PERIOD_S)
    await controller.run(plan.policies, ready=lambda: child.say({"ready": controller.name}))


async def be(words: list[str]) -> None:
    """Be the process that these words of a command line describe."""
    match words:
        case ["worker", url, folder, name, *words]:
            stay_with_parent()
            plan = Plan.of(words)
            await serve(url, Path(folder), Cast(plan).hosted[name], plan)
        case ["node", url, folder, *words]:
            _end_with_input()
            await supervise(url, Path(folder), Plan.of(words))
        case ["controller", url, *words]:
            _end_with_input()
            await control(url, Plan.of(words))
        case _:
            raise AssertionError(f"no process is described by {words}")


def _end_with_input() -> None:
    """End with the run that started this process, and not by a Ctrl-C of its own."""
    os.setpgid(0, 0)
    child.end_with_input()
