"""Agents that the contract tests of cancellation serve; each says what happens to it."""

import asyncio
import threading
from collections import Counter

import nalar
from nalar.bus.codec import decode_record
from nalar.errors import NalarError
from nalar.ids import Ref
from nalar.processes.host import Host
from tests.clusters import until

#: What has happened, by what it happened to.
SEEN: Counter[str] = Counter()
#: Lets code through that will not end by itself.
FREE = threading.Event()


def begin_anew() -> None:
    SEEN.clear()
    FREE.clear()


@nalar.tool(name="cancel_quick")
async def quick(name: str) -> str:
    SEEN[f"ran {name}"] += 1
    return name


@nalar.tool(name="cancel_pending")
async def pending(name: str, after: str = "") -> str:
    """Wait for ever, and say when that was ended; then try to make another call."""
    SEEN[f"began {name}"] += 1
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        SEEN[f"cleaned {name}"] += 1
        try:
            quick(f"cleanup of {name}")  # Refused at once, not only when it is awaited.
        except NalarError as error:
            SEEN[f"refused {type(error).__name__} {name}"] += 1
    return after


@nalar.tool(name="cancel_stubborn")
async def stubborn(name: str) -> str:
    """Take no notice of a cancellation, and return a result."""
    SEEN[f"began {name}"] += 1
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        SEEN[f"swallowed {name}"] += 1
    return name


@nalar.tool(name="cancel_checking")
def checking(name: str) -> str:
    """Look now and then whether to stop, as code in a thread should."""
    SEEN[f"began {name}"] += 1
    while not FREE.wait(0.005):
        if nalar.context().cancelled:
            SEEN[f"saw {name}"] += 1
            nalar.context().check()
    return name


@nalar.tool(name="cancel_deaf")
def deaf(name: str) -> str:
    """Never look."""
    SEEN[f"began {name}"] += 1
    FREE.wait(30)
    SEEN[f"ended {name}"] += 1
    return name


@nalar.tool(name="cancel_slow", timeout_s=0.2)
def slow(name: str) -> str:
    """Run longer than it may, and never look."""
    SEEN[f"began {name}"] += 1
    FREE.wait(30)
    return name


@nalar.workflow(name="cancel_awaiting")
async def awaiting(name: str) -> str:
    SEEN[f"began {name}"] += 1
    try:
        return await pending(f"{name}/child")
    finally:
        SEEN[f"cleaned {name}"] += 1


@nalar.workflow(name="cancel_awaiting_sync")
def awaiting_sync(name: str) -> str:
    SEEN[f"began {name}"] += 1
    try:
        return pending(f"{name}/child").result()
    except nalar.Cancelled:
        SEEN[f"cleaned {name}"] += 1
        raise


@nalar.workflow(name="cancel_tree")
async def tree(name: str, depth: int, width: int) -> list[str]:
    """Wait for `width` calls, which do the same, `depth` levels down."""
    SEEN[f"began level {depth}"] += 1
    if depth == 0:
        return [await pending(name)]
    below = await nalar.gather(*[tree(f"{name}.{n}", depth - 1, width) for n in range(width)])
    return [leaf for leaves in below for leaf in leaves]


class CancelLog(nalar.Agent, stateful=True):
    entries: nalar.ManagedList[str]

    @nalar.method
    async def add(self, entry: str) -> list[str]:
        SEEN[f"ran {entry}"] += 1
        self.entries.append(entry)
        return list(self.entries)

    @nalar.method
    async def add_and_wait(self, entry: str) -> list[str]:
        self.entries.append(entry)
        SEEN[f"began {entry}"] += 1
        await asyncio.get_running_loop().create_future()
        return list(self.entries)

    @nalar.method
    async def add_soon(self, entry: str, turns: int) -> str:
        """Add after so many turns of the event loop."""
        for _ in range(turns):
            await asyncio.sleep(0)
        self.entries.append(entry)
        return entry

    @nalar.method(read_only=True)
    async def all(self) -> list[str]:
        return list(self.entries)


@nalar.tool(name="cancel_soon")
async def soon(entry: str, turns: int) -> str:
    for _ in range(turns):
        await asyncio.sleep(0)
    return entry


ALL = ["CancelLog", *(f"cancel_{name}" for name in (
    "quick", "pending", "stubborn", "checking", "deaf", "slow", "awaiting", "awaiting_sync",
    "tree", "soon",
))]  # fmt: skip


async def idle(host: Host) -> None:
    """Wait until a worker holds nothing any more."""
    worker = host.worker
    assert worker is not None
    await until(lambda: not worker._held)


async def statuses(host: Host, pattern: str) -> list[str]:
    """Return how the calls ended whose ref matches `pattern`."""
    entries = await host.backend.ledger.find(pattern)
    return [decode_record(entry.ref, entry.body).status for entry in entries]


def ref_of(future: nalar.Future[object]) -> Ref:
    assert future.ref is not None
    return future.ref
