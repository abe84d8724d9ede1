"""`nalar doctor`, `health`, `stubs`, `housekeep` and `version`."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nalar_cli import printing
from nalar_cli.arguments import InputError
from nalar_cli.calling import with_client
from nalar_cli.cells import line
from nalar_cli.options import Creds, Listing, Output, Server, settings_of

if TYPE_CHECKING:
    from nalar.client.client import Client
    from nalar.client.housekeeping import Swept
    from nalar.health import Health

_MARKS = {"ok": "ok   ", "wrong": "WRONG", "note": "note "}


class Language(StrEnum):
    """What stubs can be written in."""

    python = "python"
    typescript = "typescript"


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(epilog="Example: nalar doctor -s nats://queue.example:4222")(doctor)
    app.command(epilog="Example: nalar health --worker $HOSTNAME || echo not ready")(health)
    app.command(epilog="Example: nalar stubs flows.py --out flows_stubs.py")(stubs)
    app.command(epilog="Example: nalar housekeep --every 600")(housekeep)
    app.command()(version)


def doctor(output: Listing = Output.table, server: Server = None, creds: Creds = None) -> None:
    """Look for what is wrong, and say what to do.

    Exit code 1 if something is wrong.
    """
    import asyncio
    from dataclasses import asdict

    from nalar.diagnose import diagnose

    findings = asyncio.run(diagnose(settings_of(server, creds)))
    if output is Output.json:
        printing.result([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            printing.write(f"{_MARKS[finding.state]}  {line(finding.what)}")
            if finding.remedy:
                printing.write(f"       -> {line(finding.remedy)}")
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(1)


def health(
    worker: Annotated[
        str, typer.Option("--worker", metavar="NAME", help="This one, instead of all.")
    ] = "",
    output: Listing = Output.table,
    server: Server = None,
    creds: Creds = None,
) -> None:
    """Say whether workers are ready, for a readiness probe.

    Exit code 0 if the worker (without --worker: any) serves; 1 if it drains, its event loop is
    blocked, it is not alive, or the server does not answer. A worker that lost the server says
    afterwards how often, and for how long the last time.

    Make no liveness probe of it: a worker waits for a server that is away and goes on when it is
    back, and ends by itself when its code blocks for ever. To be started again would cost it its
    work.
    """
    from dataclasses import asdict

    from nalar.health import health_of

    async def work(client: "Client") -> "list[Health]":
        return await health_of(client, worker)

    found = with_client(settings_of(server, creds), work)
    columns = ["worker", "state", "why", "slots", "running", "queued", "reconnects", "away_s"]
    printing.listing([asdict(one) for one in found], columns, output)
    if not any(one.state == "ready" for one in found):
        raise typer.Exit(1)


def housekeep(
    every: Annotated[
        float | None,
        typer.Option(
            "--every", metavar="SECONDS", min=1, help="Again and again, until Ctrl-C; else once."
        ),
    ] = None,
    output: Listing = Output.table,
    server: Server = None,
    creds: Creds = None,
) -> None:
    """Remove what nobody can ask for: old logs, unused blobs. And archive long logs.

    `nalar server` does this by itself; run it where the NATS server is your own. It needs the
    right to purge streams. Several may run: they take turns.
    """
    from functools import partial

    from nalar.client.housekeeping import Housekeeper

    async def work(client: "Client") -> None:
        keeper = Housekeeper(client.host.backend, client.host.settings)
        if every is None:
            _tell_swept(await keeper.sweep(), output)
        else:
            await keeper.run(every, tell=partial(_tell_swept, output=output))

    with_client(settings_of(server, creds), work)


def _tell_swept(swept: "Swept | None", output: Output) -> None:
    from dataclasses import asdict

    if output is Output.json:
        printing.result(None if swept is None else asdict(swept))
    elif swept is None:
        printing.write("another keeper is at it")
    else:
        printing.write(
            f"{swept.sessions} sessions looked at, {swept.archived} entries archived, "
            f"{swept.entries} entries and {swept.blobs} blobs removed"
        )


def stubs(  # noqa: PLR0913, PLR0917 -- each is an option
    module: Annotated[
        str | None, typer.Argument(metavar="[MODULE]", help="A file or dotted name.")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="From what is served, without the source.")
    ] = False,
    lang: Annotated[Language, typer.Option("--lang", help="Language.")] = Language.python,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write here; else print.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 when --out is stale.")
    ] = False,
    server: Server = None,
    creds: Creds = None,
) -> None:
    """Write typed stubs, for callers without the agents' source."""
    if live == (module is not None):
        raise InputError("name a MODULE, or say --live: one of the two")
    if check and out is None:
        raise InputError("--check compares with a file: name it with --out FILE")
    text = _stubs_text(_described(module, server, creds), lang)
    if out is None:
        sys.stdout.write(text)
        return
    try:
        if check:
            _check(out, text)
            return
        out.write_text(text, "utf-8")
    except OSError as error:
        raise InputError(f"--out {out}: {error.strerror or error}") from error
    printing.note(f"wrote {out}")


def _check(out: Path, text: str) -> None:
    there = out.read_text("utf-8") if out.exists() else None
    if there == text:
        printing.note(f"{out} is up to date")
        return
    state = "is missing" if there is None else "is stale"
    printing.error(f"{out} {state}", "write it again: the same command without --check")
    raise typer.Exit(1)


def _described(module: str | None, server: str | None, creds: str | None) -> list[dict[str, Any]]:
    if module is not None:
        from nalar.agents.describe import describe_agent
        from nalar.agents.loader import load

        return [describe_agent(spec) for spec in load(module).agents]

    async def work(client: "Client") -> list[dict[str, Any]]:
        return await client.agents()

    return with_client(settings_of(server, creds), work)


def _stubs_text(descriptions: list[dict[str, Any]], lang: Language) -> str:
    from nalar.agents.stubgen import LANGUAGES

    return LANGUAGES[lang.value](descriptions)


def version() -> None:
    """Print the version."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    try:
        printing.write(f"nalar {version_of('nalar')}")
    except PackageNotFoundError:
        printing.write("nalar (from its source, not installed)")
