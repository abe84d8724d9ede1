"""`nalar run` and `nalar dev`: server, workers and caller on this machine, with one command."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nalar_cli import printing
from nalar_cli.arguments import Arguments, given, parse_module_target
from nalar_cli.options import (
    Concurrency,
    Creds,
    Json,
    Port,
    Processes,
    Server,
    Session,
    Sync,
    SyncOption,
    Tenant,
    Timeout,
    Verbose,
    named_server,
    settings_of,
)

if TYPE_CHECKING:
    from nalar.agents.stub import Stub
    from nalar.context import CallOptions
    from nalar.processes.child import StopSignals
    from nalar.processes.pool import Pool
    from nalar.settings import Settings

#: How long workers of a run may take to end when nothing outlives it, in seconds.
_LEAVE_S = 2.0

StoreDir = Annotated[
    Path | None, typer.Option("--store", metavar="DIR", help="Where the server keeps everything.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(epilog='Example: nalar run flows.py:report --json \'{"tickers": ["ACME"]}\'')(run)
    app.command(epilog="Example: nalar dev flows.py --reload")(dev)


def run(  # noqa: PLR0913, PLR0917 -- each is an option
    target: Annotated[
        str,
        typer.Argument(metavar="MODULE:WORKFLOW", help="A file or dotted name, and what in it."),
    ],
    arguments: Json = "",
    session: Session = None,
    tenant: Tenant = None,
    timeout: Timeout = None,
    processes: Processes = 1,
    concurrency: Concurrency = None,
    store: StoreDir = None,
    server: Server = None,
    creds: Creds = None,
    verbose: Verbose = False,
) -> None:
    """Serve a workflow, run it once, and print its result as JSON.

    Starts a nats-server of its own and worker processes, and ends them afterwards. What the
    server stored is thrown away unless --store says where to keep it. With --server or NATS_URL
    it uses that server instead.
    """
    import asyncio
    import logging

    from nalar_cli.calling import call_options, stub_of

    level = logging.DEBUG if verbose else logging.WARNING
    printing.log_to_stderr(level)
    told, what = given(arguments), parse_module_target(target)
    options = call_options(session=session, tenant=tenant)
    stub, name = stub_of(what, told)
    assert stub is not None, "a module was given"
    job = _Job(target, stub, name, told, options, timeout)
    where = _Where(named_server(server), creds, store, processes, concurrency, level=level)
    raise typer.Exit(asyncio.run(_run(job, where)))


@dataclass(frozen=True, slots=True)
class _Job:
    """What to run."""

    target: str
    stub: "Stub[..., Any]"
    name: str
    told: Arguments
    options: "CallOptions"
    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class _Where:
    """What to run it on."""

    server: str | None
    creds: str | None
    store: Path | None
    processes: int
    concurrency: int | None
    port: int = 0
    sync_always: bool = True
    #: What workers log.
    level: int = 0

    @property
    def temporary(self) -> bool:
        """Whether nothing outlives the command."""
        return self.server is None and self.store is None

    def pool(
        self,
        modules: list[str],
        settings: "Settings",
        stop: "StopSignals",
        say: Callable[[str], None] | None = None,
    ) -> "Pool":
        """Return worker processes that serve `modules` on the server of `settings`."""
        from nalar.processes.pool import Pool
        from nalar_cli.serving import command_of, worker_words

        words = worker_words(modules, self.creds, concurrency=self.concurrency, level=self.level)
        return Pool(command_of(words, settings, say), self.processes, stop)

    async def start_server(self, stack: AsyncExitStack) -> Any:
        """Start the embedded server for as long as `stack` lasts."""
        from nalar.processes.child import embedded_server
        from nalar_cli.serving import prepared_store

        keep = None if self.store is None else prepared_store(self.store)
        sync_always = self.sync_always and keep is not None
        return await stack.enter_async_context(
            embedded_server(keep, port=self.port, sync_always=sync_always)
        )


async def _run(job: _Job, where: _Where) -> int:
    from nalar.processes.child import Stopped, StopSignals

    progress = printing.Progress(job.name)
    with StopSignals().caught() as stop:
        async with AsyncExitStack() as stack:
            server = where.server or (await where.start_server(stack)).url
            settings = settings_of(server, where.creds, concurrency=where.concurrency)
            pool = where.pool([job.target], settings, stop, progress.say)
            await stack.enter_async_context(pool)
            try:
                with progress.shown():
                    value = await pool.during(
                        _result(job, settings, progress, lasting=not where.temporary)
                    )
            except Stopped:
                printing.note("interrupted")
                return stop.exit_code
            finally:
                # With a temporary store nothing that still runs can matter to anyone.
                await pool.stop(within_s=_LEAVE_S if where.temporary else None)
        printing.result(value)
        return 0


async def _result(
    job: _Job, settings: "Settings", progress: printing.Progress, *, lasting: bool
) -> object:
    from nalar.serve import connect
    from nalar_cli.calling import awaited, requested, run_of

    async with connect(settings=settings) as client:
        future = await requested(client, job.stub, job.told, job.options)
        progress.says("waiting for a worker")
        watching = client.follow(run_of(future), progress.counted)
        try:
            return await awaited(future, job.name, job.timeout_s, stub=job.stub, lasting=lasting)
        finally:
            watching.close()


def dev(  # noqa: PLR0913, PLR0917 -- each is an option
    modules: Annotated[
        list[str], typer.Argument(metavar="MODULE...", help="Files or dotted names to serve.")
    ],
    reload: Annotated[
        bool, typer.Option("--reload", help="Serve the new code whenever a file changes.")
    ] = False,
    processes: Processes = 1,
    concurrency: Concurrency = None,
    port: Port = 4222,
    store: StoreDir = None,
    sync: SyncOption = Sync.default,
    verbose: Verbose = False,
) -> None:
    """Serve agents here, with a server of its own, as you edit them.

    The server keeps its store in .nalar between runs: sessions survive a restart.
    """
    import asyncio
    import logging

    level = logging.DEBUG if verbose else logging.INFO
    printing.log_to_stderr(level)
    where = _Where(
        None, None, store or Path(".nalar"), processes, concurrency,
        port=port, sync_always=sync is Sync.always, level=level,
    )  # fmt: skip
    raise typer.Exit(asyncio.run(_dev(modules, where, reload=reload)))


async def _dev(modules: list[str], where: _Where, *, reload: bool) -> int:
    import asyncio

    from nalar.processes.child import Stopped, StopSignals
    from nalar_cli.serving import tell_server_died, until_server_ends

    watch = _changes_of(modules) if reload else None
    with StopSignals().caught() as stop:
        async with AsyncExitStack() as stack:
            server = await where.start_server(stack)
            settings = settings_of(server.url, None, concurrency=where.concurrency)
            pool = await stack.enter_async_context(where.pool(modules, settings, stop))
            try:
                await _say_when_ready(pool, settings, patient=reload)
            except Stopped:
                return 0
            if watch is not None:
                reloading = asyncio.get_running_loop().create_task(_reload(pool, watch(stop.asked)))
                stack.callback(reloading.cancel)
            await until_server_ends(server, stop.asked, None if reload else pool.check)
            return 0 if stop.asked.is_set() else tell_server_died(settings.url)


async def _say_when_ready(pool: "Pool", settings: "Settings", *, patient: bool) -> None:
    """Print what is served once it is; with `patient` a worker that refuses is not the end."""
    from nalar.processes.pool import WorkerRefused
    from nalar.serve import connect
    from nalar_cli.banner import told

    try:
        await pool.ready()
    except WorkerRefused:
        if not patient:
            raise
        printing.note("no worker could start: waiting for a file to change")
        return
    async with connect(settings=settings) as client:
        workers = await client.workers()
        served = {agent for worker in workers for agent in worker["agents"]}
        agents = [agent for agent in await client.agents() if agent["name"] in served]
    printing.note(told(settings.url, agents))


def _changes_of(
    modules: list[str],
) -> Callable[[Any], AsyncGenerator[set[tuple[Any, str]], None]]:
    """Return what yields whenever Python files beside `modules` change, until an event is set."""
    from nalar_cli.arguments import InputError

    try:
        from watchfiles import PythonFilter, awatch  # pyright: ignore[reportUnknownVariableType] -- trio's
    except ImportError as error:
        raise InputError("--reload needs watchfiles: pip install 'nalar[dev]'") from error
    folders = {
        Path(name).resolve().parent if name.endswith(".py") else Path.cwd() for name in modules
    }
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"there is no folder {folder}")

    def watch(stop: Any) -> AsyncGenerator[set[tuple[Any, str]], None]:
        return awatch(*folders, watch_filter=PythonFilter(), stop_event=stop)

    return watch


async def _reload(pool: "Pool", changes: Any) -> None:
    """Put fresh workers in the place of the old ones at each change, until cancelled."""
    import logging

    from nalar.processes.child import Stopped
    from nalar.processes.pool import WorkerRefused

    log = logging.getLogger("nalar.dev")
    async for changed in changes:
        files = ",".join(sorted({Path(path).name for _, path in changed}))
        log.info("reloading changed=%s", files)
        pool.renew()
        try:
            await pool.ready()
        except WorkerRefused:
            log.warning("no worker could start, waiting for the next change")
        except Stopped:
            return
