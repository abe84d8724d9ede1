"""`nalar signal`: word from outside to a run that waits for it."""

from typing import TYPE_CHECKING, Annotated

import typer

from nalar_cli import printing
from nalar_cli.arguments import given_value
from nalar_cli.calling import with_client
from nalar_cli.options import Creds, Server, settings_of

if TYPE_CHECKING:
    from nalar.client.client import Client


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        name="signal", epilog="Example: nalar signal $RUN approval --json '{\"approved\": true}'"
    )(signal)


def signal(  # noqa: PLR0913, PLR0917 -- each is an option
    run: Annotated[str, typer.Argument(metavar="RUN", help="What `nalar submit` printed.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the run waits for.")],
    value: Annotated[
        str,
        typer.Option(
            "--json",
            metavar="JSON",
            help="The value that it is told, null unless given; '-' is stdin, '@FILE' a file.",
        ),
    ] = "",
    call: Annotated[
        str, typer.Option("--call", metavar="FUTURE", help="Tell this call of the run instead.")
    ] = "",
    key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key", metavar="KEY", help="Sent again with the same key, it is the same."
        ),
    ] = None,
    server: Server = None,
    creds: Creds = None,
) -> None:
    """Send a run a signal, for its nalar.wait_for(NAME).

    It may be sent before the run waits for it; each is taken once, in order.
    """
    told = given_value(value)

    async def work(client: "Client") -> None:
        await client.signal(run, name, told, call=call, key=key)

    with_client(settings_of(server, creds), work)
    printing.note(f"signal {name} is stored: run {run} takes it when it waits for it")
