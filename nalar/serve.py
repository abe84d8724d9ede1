"""The composition root: the only module that names adapters and puts the parts together."""

import asyncio
import concurrent.futures
import contextlib
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any

from nalar.agents.registry import REGISTRY, torn
from nalar.agents.spec import AgentSpec, MethodSpec
from nalar.backend import Backend
from nalar.client.agreement import agreed
from nalar.client.client import Client, SyncClient
from nalar.client.housekeeping import Housekeeper
from nalar.clock import Clock, SystemClock
from nalar.cluster.controller import PERIOD_S, Controller
from nalar.context import (
    DEFAULT_OPTIONS,
    CallOptions,
    Runtime,
    connect_runtime,
    disconnect_runtime,
    provide_implicit,
)
from nalar.errors import UsageError
from nalar.faults.plan import FAULT, Faults
from nalar.faults.plan import from_environment as planned_faults
from nalar.faults.ports import faulty_agents, faulty_backend
from nalar.futures import Future
from nalar.ids import AgentName
from nalar.loops import LoopThread, new_loop
from nalar.processes.host import Host
from nalar.processes.worker_process import Ending, serve_until_stopped
from nalar.settings import Settings, from_environment
from nalar.sim.virtual_time import LoopClock, VirtualTimeLoop
from nalar.statestore.jetstream import open_jetstream
from nalar.statestore.memory import open_memory

log = logging.getLogger("nalar.serve")


class Connection:
    """A runtime that is about to be connected: `async with` on a loop, `with` anywhere else."""

    def __init__(
        self,
        open_backend: Callable[[], Awaitable[Backend]],
        settings: Settings,
        *,
        local: bool = False,
        make_loop: Callable[[], asyncio.AbstractEventLoop] = new_loop,
        make_clock: Callable[[], Clock] = SystemClock,
    ) -> None:
        self._open_backend = open_backend
        self._settings = settings
        self._local = local
        self._make_loop = make_loop
        self._make_clock = make_clock
        self._host: Host | None = None
        self._runtime: Runtime | None = None
        self._thread: LoopThread | None = None

    async def __aenter__(self) -> Client:
        if self._host is not None:
            raise UsageError("this connection is open already")
        faults = planned_faults(os.environ)
        backend, settings = await _opened(self._open_backend, self._settings, faults)
        host = self._host = await Host(backend, settings, self._make_clock()).__aenter__()
        self._runtime = LocalRuntime(host) if self._local else host.calls
        connect_runtime(self._runtime)
        return Client(host)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        host, self._host = self._host, None
        if host is None or self._runtime is None:
            return
        disconnect_runtime(self._runtime)
        if self._local:
            await host.drain(grace_s=0 if error is not None else None)
        await host.close()

    @property
    def runtime(self) -> Runtime:
        """Where calls go while the connection is open."""
        if self._runtime is None:
            raise UsageError("this connection is not open")
        return self._runtime

    def __await__(self) -> Any:
        return self.__aenter__().__await__()

    def __enter__(self) -> SyncClient:
        thread = self._thread = LoopThread(self._make_loop)
        try:
            return SyncClient(thread.run(self.__aenter__()), thread)
        except BaseException:
            thread.stop()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.run(self.__aexit__(kind, error, traceback))
            thread.stop()


class LocalRuntime:
    """The runtime of `nalar.local()`: what is called is served, right here."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._served: dict[AgentName, AgentSpec] = {}
        host.calls.runtime = self

    def call(
        self,
        spec: MethodSpec,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: CallOptions = DEFAULT_OPTIONS,
    ) -> Future[Any]:
        """Serve the agent when it is called for the first time, and make the call.

        Raises UsageError when another agent is served here under the same name.
        """
        owner = REGISTRY.owner(spec)
        served = self._served.get(spec.agent)
        if served is owner:
            return self._host.calls.call(spec, args, kwargs, options)
        if served is not None and REGISTRY.stands(served):
            raise torn(served, owner)
        future = self._host.calls.call(spec, args, kwargs, options)
        self._served[spec.agent] = owner
        serving = asyncio.run_coroutine_threadsafe(self._host.serve([owner]), self._loop)
        serving.add_done_callback(partial(self._begun, future))
        return future

    def _begun(self, future: Future[Any], serving: concurrent.futures.Future[Any]) -> None:
        """Fail the call that its agent could not be served for; the next one tries again."""
        if not serving.cancelled() and (error := serving.exception()) is not None:
            if future.ref is not None:
                self._served.pop(future.ref.agent, None)
            future.fail(error)


def connect(url: str | None = None, *, settings: Settings | None = None) -> Connection:
    """Connect to a broker: `async with nalar.connect():`, or `with` in scripts and notebooks.

    Inside, calls on stubs go to the workers that serve them. Without a `url`, the environment
    says where (NATS_URL, NATS_CREDS, ... as the `nats` tool knows them), else
    nats://127.0.0.1:4222. Raises Unavailable, saying what was tried, when no server answers.
    """
    chosen = settings or from_environment(os.environ, url=url)
    return Connection(lambda: open_jetstream(chosen), chosen)


def local(*, virtual_time: bool = False, settings: Settings | None = None) -> Connection:
    """Run everything in this process, with no broker: `with nalar.local():`.

    With `virtual_time` (for tests, `with` only) waiting costs no time: the clock jumps to the
    next thing that happens.
    """
    chosen = settings or from_environment(os.environ, concurrency=64)

    async def open_backend() -> Backend:
        return open_memory(chosen)

    if virtual_time:
        return Connection(
            open_backend, chosen, local=True, make_loop=VirtualTimeLoop, make_clock=LoopClock
        )
    return Connection(open_backend, chosen, local=True)


async def run_worker(
    agents: Sequence[AgentSpec],
    settings: Settings,
    *,
    name: str = "",
    ready: Callable[[str], None] = lambda _: None,
) -> Ending:
    """Serve `agents` from this process until it is told to stop; see `serve_until_stopped`.

    Raises Unavailable, saying what was tried, when no server answers.
    """
    faults = planned_faults(os.environ)
    backend, chosen = await _opened(lambda: open_jetstream(settings), settings, faults)
    if faults is not None:
        agents = faulty_agents(agents, faults)
    return await serve_until_stopped(backend, agents, chosen, name=name, ready=ready)


async def run_controller(
    settings: Settings,
    policies: Sequence[str] = (),
    *,
    name: str = "",
    period_s: float = PERIOD_S,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Steer workers by `policies`, else by those that were applied, until cancelled.

    Raises UsageError for policies that cannot be meant, Unavailable, saying what was tried, when
    no server answers.
    """
    async with connect(settings=settings) as client:
        host = client.host
        controller = Controller(host.backend, host.clock, name=name, period_s=period_s)
        await controller.run(policies, ready=lambda: ready(controller.name))


@contextlib.asynccontextmanager
async def kept_house(settings: Settings, *, every_s: float = 600.0) -> AsyncGenerator[None]:
    """Keep storage bounded beside this block, every `every_s` seconds (see `housekeeping`)."""
    async with connect(settings=settings) as client:
        keeper = Housekeeper(client.host.backend, client.host.settings)
        # No task group: what goes wrong in the block comes out of it as it is.
        keeping = asyncio.get_running_loop().create_task(keeper.run(every_s))
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.wait({keeping})


async def _opened(
    open_backend: Callable[[], Awaitable[Backend]], settings: Settings, faults: Faults | None
) -> tuple[Backend, Settings]:
    """Open a backend, and return it with the settings that its cluster has agreed on."""
    backend = await open_backend()
    if faults is not None:
        log.warning("%s is set: this process fails on purpose: %s", FAULT, faults)
        backend = faulty_backend(backend, faults)
    try:
        return backend, await agreed(backend.control, settings)
    except BaseException:
        await backend.close()
        raise


_implicit: list[tuple[Connection, Runtime]] = []


def _implicit_runtime() -> Runtime:
    """Return the runtime for calls made with none connected; it lives as long as the program."""
    if not _implicit:
        connection = local()
        connection.__enter__()
        runtime = connection.runtime
        disconnect_runtime(runtime)
        _implicit.append((connection, runtime))
    return _implicit[0][1]


provide_implicit(_implicit_runtime)
