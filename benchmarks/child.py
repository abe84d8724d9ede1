"""The child's end of a benchmark process: commands come as lines of JSON on standard input.

Ends when its standard input does, so that no process outlives the run that started it.
"""

import asyncio
import dataclasses
import os
import signal
import sys
import threading
from collections.abc import Mapping

import orjson

from benchmarks.load import Call, Load, drive


def say(told: object) -> None:
    """Write one line to whoever started this process."""
    sys.stdout.buffer.write(orjson.dumps(told) + b"\n")
    sys.stdout.buffer.flush()


async def obey(calls: Mapping[str, Call]) -> None:
    """Drive the loads that are asked for, one after the other, until the input ends."""
    say({"ready": os.getpid()})
    while line := await asyncio.to_thread(sys.stdin.buffer.readline):
        asked = orjson.loads(line)
        sample = await drive(calls[asked["call"]], Load(**asked["load"]))
        say(dataclasses.asdict(sample))


def end_with_input() -> None:
    """Have this process get SIGTERM when its standard input ends."""

    def wait() -> None:
        while sys.stdin.buffer.readline():
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="input", daemon=True).start()
