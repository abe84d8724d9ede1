"""What a session with a long history costs: `python -m benchmarks.long_session`.

Commits so many changes to one session, each after the other as a worker would, beside a process
that keeps house as `nalar server` does. At marks on the way it tells what the last commits took,
how long the log is, and how long the session takes to load into an empty process's memory.
`--unkept` leaves the housekeeping out.
"""

import argparse
import asyncio
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from nalar.bus.codec import encode_record
from nalar.bus.embedded import EmbeddedServer, ServerOptions
from nalar.clock import SystemClock
from nalar.ids import AgentName, FutureId, MethodName, Ref, RootId, SessionId
from nalar.messages import Payload, Record
from nalar.settings import Settings
from nalar.statestore.jetstream import JetStreamBackend, open_jetstream
from nalar.statestore.sessions import Session, Sessions

AGENT, SESSION = AgentName("Long"), SessionId("one")
LOADS = 20
#: Where it is told, and over how many commits before.
MARKS = (1_000, 10_000, 50_000, 100_000)
WINDOW = 1_000


async def commit(backend: JetStreamBackend, session: Session, number: int) -> None:
    """Commit one call that sets a field."""
    future, now_s = FutureId(secrets.token_hex(16)), SystemClock().now_s()
    ref = Ref("s", AGENT, SESSION, RootId(future), "caller", future)
    delta = b'{"count":[["set",%d]]}' % number
    record = Record(
        ref, MethodName("work"), SESSION, "succeeded", Payload(b"1"), None, Payload(b"{}"),
        Payload(delta), "w1", 1, now_s, now_s, now_s,
    )  # fmt: skip
    revision = await backend.ledger.commit(
        ref, encode_record(record), expected=session.fold.revision, ttl_s=1
    )
    session.fold.advance(revision, future, delta, now_s)
    session.unsaved += 1


async def tell(
    backend: JetStreamBackend, settings: Settings, number: int, took: list[float]
) -> None:
    """Print what the last commits took, and what a load takes now."""
    loads: list[float] = []
    for _ in range(LOADS):
        began = time.perf_counter()
        loaded = await Sessions(backend, settings).open(AGENT, SESSION)
        loads.append(time.perf_counter() - began)
        assert loaded.fold.state == {"count": number - 1}
        assert len(loaded.fold.committed) == number
    piece = await backend.ledger.oldest(AGENT, SESSION, count=1)
    print(
        f"{number:>9,} {piece.length:>8,} {statistics.median(took) * 1e3:>10.2f} "
        f"{statistics.quantiles(took, n=100)[98] * 1e3:>8.2f} {max(took) * 1e3:>8.2f} "
        f"{statistics.median(loads) * 1e3:>10.1f} {max(loads) * 1e3:>8.1f}"
    )


async def measure(commits: int, *, kept: bool, sync_always: bool) -> None:
    """Fill one session, and tell at each mark."""
    with tempfile.TemporaryDirectory() as store:
        options = ServerOptions(store=Path(store), sync_always=sync_always)
        async with EmbeddedServer(options) as server, keeper(server.url, kept=kept):
            settings = Settings(url=server.url)
            backend = await open_jetstream(settings)
            sessions = Sessions(backend, settings)
            session = await sessions.open(AGENT, SESSION)
            print("  commits      log  commit: ms      p99      max   load: ms      max")
            took: list[float] = []
            for number in range(1, commits + 1):
                began = time.perf_counter()
                await commit(backend, session, number - 1)
                took.append(time.perf_counter() - began)
                for due in sessions.unsaved():
                    await sessions.save(due, SystemClock().now_s())
                if number in MARKS or number == commits:
                    await tell(backend, settings, number, took[-WINDOW:])
            found = await backend.ledger.find(f"call.*.{AGENT}.*.*.*.*")
            assert len(found) == commits
            print(f"all {len(found):,} records are found; all commits took {sum(took):.0f} s")
            await backend.close()


@asynccontextmanager
async def keeper(url: str, *, kept: bool) -> AsyncGenerator[None]:
    """Keep house in a process of its own beside the block, as often as `nalar server` does."""
    if not kept:
        yield
        return
    words = ("-m", "nalar_cli", "housekeep", "--every", "600", "--server", url)
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        await process.stdout.readline()  # The first round is done; from now on it is told.
        yield
    finally:
        process.terminate()
        await process.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commits", type=int, default=100_000)
    parser.add_argument("--unkept", action="store_true", help="with nobody who keeps house")
    parser.add_argument("--sync-always", action="store_true")
    asked = parser.parse_args()
    asyncio.run(measure(asked.commits, kept=not asked.unkept, sync_always=asked.sync_always))
