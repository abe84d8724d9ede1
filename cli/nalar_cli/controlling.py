"""`nalar controller` and `nalar policy ls|show|versions|apply|diff|rollback|log`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nalar_cli import printing
from nalar_cli.calling import with_client
from nalar_cli.options import Creds, Listing, Output, Server, Verbose, settings_of

if TYPE_CHECKING:
    from nalar.client.client import Client
    from nalar.cluster.policy_set import PolicySet

#: A policy in C code may stop all of a controller: then it ends, after so many seconds, so that
#: whoever keeps it alive starts another one.
_FROZEN_S = 20.0

Specs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[POLICY]...", help="NAME or MODULE:CLASS, with ,parameter=value; first goes first."
    ),
]
Policy = Annotated[
    list[str] | None,
    typer.Option(
        "--policy",
        "-p",
        metavar="NAME|MODULE:CLASS",
        help="What to run, with ,parameter=value; the first goes first. Else what was applied.",
    ),
]
Version = Annotated[
    int | None, typer.Argument(metavar="[VERSION]", help="As `nalar policy versions` shows it.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(epilog="Example: nalar controller -p head_of_line -p autoscale,target=0.7")(
        controller
    )
    group = typer.Typer(name="policy", help="Policies that controllers run.", no_args_is_help=True)
    for command, name, example in (
        (policies, "ls", "ls -o json"),
        (show, "show", "show 3"),
        (versions, "versions", "versions -o json"),
        (apply, "apply", "apply head_of_line srtf,step=3 mine.py:Mine"),
        (diff, "diff", "diff 3 5"),
        (rollback, "rollback", "rollback 3"),
        (decisions, "log", "log -n 50"),
    ):
        group.command(name=name, epilog=f"Example: nalar policy {example}")(command)
    app.add_typer(group)


def controller(
    policy: Policy = None,
    period: Annotated[
        float, typer.Option("--period", min=0.05, metavar="SECONDS", help="Between decisions.")
    ] = 0.5,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Its name.")] = "",
    server: Server = None,
    creds: Creds = None,
    verbose: Verbose = False,
) -> None:
    """Steer workers by policies, until Ctrl-C.

    Several may run: one leads, another takes over when it dies. Work goes on with none. Policies
    can be changed meanwhile: nalar policy apply.
    """
    import asyncio
    import logging

    from nalar.errors import UsageError
    from nalar.processes.child import end_when_frozen, stay_with_parent, tell_ready
    from nalar.serve import run_controller

    stay_with_parent()
    printing.log_to_stderr(logging.DEBUG if verbose else logging.INFO)
    log = logging.getLogger("nalar.controller")
    settings = settings_of(server, creds)

    def ready(known_as: str) -> None:
        log.info("controller ready name=%s server=%s", known_as, settings.url)
        tell_ready(known_as)

    async def run() -> None:
        from nalar.processes.child import StopSignals

        with StopSignals().caught() as stop:
            steering = asyncio.get_running_loop().create_task(
                run_controller(settings, policy or (), name=name, period_s=period, ready=ready)
            )
            watched = asyncio.get_running_loop().create_task(end_when_frozen(_FROZEN_S))
            asked = asyncio.get_running_loop().create_task(stop.asked.wait())
            await asyncio.wait([steering, asked], return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            watched.cancel()
            if not steering.done():
                steering.cancel()
            try:
                await steering
            except asyncio.CancelledError:
                log.info("controller stopped")

    try:
        asyncio.run(run())
    except* UsageError as errors:
        raise errors.exceptions[0] from None


def policies(output: Listing = Output.table, server: Server = None, creds: Creds = None) -> None:
    """List the policies there are, with their parameters, and which of them run."""
    from nalar.cluster.loading import parameters_of
    from nalar.cluster.policies.shipped import SHIPPED
    from nalar.cluster.policy_set import parse_spec
    from nalar.errors import Unavailable

    async def work(client: "Client") -> tuple[list[str], dict[str, Any] | None]:
        history = await client.policies.history()
        return list(history[-1].policies) if history else [], await client.policies.leader()

    running: list[str] = []
    leader: dict[str, Any] | None = None
    try:
        running, leader = with_client(settings_of(server, creds), work)
    except Unavailable as error:
        printing.note(f"which of them run is not known: {error}")
    named = {parse_spec(text).name: text for text in running}
    rows: list[dict[str, Any]] = [
        {
            "name": name, "runs": named.get(name, ""), "parameters": parameters_of(kind),
            "about": (kind.__doc__ or "").splitlines()[0],
        }
        for name, kind in SHIPPED.items()
    ]  # fmt: skip
    rows += [
        {"name": name, "runs": text, "parameters": {}, "about": "your own"}
        for name, text in named.items()
        if name not in SHIPPED
    ]
    if output is Output.table:
        for row in rows:
            row["defaults"] = " ".join(f"{key}={it}" for key, it in row["parameters"].items())
    printing.listing(
        rows,
        ["name", "runs", "defaults" if output is Output.table else "parameters", "about"],
        output,
    )
    if leader is not None:
        printing.note(
            f"led by {leader['name']} on {leader['host']}: {leader.get('decisions', 0)} decisions, "
            f"{leader.get('loop_ms', 0)} ms each, {leader.get('workers', 0)} workers"
        )
    elif running:
        printing.note("no controller runs; start one: nalar controller")


def show(
    version: Version = None,
    output: Listing = Output.table,
    server: Server = None,
    creds: Creds = None,
) -> None:
    """Show a version of the policies, the one that runs unless another is named."""

    async def work(client: "Client") -> "PolicySet":
        return await client.policies.version(version)

    _tell(with_client(settings_of(server, creds), work), output)


def versions(output: Listing = Output.table, server: Server = None, creds: Creds = None) -> None:
    """List the versions, the one that runs last, with who applied each, and why."""

    async def work(client: "Client") -> "list[PolicySet]":
        return await client.policies.history()

    rows = [_row(it) for it in with_client(settings_of(server, creds), work)]
    printing.listing(rows, ["version", "policies", "by", "note"], output)


def apply(
    policy: Specs = None,
    none: Annotated[bool, typer.Option("--none", help="Run no policy from now on.")] = False,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Kept with the version.")
    ] = "",
    output: Listing = Output.table,
    server: Server = None,
    creds: Creds = None,
) -> None:
    """Have these policies run from now on, in place of those that do.

    Controllers that run swap them at once. A file of your own must be there where they run.
    """
    from nalar.cluster.loading import make_policy
    from nalar_cli.arguments import InputError

    if none == bool(policy):
        raise InputError("name the policies to run, or say --none: one of the two")
    for text in policy or ():
        make_policy(text)  # What cannot be meant is told here, not in a controller's log.

    async def work(client: "Client") -> "PolicySet":
        return await client.policies.apply(policy or (), note=reason)

    _tell(with_client(settings_of(server, creds), work), output)


def diff(
    old: Annotated[int | None, typer.Argument(metavar="[OLD]", help="Else the one before.")] = None,
    new: Annotated[int | None, typer.Argument(metavar="[NEW]", help="Else what runs.")] = None,
    server: Server = None,
    creds: Creds = None,
) -> None:
    """Say what has changed from one version to another."""
    from nalar.cluster.policy_set import PolicySet, difference

    async def work(client: "Client") -> list[str]:
        to = await client.policies.version(new)
        number = to.version - 1 if old is None else old
        since = PolicySet(0, (), 0.0) if number == 0 else await client.policies.version(number)
        return difference(since, to)

    for line in with_client(settings_of(server, creds), work):
        printing.write(line)


def rollback(
    version: Version = None,
    output: Listing = Output.table,
    server: Server = None,
    creds: Creds = None,
) -> None:
    """Have an older version run again, the one before unless another is named."""

    async def work(client: "Client") -> "PolicySet":
        return await client.policies.rollback(version)

    _tell(with_client(settings_of(server, creds), work), output)


def decisions(
    count: Annotated[
        int, typer.Option("-n", min=1, max=10_000, metavar="N", help="So many at the most.")
    ] = 20,
    output: Listing = Output.table,
    server: Server = None,
    creds: Creds = None,
) -> None:
    """List what controllers have done in the last hour, and why; and what they refused."""
    from dataclasses import asdict

    async def work(client: "Client") -> list[dict[str, Any]]:
        return [asdict(it) for it in await client.decisions(count)]

    found: list[dict[str, Any]] = with_client(settings_of(server, creds), work)
    if output is Output.json:
        printing.result(found)
        return
    rows: list[dict[str, Any]] = []
    for decision in found:
        at = _clock(decision["at_s"])
        for name, why in decision["suspended"].items():
            rows.append({"at": at, "what": "suspended", "policy": name, "about": "", "why": why})
        for it in decision["done"]:
            what = "withdrew" if it["withdrawn"] else "directed"
            rows.append(
                {"at": at, "what": what, "policy": it["policy"], "about": it["key"],
                 "why": it["reason"]}
            )  # fmt: skip
        rows += [
            {"at": at, "what": "refused", "policy": it["policy"],
             "about": f"{it['first']} ({it['times']} times)", "why": it["reason"]}
            for it in decision["refused"]
        ]  # fmt: skip
    printing.listing(rows, ["at", "what", "policy", "about", "why"], output)


def _clock(at_s: float) -> str:
    from datetime import datetime

    return datetime.fromtimestamp(at_s).astimezone().strftime("%H:%M:%S")


def _row(known: "PolicySet") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(known) | {"policies": list(known.policies)}


def _tell(known: "PolicySet", output: Output) -> None:
    """Print one version: its policies in order, a line each."""
    if output is Output.json:
        printing.result(_row(known))
        return
    for policy in known.policies:
        printing.write(policy)
    by = f", applied by {known.by}" if known.by else ""
    note = f": {known.note}" if known.note else ""
    what = "" if known.policies else ", no policy"
    printing.note(f"version {known.version}{what}{by}{note}")
