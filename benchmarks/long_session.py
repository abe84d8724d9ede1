"""How long a session with a long history takes to load: `python -m benchmarks.long_session`.

Commits so many changes to one session, each after the other as a worker would, and then loads it
into an empty process's memory several times.
"""

import argparse
import asyncio
import secrets
import statistics
import tempfile
import time
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


async def measure(commits: int) -> None:
    """Fill one session, then load it and print how long that took."""
    with tempfile.TemporaryDirectory() as store:
        options = ServerOptions(store=Path(store), sync_always=False)
        async with EmbeddedServer(options) as server:
            settings = Settings(url=server.url)
            backend = await open_jetstream(settings)
            sessions = Sessions(backend, settings)
            session = await sessions.open(AGENT, SESSION)
            for number in range(commits):
                await commit(backend, session, number)
                for due in sessions.unsaved():
                    await sessions.save(due, SystemClock().now_s())
            took_ms: list[float] = []
            for _ in range(LOADS):
                began = time.perf_counter()
                loaded = await Sessions(backend, settings).open(AGENT, SESSION)
                took_ms.append((time.perf_counter() - began) * 1000)
                assert loaded.fold.state == {"count": commits - 1}
                assert len(loaded.fold.committed) == commits
            await backend.close()
    print(
        f"{commits:,} commits; snapshot of {session.size:,} bytes, {session.unsaved} entries after "
        f"it; load: median {statistics.median(took_ms):.1f} ms, longest {max(took_ms):.1f} ms"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commits", type=int, default=100_000)
    asyncio.run(measure(parser.parse_args().commits))
