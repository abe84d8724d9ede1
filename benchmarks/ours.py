"""Nalar's side: a worker process and a caller process, as a user would have them.

Run by `benchmarks.run`; by hand, for a profiler: `python -m benchmarks.ours worker URL`.
"""

import sys
from collections.abc import Sequence

import uvloop

import nalar
from benchmarks import agents, child
from benchmarks.rows import FAN_WIDTH, NAP_S, SESSIONS
from nalar.agents.registry import REGISTRY
from nalar.processes.worker_process import serve_until_stopped
from nalar.serve import connect
from nalar.settings import Settings
from nalar.statestore.jetstream import open_jetstream


async def work(url: str, concurrency: int, names: Sequence[str]) -> None:
    """Serve agents until told to stop."""
    settings = Settings(url=url, concurrency=concurrency)
    await serve_until_stopped(
        await open_jetstream(settings),
        [REGISTRY.get(name) for name in names],
        settings,
        ready=lambda name: child.say({"ready": name}),
    )


async def call(url: str) -> None:
    """Make the calls that the run asks for."""

    def tool(number: int) -> nalar.Future[int]:
        return agents.noop(number)

    def state(number: int) -> nalar.Future[int]:
        return agents.Counter.options(session=f"session-{number % SESSIONS}").add(1)

    def fan(_: int) -> nalar.Future[int]:
        return agents.fan(FAN_WIDTH)

    def nap(_: int) -> nalar.Future[None]:
        return agents.nap(NAP_S)

    async with connect(settings=Settings(url=url)):
        await child.obey({"tool": tool, "state": state, "fan": fan, "nap": nap})


def main(arguments: Sequence[str]) -> None:
    """`worker URL CONCURRENCY AGENT...` or `caller URL`."""
    match arguments:
        case ["worker", url, concurrency, *names]:
            child.end_with_input()
            uvloop.run(work(url, int(concurrency), names))
        case ["caller", url]:
            uvloop.run(call(url))
        case _:
            sys.exit(f"usage: python -m benchmarks.ours {main.__doc__}")


if __name__ == "__main__":
    main(sys.argv[1:])
