"""Callers that write while nodes of a cluster are harmed, and the look at what took effect."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import nalar
from nalar.bus import subjects
from nalar.ids import AgentName, SessionId
from nalar.statestore.jetstream import open_jetstream
from tests.clusters import Cluster
from tests.nodes import PATIENCE_S, Nodes

LEDGER = subjects.bucket_stream(subjects.LEDGER_BUCKET)
QUEUE = subjects.queue_stream(AgentName("NodesJournal"))
CONTROL = subjects.bucket_stream(subjects.CONTROL_BUCKET)
#: Sessions that are written to at the same time.
SESSIONS = 8
LEASE_S = 6.0
#: The bar: every session goes on within this after the loss of a leader.
RESUMED_S = 15.0


class NodesJournal(nalar.Agent, stateful=True):
    """What was written, in the order in which it took effect."""

    lines: nalar.ManagedList[str]

    @nalar.method()
    async def write(self, line: str) -> int:
        self.lines.append(line)
        return len(self.lines)

    @nalar.method(read_only=True)
    async def read(self) -> list[str]:
        return list(self.lines)


class Load:
    """Callers that write to a session each, one line after the other, until told to stop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.asked: dict[str, list[str]] = {f"s{number}": [] for number in range(SESSIONS)}
        #: When the newest call of each session was made, that has ended.
        self.newest: dict[str, float] = dict.fromkeys(self.asked, 0.0)
        self.longest_s = 0.0
        self.stopping = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as callers:
            for session in self.asked:
                callers.create_task(self._caller(session))

    async def _caller(self, session: str) -> None:
        lines = self.asked[session]
        while not self.stopping:
            lines.append(f"{session}-{len(lines)}")
            begun = self._loop.time()
            length = await NodesJournal.options(session=session).write(lines[-1])
            assert length == len(lines), "as many lines took effect as were written"
            self.newest[session] = begun
            self.longest_s = max(self.longest_s, self._loop.time() - begun)

    async def gone_on(self, since: float, within_s: float = PATIENCE_S) -> "Resumed":
        """Wait until all sessions have ended a call made after `since`."""
        async with asyncio.timeout(within_s):
            first_s = await self._passed(since, max)
            return Resumed(first_s, await self._passed(since, min))

    async def _passed(self, since: float, of: Callable[[Iterable[float]], float]) -> float:
        while of(self.newest.values()) <= since:  # noqa: ASYNC110 -- the callers' state
            await asyncio.sleep(0.01)
        return self._loop.time() - since

    def tell(self, what: str, resumed: "Resumed") -> None:
        """Print what was seen; `pytest -s` shows it."""
        calls = sum(map(len, self.asked.values()))
        print(  # noqa: T201
            f"{what}: a session went on after {resumed.first_s:.1f} s, all after "
            f"{resumed.all_s:.1f} s; longest call {self.longest_s:.1f} s, {calls} calls"
        )


@dataclass(frozen=True, slots=True)
class Resumed:
    """How long it took until the first session had gone on, and until all had."""

    first_s: float
    all_s: float

    def meets_the_bar(self) -> bool:
        """Whether every session went on in time."""
        return self.all_s < RESUMED_S


@asynccontextmanager
async def loaded(nodes: Nodes) -> AsyncGenerator[Load]:
    """Run the load over the block; then look at what took effect, in the log itself."""

    async def inject(*_: object) -> None:
        raise NotImplementedError

    async with AsyncExitStack() as stack:
        settings = nodes.settings(lease_s=LEASE_S, reread_s=1.0, concurrency=8)
        cluster = Cluster(open_jetstream, settings, stack, inject)
        for _ in range(2):
            await cluster.worker("NodesJournal")
        await cluster.client()
        load = Load()
        async with asyncio.TaskGroup() as running:
            running.create_task(load.run())
            await load.gone_on(asyncio.get_running_loop().time(), 30)
            yield load
            load.stopping = True
        await nodes.whole()
        await nodes.agree(LEDGER)  # A read may be of any copy: before, of one that lags.
        backend = await open_jetstream(settings)
        stack.push_async_callback(backend.close)
        for session, lines in load.asked.items():
            entries, _ = await backend.ledger.session_log(
                AgentName("NodesJournal"), SessionId(session), after=0
            )
            assert len({entry.ref.future for entry in entries}) == len(entries) == len(lines)
        for session, lines in load.asked.items():
            read = await NodesJournal.options(session=session).read()
            assert read == lines, f"{session} has {len(read)} lines of {len(lines)}"
