"""Hears what the server announces as stored, and writes it down: it must stand for ever.

The bucket keeps one message a key, so a second record of a call would take the first one's place
and nobody could tell. What is announced while the connection is down is not heard. Imports nothing
of nalar. `python -m tests.chaos.witness URL FILE`; a line is a sequence and a key.
"""

import asyncio
import sys
from pathlib import Path
from typing import Final, TextIO

from nats.aio.msg import Msg

from tests.chaos import raw

_DONE: Final = "nalar.done."


async def listen(url: str, log: TextIO) -> None:
    """Listen until killed; the log begins once it listens."""

    async def announced(message: Msg) -> None:
        headers = message.headers or {}
        if "Nats-Marker-Reason" not in headers:
            key = "call." + message.subject.removeprefix(_DONE)
            log.write(f"{headers['Nats-Sequence']} {key}\n")

    client = await raw.connected(url)
    await client.subscribe(  # pyright: ignore[reportUnknownMemberType] -- its future
        f"{_DONE}>", cb=announced
    )
    await client.flush()
    log.write("0 listening\n")
    await asyncio.Event().wait()


def heard(path: Path) -> dict[int, str]:
    """Read what a witness heard: keys by sequence."""
    lines = [line.split(" ") for line in path.read_text().split("\n")[1:-1]]
    return {int(sequence): key for sequence, key in lines}


if __name__ == "__main__":
    with Path(sys.argv[2]).open("a", buffering=1) as file:
        asyncio.run(listen(sys.argv[1], file))
