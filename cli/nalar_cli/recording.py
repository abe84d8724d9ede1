"""`nalar traffic`: what was asked for lately, for `nalar simulate`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nalar_cli import printing
from nalar_cli.arguments import InputError, duration_s
from nalar_cli.calling import with_client
from nalar_cli.options import Creds, Server, settings_of

if TYPE_CHECKING:
    from nalar.client.client import Client


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        "traffic", epilog="Example: nalar traffic --since 2h traffic.jsonl; "
        "nalar simulate -w traffic.jsonl --compare pinned"
    )(recording)  # fmt: skip


def recording(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Where to write it; else it is printed.")
    ] = None,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="How far back: 90s, 10m, 2h, 1d.")
    ] = "1h",
    server: Server = None,
    creds: Creds = None,
) -> None:
    """Write requests of late as a workload for `nalar simulate`.

    Each request of the last hour, or of --since, with the calls that it made, how long each took
    once it had a slot, and what went on side by side; and who serves them now. Requests that have
    not ended are left out. No argument and no result is written.
    """
    since_s = duration_s("--since", since)

    async def work(client: "Client") -> list[dict[str, Any]]:
        from nalar.client.traffic import traffic

        return await traffic(client, since_s=since_s)

    lines = with_client(settings_of(server, creds), work)
    requests = sum("at" in line for line in lines)
    if not requests:
        raise InputError(f"no request ended in the last {since}: --since looks further back")
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    if file is None:
        printing.write(text)
        return
    try:
        file.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}") from error
    printing.note(f"wrote {requests:,} requests to {file}; try: nalar simulate -w {file}")
