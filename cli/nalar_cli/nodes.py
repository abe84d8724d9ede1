"""`nalar node`, `nalar nodes ls` and `nalar scale`: machines, and how many workers they run."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nalar_cli import printing
from nalar_cli.arguments import InputError
from nalar_cli.calling import with_client
from nalar_cli.options import Concurrency, Creds, Listing, Output, Server, Verbose, settings_of

if TYPE_CHECKING:
    import subprocess

    from nalar.client.client import Client
    from nalar.cluster.deployment import Declared, Deployment
    from nalar.cluster.nodes import NodeEntry
    from nalar.processes.node import Offer
    from nalar.settings import Settings

#: Worker processes of a node for each core, unless it is told, and the fewest.
_PER_CORE, _ROOM_MIN = 4, 16
#: How long modules may take to load, models included, and how often it is said that they do; in
#: seconds.
_LOAD_MAX_S, _LOAD_TOLD_S = 120.0, 10.0


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(epilog="Example: nalar node flows.py --name box1 --resources GPU=2")(node)
    app.command(epilog="Example: nalar scale Analyst=4 search=2")(scale)
    app.command(hidden=True)(describe)
    group = typer.Typer(name="nodes", help="Machines that run workers.", no_args_is_help=True)
    group.command(name="ls", epilog="Example: nalar nodes ls -o json")(nodes)
    app.add_typer(group)


def node(  # noqa: PLR0913, PLR0917 -- each is an option
    modules: Annotated[
        list[str], typer.Argument(metavar="MODULE...", help="Files or dotted names to serve.")
    ],
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Its name; else that of this machine.")
    ] = "",
    max_workers: Annotated[
        int | None,
        typer.Option(
            "--max-workers", min=1, max=4096, metavar="N", help="Worker processes at the most."
        ),
    ] = None,
    resources: Annotated[
        str, typer.Option("--resources", metavar="GPU=2,...", help="What workers may use together.")
    ] = "",
    concurrency: Concurrency = None,
    server: Server = None,
    creds: Creds = None,
    verbose: Verbose = False,
) -> None:
    """Supervise the worker processes of this machine until Ctrl-C.

    Each agent gets workers of its own; tools and workflows of a module share theirs. How many says
    `nalar scale`, a policy, or the agent's min_instances and max_instances. Nodes of one cluster
    share the work; what a dead one did is started elsewhere. SIGHUP starts fresh workers.
    """
    import asyncio
    import logging

    from nalar.cluster.deployment import grouped
    from nalar.processes.node import machine

    level = logging.DEBUG if verbose else logging.INFO
    printing.log_to_stderr(level)
    settings = settings_of(server, creds, concurrency=concurrency)
    about = machine(node_name(name), max_workers or room(), amounts(resources))
    declared = declared_in(modules)
    deployed = [it for module in modules for it in grouped(module, declared[module])]
    maker = OfferMaker(about.node, settings, creds, concurrency, level)
    raise typer.Exit(asyncio.run(_node(about, settings, maker, deployed)))


async def _node(
    about: "NodeEntry", settings: "Settings", maker: "OfferMaker", deployed: "list[Deployment]"
) -> int:
    import signal

    from nalar.processes.child import StopSignals
    from nalar.processes.node import Node
    from nalar.serve import connect
    from nalar.settings import without_secrets

    with StopSignals().caught() as stop:
        async with connect(settings=settings) as client:
            running = Node(client.host.backend, client.host.settings, about, stop)
            stop.on(signal.SIGHUP, running.renew)
            served = ", ".join(it.group.name for it in deployed)
            where = without_secrets(settings.url)
            printing.note(f"node {about.node} on {where} runs {served}; Ctrl-C drains it")
            await running.run(maker.offers(deployed))
    return 0


def scale(
    counts: Annotated[
        list[str], typer.Argument(metavar="AGENT=N...", help="So many workers of an agent.")
    ],
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="Take it back: AGENT, without a number.")
    ] = False,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Kept with the directive.")
    ] = "",
    output: Listing = Output.table,
    server: Server = None,
    creds: Creds = None,
) -> None:
    """Say how many workers of an agent the nodes are to keep alive.

    Stands until it is withdrawn: policies do not change it meanwhile. An agent's min_instances and
    max_instances go before it; what shares its workers is scaled with it.
    """
    from dataclasses import asdict

    asked = _counts(counts, withdraw=withdraw)

    async def work(client: "Client") -> tuple[list[dict[str, Any]], bool]:
        offered = (await client.scaling.fleet()).agents
        for agent in asked:
            if agent not in offered:
                await client.agent(agent)
        found = [asdict(it) for it in await client.scaling.scale(asked, reason)]
        history = [] if withdraw else await client.policies.history()
        return found, bool(history and history[-1].policies)

    rows, has_policies = with_client(settings_of(server, creds), work)
    printing.listing(rows, ["agent", "was", "becomes", "serving"], output)
    for row in rows:
        if row["note"]:
            printing.note(f"{row['agent']}: {row['note']}")
    if has_policies:
        undo = f"nalar scale {' '.join(asked)} --withdraw"
        printing.note(f"no policy changes this before '{undo}' takes it back")


def nodes(output: Listing = Output.table, server: Server = None, creds: Creds = None) -> None:
    """List the machines that run workers, what they run, and what will not stay alive.

    `Analyst 2/3` is three workers that are kept alive, two of which serve.
    """

    async def work(client: "Client") -> list[dict[str, Any]]:
        from nalar.cluster.nodes import node_as_json

        return [node_as_json(it) for it in await client.nodes()]

    rows = [
        told
        | {
            "workers": f"{sum(it['held'] for it in told['groups'])}/{told['max_workers']}",
            "runs": [f"{it['name']} {it['ready']}/{it['held']}" for it in _shown(told)],
            "trouble": [
                f"{it['name']}: {it['ending']}, {it['failures']} times in a row"
                for it in told["groups"]
                if it["failures"]
            ],
        }
        for told in with_client(settings_of(server, creds), work)
    ]
    if output is Output.json:
        rows = [{key: row[key] for key in row if key not in ("runs", "v")} for row in rows]
    columns = ["node", "host", "pid", "workers", "runs"]
    columns += ["trouble"] if any(row["trouble"] for row in rows) else []
    columns += ["leaving"] if any(row["leaving"] for row in rows) else []
    printing.listing(rows, columns, output)


def _shown(told: dict[str, Any]) -> list[dict[str, Any]]:
    return [it for it in told["groups"] if it["held"] or it["failures"]]


def describe(
    modules: Annotated[list[str], typer.Argument(metavar="MODULE...")],
    policy: Annotated[list[str] | None, typer.Option("--policy", metavar="POLICY")] = None,
) -> None:
    """Print what modules declare, as JSON by module; a supervisor asks a child, for it lives long.

    What cannot be loaded has an error in the place of its agents, as has a policy that cannot be.
    """
    import json
    from dataclasses import asdict

    from nalar.agents.loader import load
    from nalar.cluster.loading import make_policy
    from nalar.errors import UsageError

    # What a module prints while it is loaded is not for who reads this.
    out = os.dup(1)
    os.dup2(2, 1)
    told: dict[str, Any] = {}
    for module in modules:
        try:
            told[module] = [
                {"name": it.name, "kind": it.kind, "hints": asdict(it.hints)}
                for it in load(module).agents
            ]
        except UsageError as error:
            told[module] = str(error)
    for text in policy or []:
        try:
            make_policy(text)
        except UsageError as error:
            told[text] = str(error)
    with os.fdopen(out, "w", encoding="utf-8") as to:
        json.dump(told, to)


# What `nalar up` uses too.


def declared_in(
    modules: Sequence[str], folder: Path | None = None, policies: Sequence[str] = ()
) -> "dict[str, list[Declared]]":
    """Return what modules declare, as seen from `folder`.

    Raises InputError for a module that cannot be loaded, and for a policy that cannot be made.

    They are loaded in another process: this one lives long and knows no user code, so that what
    it starts later loads what the files say then.
    """
    import json
    import subprocess

    from nalar.cluster.deployment import Declared
    from nalar_cli.serving import command_line

    asked = [word for policy in policies for word in ("--policy", policy)]
    argv, environ = command_line(["describe", *asked, "--", *modules])
    what = ", ".join(modules)
    child = subprocess.Popen(  # noqa: S603 -- ourselves
        argv, env=os.environ | environ, cwd=folder, stdout=subprocess.PIPE
    )
    with child:
        try:
            told_text = _heard_of(child, what)
        finally:
            child.kill()
    try:
        told: dict[str, Any] = json.loads(told_text)
    except ValueError:
        raise InputError(
            f"{what} ended the process that loaded it: code {child.returncode}"
        ) from None
    wrong = [it for it in told.values() if isinstance(it, str)]
    if wrong:
        raise InputError("\n".join(wrong))
    return {module: [Declared.of(it) for it in found] for module, found in told.items()}


def _heard_of(child: "subprocess.Popen[bytes]", what: str) -> bytes:
    """Return what the child says to its end; raises InputError for one that does not come to it."""
    import subprocess

    for number in range(int(_LOAD_MAX_S / _LOAD_TOLD_S)):
        if number:
            printing.note(f"{what}: still loading, for {number * _LOAD_TOLD_S:g} s")
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.communicate(timeout=_LOAD_TOLD_S)[0]
    raise InputError(
        f"loading {what} takes longer than {_LOAD_MAX_S:g} s: does it wait for something, or loop, "
        "as it is imported?"
    )


class OfferMaker:
    """Makes offers of deployments: the commands of their workers."""

    def __init__(
        self,
        node: str,
        settings: "Settings",
        creds: str | None,
        concurrency: int | None,
        level: int,
    ) -> None:
        self._node = node
        self._settings = settings
        self._creds = creds
        self._concurrency = concurrency
        self._level = level

    def offers(self, deployed: "Sequence[Deployment]") -> "list[Offer]":
        """Return what a node offers to run."""
        return [self._offer(it) for it in deployed]

    def _offer(self, it: "Deployment") -> "Offer":
        from dataclasses import replace

        from nalar.processes.node import Offer
        from nalar_cli.serving import command_of, worker_words

        concurrency = it.concurrency or self._concurrency
        words = worker_words([it.module], self._creds, concurrency=concurrency, level=self._level)
        words += ["--agents", ",".join(it.group.agents)]
        words += ["--name", f"{self._node}-{_as_name(it.group.name)}-{{pid}}"]
        # Somebody may mend the code meanwhile.
        command = replace(command_of(words, self._settings), insistent=True)
        return Offer(it.group, command)


def node_name(given: str) -> str:
    """Return the name of a node; raises InputError for one that cannot be."""
    import socket

    from nalar.ids import is_wire_token

    if given and not is_wire_token(given):
        raise InputError(f"--name {given!r}: letters, digits, - and _ only")
    return given or _as_name(socket.gethostname()) or "node"


def _as_name(text: str) -> str:
    return "".join(it if it.isascii() and (it.isalnum() or it in "-_") else "-" for it in text)


def room() -> int:
    """Return how many worker processes a node runs at the most, unless it is told."""
    return max(_ROOM_MIN, _PER_CORE * (os.cpu_count() or 1))


def amounts(text: str) -> dict[str, float]:
    """Return resources written `GPU=2,RAM=64`; raises InputError."""
    import math

    found: dict[str, float] = {}
    for part in filter(None, (it.strip() for it in text.split(","))):
        kind, _, amount = part.partition("=")
        try:
            found[kind.strip()] = float(amount)
        except ValueError:
            raise InputError(f"--resources {part!r}: NAME=AMOUNT, for instance GPU=2") from None
        if not kind.strip() or not 0 <= found[kind.strip()] < math.inf:
            raise InputError(f"--resources {part!r}: NAME=AMOUNT, an amount from 0 up")
    return found


def _counts(given: Sequence[str], *, withdraw: bool) -> dict[str, int | None]:
    """Return the workers that are asked for, by agent; None takes back what was."""
    found: dict[str, int | None] = {}
    for part in given:
        agent, equals, number = part.partition("=")
        if agent in found:
            raise InputError(f"{agent} is named twice: which number of workers holds?")
        if withdraw:
            if equals:
                raise InputError(f"{part}: --withdraw takes the agent alone: {agent}")
            found[agent] = None
        elif number.isascii() and number.isdecimal() and int(number) < 1 << 31:
            found[agent] = int(number)
        else:
            raise InputError(
                f"{part!r}: AGENT=N, N from 0 to {(1 << 31) - 1:,}; for instance "
                f"{agent or 'Analyst'}=4"
            )
    return found
