"""The main function of a worker process: serve until told to stop, then lose nothing."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from nalar.agents.spec import AgentSpec
from nalar.backend import Backend
from nalar.clock import SystemClock
from nalar.directives import Drain
from nalar.processes.child import EXIT_KILLED
from nalar.processes.host import Host
from nalar.settings import Settings

log = logging.getLogger("nalar.worker")

#: Objects that may be made before the collector looks at the youngest: a worker makes many that
#: live for one call only. Measured: docs/performance.md.
_GC_THRESHOLD = (50_000, 20, 50)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a worker process came to its end."""

    #: Calls whose code still ran, and that others will get or that have ended meanwhile.
    abandoned: int
    #: Code would not end that was told to: another process should take this one's place.
    stuck: bool


async def serve_until_stopped(
    backend: Backend,
    agents: Sequence[AgentSpec],
    settings: Settings,
    *,
    name: str = "",
    ready: Callable[[str], None] = lambda _: None,
) -> Ending:
    """Serve `agents` until SIGINT or SIGTERM, or until code is stuck; return how it ended.

    `ready` is told the worker's name once it serves. On the first signal running calls get
    `settings.grace_s` to finish, queued ones go back and leases are given up; a second signal
    ends the process as the system would, and the server hands its calls to others. Code that does
    not end `settings.stop_grace_s` after it was told to counts as a first signal: only the end of
    this process ends it.
    """
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLD)
    stop = asyncio.Event()
    with _stopping(stop):
        async with Host(backend, settings, SystemClock()) as host:
            worker = await host.serve(agents, name)
            stuck = asyncio.Event()
            worker.on_stuck(stuck.set)
            worker.on_stuck(stop.set)
            worker.on_end(lambda told: stop.set() if isinstance(told, Drain) else _die())
            ready(worker.name)
            await host.until(stop)
            log.info(
                "draining name=%s grace=%gs, a second signal ends it", worker.name, settings.grace_s
            )
            return Ending(await host.drain(), stuck.is_set())


def _die() -> None:
    """End as a machine that loses its power does: others run what ran here."""
    os._exit(EXIT_KILLED)


@contextlib.contextmanager
def _stopping(stop: asyncio.Event) -> Generator[None]:
    """Set `stop` on the first signal; leave the second to the system."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def let_go() -> None:
        for number in signals:
            loop.remove_signal_handler(number)

    def first() -> None:
        stop.set()
        let_go()

    for number in signals:
        loop.add_signal_handler(number, first)
    try:
        yield
    finally:
        let_go()
