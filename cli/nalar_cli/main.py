"""`nalar`: the commands, and how their errors are told."""

import sys
from typing import Annotated

import typer

from nalar_cli import (
    calling,
    cancelling,
    controlling,
    dead,
    listing,
    local,
    nodes,
    recording,
    routing,
    serving,
    signalling,
    simulating,
    steering,
    tools,
    up,
)
from nalar_cli.arguments import InputError
from nalar_cli.tools import version

#: What is returned when something that was typed cannot be meant.
EXIT_USAGE = 2
EXIT_FAILED = 1
#: The call has not ended within the time that was given; it goes on.
EXIT_NOT_YET = 3

#: The request was not let in: the agent sheds load.
EXIT_OVERLOADED = 4

app = typer.Typer(
    name="nalar",
    help=(
        "Serve agent workflows written in plain Python on NATS JetStream.\n\n"
        "Begin with: nalar run MODULE:WORKFLOW --json '{...}'. MODULE is a file or a dotted "
        "name.\n\n"
        "Exit codes: 0 done, 1 failed, 2 not understood, 3 not ended yet, 4 overloaded, "
        "130 interrupted."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich's help would cost a tenth of a second
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (
    local, serving, calling, signalling, cancelling, listing, dead, steering, controlling,
    routing, nodes, up, simulating, recording, tools,
):  # fmt: skip
    part.register(app)


def _tell_version(asked: bool) -> None:
    if asked:
        version()
        raise typer.Exit


@app.callback()
def _options_of_all(
    shown: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_tell_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command that `sys.argv` names and exit."""
    try:
        app(prog_name="nalar")
    except InputError as error:
        sys.exit(_tell_usage(str(error)))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 -- told, or raised again when it is a bug
        sys.exit(_tell(error))


def _tell_usage(message: str) -> int:
    from nalar_cli import printing

    command = " ".join(["nalar", *(word for word in sys.argv[1:2] if not word.startswith("-"))])
    printing.error(message, f"'{command} --help' shows how")
    return EXIT_USAGE


def _tell(error: Exception) -> int:
    """Print an error of the library and return the exit code; what is a bug is raised again."""
    from nalar_cli import printing
    from nalar_cli.cells import line

    if "nalar.errors" not in sys.modules:
        raise error
    from nalar.errors import CallError, CallTimeout, NalarError, Overloaded, UsageError

    if not isinstance(error, NalarError):
        raise error
    if isinstance(error, Overloaded):
        printing.error(
            str(error), "nothing of it has run: make the request again then, or not at all"
        )
        return EXIT_OVERLOADED
    if isinstance(error, CallError) or (isinstance(error, UsageError) and error.path):
        printing.failure(error)
        return EXIT_FAILED
    if isinstance(error, UsageError):
        return _tell_usage(str(error))
    notes = getattr(error, "__notes__", [])
    printing.error(str(error), _way_out(str(error)) or line("; ".join(notes)))
    return EXIT_NOT_YET if isinstance(error, CallTimeout) else EXIT_FAILED


def _way_out(message: str) -> str:
    """Return what to do about a server that is not there, or not ours."""
    if "is taken by another program" in message:
        return "stop what listens there, or take another port: --port PORT (0: any)"
    if message.startswith("no NATS server"):
        return (
            "start one with 'nalar dev MODULE' or 'nalar server', or say where it is with "
            "--server URL or NATS_URL"
        )
    return ""
