"""`nalar worker` and `nalar server`: what stays in the foreground until it is stopped."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nalar_cli import printing
from nalar_cli.arguments import parse_names
from nalar_cli.options import (
    Concurrency,
    Creds,
    Port,
    Processes,
    Server,
    Sync,
    SyncOption,
    Verbose,
    settings_of,
)

if TYPE_CHECKING:
    from nalar.agents.spec import AgentSpec
    from nalar.processes.place import Command
    from nalar.settings import Settings

#: How often the server is looked at, in seconds.
_LOOK_S = 0.2


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(epilog="Example: nalar worker flows.py agents.py --agents Analyst -c 8")(worker)
    app.command(epilog="Example: nalar server --store /var/lib/nalar")(server)


def worker(  # noqa: PLR0913, PLR0917 -- each is an option
    modules: Annotated[
        list[str], typer.Argument(metavar="MODULE...", help="Files or dotted names to serve.")
    ],
    agents: Annotated[
        str | None, typer.Option("--agents", metavar="A,B", help="Serve these only; else all.")
    ] = None,
    concurrency: Concurrency = None,
    processes: Processes = 1,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Its name; {pid} becomes the process id.")
    ] = "",
    server: Server = None,
    creds: Creds = None,
    verbose: Verbose = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log warnings only.")] = False,
) -> None:
    """Serve agents until Ctrl-C or SIGTERM.

    Then running calls get time to finish, and queued ones go back to the queue. With several
    processes it supervises them: one that dies is started again. Code that was told to stop and
    does not (setting stop_grace_s) ends with its process: exit code 75, start another.
    """
    import logging

    from nalar.processes.child import stay_with_parent

    stay_with_parent()
    level = logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO
    printing.log_to_stderr(level)
    settings = settings_of(server, creds, concurrency=concurrency)
    if processes > 1:
        words = worker_words(modules, creds, concurrency=concurrency, level=level)
        words += ["--agents", agents] if agents is not None else []
        words += ["--name", name if "{pid}" in name else f"{name}-{{pid}}"] if name else []
        raise typer.Exit(_supervise(command_of(words, settings), processes))
    _with_fixed_hashes()
    chosen = _load(modules, [] if agents is None else parse_names(agents))
    raise typer.Exit(_serve(chosen, settings, name.replace("{pid}", str(os.getpid()))))


def server(
    port: Port = 4222,
    store: Annotated[
        Path, typer.Option("--store", metavar="DIR", help="Where it keeps everything.")
    ] = Path(".nalar"),
    sync: SyncOption = Sync.always,
) -> None:
    """Run the nats-server that comes with Nalar, in the foreground.

    It keeps house too: what snapshots cover and nobody can ask for any more is removed.
    """
    import asyncio

    async def run() -> int:
        from nalar.processes.child import StopSignals, embedded_server
        from nalar.serve import kept_house

        with StopSignals().caught() as stop:
            keep = prepared_store(store)
            async with (
                embedded_server(keep, port=port, sync_always=sync is Sync.always) as running,
                kept_house(settings_of(running.url, None)),
            ):
                printing.note(f"nats-server on {running.url}, store {keep}, sync {sync}")
                printing.note("Ctrl-C stops it")
                await until_server_ends(running, stop.asked)
                return 0 if stop.asked.is_set() else tell_server_died(running.url)

    raise typer.Exit(asyncio.run(run()))


# What `run` and `dev` use too.


def worker_words(
    modules: list[str], creds: str | None, *, concurrency: int | None, level: int
) -> list[str]:
    """Return the words of a `nalar worker` command for a child process.

    Where the server is, `command_of` tells it: not for all to read, it may hold a password.
    """
    import logging

    words = ["worker", *modules]
    words += ["--creds", creds] if creds else []
    words += ["--concurrency", str(concurrency)] if concurrency else []
    words += {logging.WARNING: ["--quiet"], logging.DEBUG: ["--verbose"]}.get(level, [])
    return words


def command_of(
    words: list[str], settings: "Settings", say: Callable[[str], None] | None = None
) -> "Command":
    """Return the command that runs `nalar` with `words` in a child process, on the same server."""
    from nalar.processes.place import Command

    argv, environ = command_line(words)
    environ["NALAR_SET_URL"] = settings.url
    return Command(argv, environ, grace_s=settings.grace_s, say=say)


def command_line(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return how a child process runs `nalar` with `words`, and what to add to its environment."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return [sys.executable, "-m", "nalar_cli", *words], {"PYTHONPATH": path}


def prepared_store(store: Path) -> Path:
    """Make the folder of a store, and keep it out of version control."""
    from nalar_cli.arguments import InputError

    try:
        if not store.exists():
            store.mkdir(parents=True, exist_ok=True)
        if not store.is_dir():
            raise InputError(f"--store {store} is a file: name a folder")
        ignore = store / ".gitignore"
        if not any(store.iterdir()):
            ignore.write_text("*\n", "utf-8")
    except OSError as error:
        raise InputError(f"--store {store}: {error.strerror or error}") from error
    return store


async def until_server_ends(
    running: Any, asked: Any, check: Callable[[], None] | None = None
) -> None:
    """Wait until the user wants to stop or the server has died; call `check` now and then."""
    import asyncio

    while running.running and not asked.is_set():
        if check is not None:
            check()
        try:
            async with asyncio.timeout(_LOOK_S):
                await asked.wait()
        except TimeoutError:
            continue


def tell_server_died(url: str) -> int:
    """Say that the server ended by itself, and return the exit code."""
    printing.error(
        f"the nats-server on {url} has ended by itself",
        "its log is nalar-server/server.log in its store",
    )
    return 1


# A worker.


def _with_fixed_hashes() -> None:
    """Begin again, in this process, with PYTHONHASHSEED=0: sets must not differ among workers."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 -- ourselves


def _load(modules: list[str], names: list[str]) -> "tuple[AgentSpec, ...]":
    from nalar.agents.loader import choose, load

    found = {spec.name: spec for module in modules for spec in load(module).agents}
    return choose(tuple(found.values()), names)


def _serve(agents: "tuple[AgentSpec, ...]", settings: "Settings", name: str) -> int:
    import asyncio
    import logging

    from nalar.loops import new_loop
    from nalar.processes.child import EXIT_RECYCLED, tell_ready
    from nalar.serve import run_worker
    from nalar.settings import without_secrets

    log = logging.getLogger("nalar.worker")
    # What agents print is read in a file or by a collector, also when this process is killed.
    if (reconfigure := getattr(sys.stdout, "reconfigure", None)) is not None:
        reconfigure(line_buffering=True)

    def ready(known_as: str) -> None:
        served = ",".join(agent.name for agent in agents)
        log.info(
            "worker ready name=%s pid=%d agents=%s concurrency=%d server=%s",
            known_as, os.getpid(), served, settings.concurrency,
            without_secrets(settings.url),
        )  # fmt: skip
        tell_ready(known_as)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        ending = runner.run(run_worker(agents, settings, name=name, ready=ready))
        log.info("worker stopped pid=%d abandoned=%d", os.getpid(), ending.abandoned)
        if ending.abandoned or ending.stuck:
            # Python would wait for threads, and for tasks that will not be cancelled.
            logging.shutdown()
            sys.stdout.flush()
            os._exit(EXIT_RECYCLED if ending.stuck else 0)
    return 0


def _supervise(command: "Command", processes: int) -> int:
    import asyncio
    import logging

    async def run() -> int:
        from nalar.processes.child import StopSignals
        from nalar.processes.pool import Pool

        with StopSignals().caught() as stop:
            async with Pool(command, processes, stop) as pool:
                await pool.until_stopped()
                logging.getLogger("nalar.worker").info(
                    "draining processes=%d grace=%gs", processes, command.grace_s
                )
        return 0

    return asyncio.run(run())
