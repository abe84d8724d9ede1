"""The main function of a worker process: serve until told to stop, then lose nothing."""

import asyncio
import contextlib
import gc
import signal
from collections.abc import Callable, Generator, Sequence

from nalar.agents.spec import AgentSpec
from nalar.backend import Backend
from nalar.clock import SystemClock
from nalar.host import Host
from nalar.settings import Settings

#: Objects that may be made before the collector looks at the youngest: a worker makes many that
#: live for one call only. Measured: docs/performance.md.
_GC_THRESHOLD = (50_000, 20, 50)


async def serve_until_stopped(
    backend: Backend,
    agents: Sequence[AgentSpec],
    settings: Settings,
    *,
    name: str = "",
    ready: Callable[[str], None] = lambda _: None,
) -> int:
    """Serve `agents` until SIGINT or SIGTERM; return how many calls had to be abandoned.

    `ready` is told the worker's name once it serves. On the first signal running calls get
    `settings.grace_s` to finish, queued ones go back and leases are given up; a second signal
    ends the process as the system would, and the server hands its calls to others.
    """
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLD)
    stop = asyncio.Event()
    with _stopping(stop):
        async with Host(backend, settings, SystemClock()) as host:
            worker = await host.serve(agents, name)
            ready(worker.name)
            await host.until(stop)
            return await host.drain()


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
