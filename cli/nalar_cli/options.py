"""Options that several commands share."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from nalar_cli.arguments import InputError

#: Long enough for any server that is there; the whole message comes within five seconds.
CONNECT_TIMEOUT_S = 2.0


class Output(StrEnum):
    """How a listing is printed."""

    table = "table"
    json = "json"


Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        "-s",
        metavar="URL",
        help="The NATS server; else NATS_URL, else nats://127.0.0.1:4222.",
    ),
]
Creds = Annotated[
    str | None,
    typer.Option("--creds", metavar="FILE", help="Credentials file; else NATS_CREDS."),
]
Listing = Annotated[Output, typer.Option("--output", "-o", help="How to print.")]
Json = Annotated[
    str,
    typer.Option(
        "--json",
        metavar="JSON",
        help="Arguments: an object by name or an array in order; '-' is stdin, '@FILE' a file.",
    ),
]
Session = Annotated[
    str | None, typer.Option("--session", metavar="NAME", help="The session it belongs to.")
]
Tenant = Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="On whose behalf.")]
Priority = Annotated[
    int | None, typer.Option("--priority", metavar="N", help="Higher runs sooner; 0 is normal.")
]
Key = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key",
        metavar="KEY",
        help="Names the request: made again with the same key, it is the same one.",
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        min=0,
        max=1e9,
        help="Wait no longer than this for the result.",
    ),
]
Stream = Annotated[
    bool,
    typer.Option("--stream", help="Print what the call yields while it runs, a line of JSON each."),
]
Concurrency = Annotated[
    int | None,
    typer.Option(
        "--concurrency", "-c", min=1, max=100_000, metavar="N", help="Calls at a time per process."
    ),
]
Processes = Annotated[
    int, typer.Option("--processes", min=1, max=256, metavar="N", help="Worker processes.")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")]
Port = Annotated[
    int, typer.Option("--port", min=0, max=65535, metavar="PORT", help="0: any that is free.")
]


class Sync(StrEnum):
    """When the server writes to disk."""

    always = "always"
    default = "default"


SyncOption = Annotated[
    Sync,
    typer.Option("--sync", help="always: before every acknowledgement; default: within minutes."),
]


def settings_of(server: str | None = None, creds: str | None = None, **more: Any) -> Any:
    """Return the settings that options and environment say."""
    from nalar.settings import from_environment

    if creds is not None and not Path(creds).is_file():
        raise InputError(f"--creds {creds}: there is no such file")
    if not os.environ.get("NALAR_SET_CONNECT_TIMEOUT_S"):
        more.setdefault("connect_timeout_s", CONNECT_TIMEOUT_S)
    return from_environment(os.environ, url=server, creds=creds, **more)


def named_server(server: str | None) -> str | None:
    """Return the server that the user has named, if any: by option or environment."""
    return server or os.environ.get("NATS_URL") or os.environ.get("NATS_SERVER") or None
