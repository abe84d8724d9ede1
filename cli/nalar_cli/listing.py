"""`nalar agents ls`, `workers ls`, `sessions ls` and `get`: what is there."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nalar_cli import printing
from nalar_cli.calling import with_client
from nalar_cli.cells import json_cell, line
from nalar_cli.options import Creds, Listing, Output, Server, settings_of

if TYPE_CHECKING:
    from nalar.client.client import Client


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    groups = {
        "agents": ("Agents, tools and workflows that are served.", [("ls", agents)]),
        "workers": ("Workers that are alive.", [("ls", workers)]),
        "sessions": ("Sessions and their state.", [("ls", sessions), ("get", session)]),
    }
    for name, (about, commands) in groups.items():
        group = typer.Typer(name=name, help=about, no_args_is_help=True)
        for verb, command in commands:
            more = " Barista corner" if verb == "get" else ""
            group.command(name=verb, epilog=f"Example: nalar {name} {verb}{more} -o json")(command)
        app.add_typer(group)


def agents(output: Listing = Output.table, server: Server = None, creds: Creds = None) -> None:
    """List what is served, and by how many workers."""

    async def work(client: "Client") -> list[dict[str, Any]]:
        alive = await client.workers()
        return [
            told
            | {
                "state": told["hints"]["stateful"],
                "calls": list(told["methods"]) if told["kind"] == "agent" else [],
                "workers": sum(told["name"] in worker["agents"] for worker in alive),
            }
            for told in await client.agents()
        ]

    rows = with_client(settings_of(server, creds), work)
    printing.listing(rows, ["name", "kind", "calls", "state", "workers"], output)


def workers(output: Listing = Output.table, server: Server = None, creds: Creds = None) -> None:
    """List the workers that are alive, and what they do."""

    async def work(client: "Client") -> list[dict[str, Any]]:
        return await client.workers()

    rows = with_client(settings_of(server, creds), work)
    columns = ["worker", "host", "pid", "running", "queued", "parked", "waiting", "finished"]
    blocked = [column for column in ("blocked_s", "blocked_in") if any(column in it for it in rows)]
    printing.listing(rows, [*columns, *blocked, "agents"], output)


def sessions(
    agent: Annotated[str, typer.Option("--agent", metavar="NAME", help="Of this agent only.")] = "",
    limit: Annotated[
        int, typer.Option("--limit", min=1, metavar="N", help="Print so many at the most.")
    ] = 100,
    output: Listing = Output.table,
    server: Server = None,
    creds: Creds = None,
) -> None:
    """List the sessions that have a record.

    Looks through the keys of all calls of stateful agents that the ledger remembers: where there
    are millions it takes seconds, and --agent makes it quicker.
    """

    async def work(client: "Client") -> list[tuple[str, str]]:
        if agent:
            await client.agent(agent)
        return await client.sessions(agent)

    found = with_client(settings_of(server, creds), work)
    rows = [{"agent": of, "session": name} for of, name in found[:limit]]
    printing.listing(rows, ["agent", "session"], output)
    if len(found) > limit:
        printing.note(f"{len(found) - limit:,} more: --limit {len(found)} prints all")


def session(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="The agent's name.")],
    name: Annotated[str, typer.Argument(metavar="SESSION", help="The session's name.")],
    output: Listing = Output.table,
    server: Server = None,
    creds: Creds = None,
) -> None:
    """Show the committed state of a session.

    Reads its snapshot and the calls since; a session that has none yet (one is written now and
    then) is computed from all its calls.
    """

    async def work(client: "Client") -> Any:
        told = await client.agent(agent)
        return told["hints"]["stateful"], await client.session(agent, name)

    stateful, view = with_client(settings_of(server, creds), work)
    if output is Output.json:
        told = {"agent": agent, "session": name, "revision": view.revision, "state": view.state}
        printing.result(told)
        return
    if not view.revision:
        printing.note(
            f"session {line(name)} of {agent} has no record yet"
            + ("" if stateful else ": it keeps no state")
        )
    rows = [{"field": field, "value": json_cell(value)} for field, value in view.state.items()]
    printing.listing(rows, ["field", "value"], output)
