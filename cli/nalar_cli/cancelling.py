"""`nalar cancel`: ending a run, or one call of it, before it has a result."""

from typing import TYPE_CHECKING, Annotated

import typer

from nalar_cli import printing
from nalar_cli.calling import with_client
from nalar_cli.options import Creds, Server, settings_of

if TYPE_CHECKING:
    from nalar.client.cancellations import Cancellation
    from nalar.client.client import Client

#: It had ended already, or the record is still to come: as everywhere (`nalar --help`).
_EXIT_TOO_LATE, _EXIT_NOT_YET = 1, 3


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        epilog="Example: nalar cancel $RUN, or nalar cancel $RUN --call 31f0… for one call of it"
    )(cancel)


def cancel(
    run: Annotated[str, typer.Argument(metavar="RUN", help="What `nalar submit` printed.")],
    call: Annotated[
        str,
        typer.Option("--call", metavar="FUTURE", help="End this call of it, and what it made."),
    ] = "",
    server: Server = None,
    creds: Creds = None,
) -> None:
    """Cancel a run with all its calls, or one of them.

    Says what came of it. Exit codes: 0 cancelled, 1 it had ended already, 3 asked for, but not
    ended yet.
    """

    async def work(client: "Client") -> "Cancellation":
        return await client.cancel(run, call)

    told: Cancellation = with_client(settings_of(server, creds), work)
    what = f"call {told.call} of run {run}" if call else f"run {run}"
    if told.done and not told.too_late:
        printing.note(f"{what} is cancelled")
    elif told.status:
        printing.note(f"{what} had ended already: {told.status}")
        raise typer.Exit(_EXIT_TOO_LATE)
    else:
        printing.note(
            f"{what} is to be cancelled: whichever worker has it, or gets it, will end it; none "
            "has said so yet (is the id right?)"
        )
        raise typer.Exit(_EXIT_NOT_YET)
