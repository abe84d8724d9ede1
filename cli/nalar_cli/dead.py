"""`nalar dlq`: the calls that failed for good, and what to do about them."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nalar_cli import printing
from nalar_cli.arguments import InputError
from nalar_cli.calling import with_client
from nalar_cli.options import Creds, Listing, Output, Server, settings_of

if TYPE_CHECKING:
    from nalar.calls.letters import DeadLetter
    from nalar.client.client import Client

#: Characters of a reason that a table shows.
_REASON_MAX = 100

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID...", help="As `dlq ls` shows them.")]
All = Annotated[bool, typer.Option("--all", help="All of them, or all of --agent.")]
AgentName = Annotated[str, typer.Option("--agent", metavar="NAME", help="Of this agent only.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group = typer.Typer(
        name="dlq",
        help="Dead letters: calls that failed for good.",
        no_args_is_help=True,
    )
    commands = {
        "ls": (ls, "nalar dlq ls --agent Analyst"),
        "show": (show, "nalar dlq show 019ab2… -o json"),
        "redrive": (
            redrive,
            "nalar dlq redrive 019ab2…, or nalar dlq redrive --all --agent Analyst",
        ),
        "purge": (purge, "nalar dlq purge 019ab2…, or nalar dlq purge --all -y"),
    }
    for verb, (command, example) in commands.items():
        group.command(name=verb, epilog=f"Example: {example}")(command)
    app.add_typer(group)


def ls(
    agent: AgentName = "",
    output: Listing = Output.table,
    server: Server = None,
    creds: Creds = None,
) -> None:
    """List dead letters, newest first."""

    async def work(client: "Client") -> "list[DeadLetter]":
        return await client.dead_letters(agent)

    rows = [_row(letter) for letter in with_client(settings_of(server, creds), work)]
    if output is Output.table:
        for row in rows:
            row["at"] = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["at"]))
            row["reason"] = _short(row["reason"])
    columns = ["id", "at", "target", "attempts", "reason", "redriven_as"]
    printing.listing(rows, columns, output)


def _row(letter: "DeadLetter") -> dict[str, Any]:
    return {
        "id": letter.id,
        "kind": letter.kind,
        "at": letter.at,
        "agent": letter.agent,
        "target": letter.target or f"({letter.kind})",
        "attempts": letter.attempts or "",
        "reason": letter.reason,
        "redriven_as": list(letter.redriven_as),
    }


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _REASON_MAX else f"{line[: _REASON_MAX - 1]}…"


def show(
    letter: Annotated[str, typer.Argument(metavar="ID", help="As `dlq ls` shows it.")],
    output: Listing = Output.table,
    server: Server = None,
    creds: Creds = None,
) -> None:
    """Show everything that is kept of one: its error, traceback and arguments."""
    from nalar.calls.letters import details

    async def work(client: "Client") -> tuple[float, dict[str, Any]]:
        found = await client.dead_letter(letter)
        return found.at, details(found)

    at, told = with_client(settings_of(server, creds), work)
    if output is Output.json:
        printing.result(told)
        return
    error: Any = told.pop("error", None)
    told["at"] = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    for name, value in told.items():
        if value not in ("", [], None):
            printing.write(f"{name:12} {value if isinstance(value, str) else _json(value)}")
    match error:
        case {"traceback": str(traceback)} if traceback:
            printing.write("")
            printing.write(traceback.rstrip())
        case _:
            pass


def _json(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


def redrive(
    ids: Ids = None,
    every: All = False,
    agent: AgentName = "",
    again: Annotated[
        bool, typer.Option("--again", help="Those that have been redriven before as well.")
    ] = False,
    server: Server = None,
    creds: Creds = None,
) -> None:
    """Make a new request of each, and print the new run ids."""
    _check_choice(ids, every=every, agent=agent)

    async def work(client: "Client") -> tuple[int, int]:
        chosen = ids or [
            letter.id
            for letter in await client.dead_letters(agent)
            if letter.kind == "call" and (again or not letter.redriven_as)
        ]
        failed = 0
        for name in chosen:
            failed += not await _redriven(client, name, again=again)
        return len(chosen), failed

    count, failed = with_client(settings_of(server, creds), work)
    printing.note(f"{count - failed} of {count} redriven; nalar result RUN shows how one ends")
    if failed:
        raise typer.Exit(1)


async def _redriven(client: "Client", name: str, *, again: bool) -> bool:
    from nalar.errors import UsageError

    try:
        run = await client.redrive(name, again=again)
    except UsageError as error:
        printing.error(str(error))
        return False
    printing.write(run)
    return True


def purge(
    ids: Ids = None,
    every: All = False,
    agent: AgentName = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    server: Server = None,
    creds: Creds = None,
) -> None:
    """Throw dead letters away for good; the records of the calls stay."""
    _check_choice(ids, every=every, agent=agent)
    settings = settings_of(server, creds)

    async def find(client: "Client") -> list[str]:
        if ids:
            return [(await client.dead_letter(name)).id for name in ids]
        return [letter.id for letter in await client.dead_letters(agent)]

    chosen = with_client(settings, find)
    if chosen and not yes:
        typer.confirm(f"Throw {len(chosen)} dead letters away?", abort=True, err=True)

    async def work(client: "Client") -> int:
        return await client.purge_dead(chosen)

    printing.note(f"{with_client(settings, work)} dead letters thrown away")


def _check_choice(ids: list[str] | None, *, every: bool, agent: str) -> None:
    if every == bool(ids):
        raise InputError("name dead letters by their ids, or say --all (with --agent NAME: of one)")
    if agent and not every:
        raise InputError("--agent goes with --all")
