"""`nalar up`: all that `nalar.toml` says runs on this machine, with one command."""

import os
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nalar_cli import printing
from nalar_cli.arguments import InputError
from nalar_cli.options import Creds, Listing, Output, Server, Verbose, named_server, settings_of

if TYPE_CHECKING:
    from nalar.cluster.deployment import Deployment
    from nalar.processes.child import StopSignals
    from nalar.processes.manifest import Manifest
    from nalar.processes.node import Node
    from nalar.processes.pool import Pool
    from nalar.settings import Settings
    from nalar_cli.nodes import OfferMaker

#: Where the process is named that runs a file, beside the file.
_RUNNING = ".nalar"


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(epilog="Example: nalar up -f nalar.toml --check")(up)


def up(  # noqa: PLR0913, PLR0917 -- each is an option
    file: Annotated[
        Path, typer.Option("--file", "-f", metavar="FILE", help="What is to run.")
    ] = Path("nalar.toml"),
    check: Annotated[
        bool, typer.Option("--check", help="Start nothing: say what would run, or what is wrong.")
    ] = False,
    renew: Annotated[
        bool,
        typer.Option("--renew", help="Of what runs already: start fresh workers, with new code."),
    ] = False,
    output: Listing = Output.table,
    server: Server = None,
    creds: Creds = None,
    verbose: Verbose = False,
) -> None:
    """Run what a file says until Ctrl-C, then drain it all.

    A server if the file wants one, a node with its workers, and a controller if there are policies.
    What the file names is relative to its folder. After a change `nalar up` again, or SIGHUP,
    applies what is different.
    """
    import asyncio
    import logging

    level = logging.DEBUG if verbose else logging.INFO
    printing.log_to_stderr(level)
    path = file.resolve()
    manifest, deployed = _read(path, str(file))
    if check:
        _show(deployed, output)
        return
    os.chdir(path.parent)
    with _only_one(path) as other:
        if other:
            _tell_other(other, file, renew=renew)
            return
        if renew:
            raise InputError(f"--renew is for what runs already, and nothing runs {file}")
        for name, value in manifest.settings.items():
            os.environ.setdefault(f"NALAR_SET_{name.upper()}", value)
        run = _Run(path, str(file), manifest, server, creds, level)
        raise typer.Exit(asyncio.run(run.until_stopped(deployed)))


def _read(path: Path, shown: str) -> "tuple[Manifest, list[Deployment]]":
    """Read a file and load what it names; raises InputError, or what is wrong with it."""
    from nalar.processes.manifest import deployed, parse_manifest
    from nalar_cli.nodes import declared_in

    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{shown} is no text: {error}") from error
    except OSError as error:
        raise InputError(f"{shown}: {error.strerror or error}") from error
    manifest = parse_manifest(text, shown)
    declared = declared_in(manifest.modules, path.parent, manifest.policies)
    return manifest, deployed(manifest, declared, shown)


def _show(deployed: "list[Deployment]", output: Output) -> None:
    rows = [
        {
            "name": it.group.name,
            "module": it.module,
            "agents": list(it.group.agents),
            "replicas": it.group.workers,
            "min": it.group.min,
            "max": "" if it.group.max is None and output is Output.table else it.group.max,
            "resources": dict(it.group.resources),
        }
        for it in deployed
    ]
    printing.listing(rows, ["name", "replicas", "min", "max", "module", "agents"], output)


# One process for each file.


@contextmanager
def _only_one(path: Path) -> "Generator[int]":
    """Make sure that one process runs a file; yield the id of another one that does, or 0."""
    import fcntl

    from nalar_cli.serving import prepared_store

    lock = prepared_store(Path(_RUNNING)) / f"{path.stem}.pid"
    with lock.open("a+", encoding="utf-8") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            held.seek(0)
            pid = held.read().strip()
            if not pid.isdecimal():
                raise InputError(f"{path.name} is being run by another process") from None
            yield int(pid)
            return
        held.truncate(0)
        held.write(str(os.getpid()))
        held.flush()
        yield 0


def _tell_other(pid: int, file: Path, *, renew: bool) -> None:
    import signal

    try:
        os.kill(pid, signal.SIGUSR1 if renew else signal.SIGHUP)
    except OSError as error:
        raise InputError(f"{file} is run by process {pid}: {error.strerror}") from error
    what = "start fresh workers" if renew else "apply what is different"
    printing.note(f"{file} is run by process {pid}: told it to {what}")


# Running.


class _Run:
    """What runs of one file."""

    def __init__(
        self,
        path: Path,
        shown: str,
        manifest: "Manifest",
        server: str | None,
        creds: str | None,
        level: int,
    ) -> None:
        table = manifest.server
        self._path = path
        self._shown = shown
        self._manifest = manifest
        #: Where the server is; None while none is started.
        self._url = server or (table.url if table else named_server(None)) or None
        self._creds = creds or (table.creds if table else "") or None
        self._level = level

    async def until_stopped(self, deployed: "list[Deployment]") -> int:
        """Run it all until the user stops it; return the exit code."""
        from nalar.processes.child import StopSignals
        from nalar_cli.serving import tell_server_died

        # Last in, first out: a server is not taken from what drains.
        with StopSignals().caught() as stop:
            async with AsyncExitStack() as stack:
                embedded = await self._start_server(stack) if self._url is None else None
                await self._serve(deployed, stop, embedded)
                if embedded is not None and not embedded.running:
                    return tell_server_died(embedded.url)
        return 0

    async def _start_server(self, stack: AsyncExitStack) -> Any:
        from nalar.processes.child import embedded_server
        from nalar.processes.manifest import ServerTable
        from nalar.serve import kept_house
        from nalar_cli.serving import prepared_store

        table = self._manifest.server or ServerTable()
        store = prepared_store(Path(table.store))
        always = table.sync == "always"
        running = await stack.enter_async_context(
            embedded_server(store, port=table.port, sync_always=always)
        )
        self._url = running.url
        await stack.enter_async_context(kept_house(settings_of(running.url, None)))
        return running

    async def _serve(
        self, deployed: "list[Deployment]", stop: "StopSignals", embedded: Any
    ) -> None:
        import asyncio
        import signal

        from nalar.processes.node import Node, machine
        from nalar.serve import connect
        from nalar.settings import without_secrets
        from nalar_cli.nodes import OfferMaker, node_name, room
        from nalar_cli.serving import until_server_ends

        settings, table = settings_of(self._url, self._creds), self._manifest.node
        about = machine(node_name(table.name), table.max_workers or room(), dict(table.resources))
        maker = OfferMaker(about.node, settings, self._creds, None, self._level)
        loop, again = asyncio.get_running_loop(), asyncio.Event()
        stop.on(signal.SIGHUP, again.set)
        async with connect(settings=settings) as client, AsyncExitStack() as stack:
            node = Node(client.host.backend, client.host.settings, about, stop)
            stop.on(signal.SIGUSR1, node.renew)
            control = _Control(self._creds, settings, stop)
            stack.push_async_callback(control.end)
            await control.steer_by(self._manifest.policies)
            beside = [
                loop.create_task(self._apply_changes(again, node, maker, control)),
                loop.create_task(_end_first(control, stop)),
            ]
            if embedded is not None:
                beside.append(loop.create_task(until_server_ends(embedded, stop.asked)))
                beside[-1].add_done_callback(lambda _: stop.asked.set())
            where = without_secrets(settings.url)
            printing.note(f"{self._shown} runs on {where} as node {node.name}; Ctrl-C drains it")
            try:
                await node.run(maker.offers(deployed))
            finally:
                for task in beside:
                    task.cancel()

    async def _apply_changes(
        self, again: Any, node: "Node", maker: "OfferMaker", control: "_Control"
    ) -> None:
        """Read the file again whenever that is asked for, and do what it says now."""
        import asyncio
        import logging

        from nalar.errors import NalarError

        log = logging.getLogger("nalar.up")
        while True:
            await again.wait()
            again.clear()
            try:
                manifest, deployed = await asyncio.to_thread(_read, self._path, self._shown)
            except (InputError, NalarError, OSError) as error:
                log.error("%s is not applied, what runs goes on: %s", self._shown, error)  # noqa: TRY400 -- the message says it all
                continue
            before, self._manifest = self._manifest, manifest
            for table in ("server", "node", "settings"):
                if getattr(before, table) != getattr(manifest, table):
                    log.warning("[%s] of %s: takes effect at the next start", table, self._shown)
            node.offer(maker.offers(deployed))
            await control.steer_by(manifest.policies)
            log.info("%s is applied", self._shown)


async def _end_first(control: "_Control", stop: "StopSignals") -> None:
    """End the controller when all is to stop: what drains needs no directives."""
    await stop.asked.wait()
    await control.end()


class _Control:
    """The controller process of a file, if it has policies."""

    def __init__(self, creds: str | None, settings: "Settings", stop: "StopSignals") -> None:
        self._words = ["controller", *(["--creds", creds] if creds else [])]
        self._settings = settings
        self._stop = stop
        self._policies: tuple[str, ...] = ()
        self._pool: Pool | None = None

    async def steer_by(self, policies: tuple[str, ...]) -> None:
        """Have a controller run these policies from now on; none without any."""
        from dataclasses import replace

        from nalar.processes.pool import Pool
        from nalar_cli.serving import command_of

        if policies == self._policies:
            return
        await self.end()
        self._policies = policies
        if policies:
            asked = [word for policy in policies for word in ("--policy", policy)]
            command = command_of([*self._words, *asked], self._settings)
            command = replace(command, insistent=True, what="controller")
            self._pool = Pool(command, 1, self._stop)
            self._pool.resize(1)

    async def end(self) -> None:
        """End it; with none alive, work goes on as it was directed."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.stop()
