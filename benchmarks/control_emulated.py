"""Workers that only report: what a controller hears of a large cluster, from one process."""

import asyncio
from collections.abc import Iterator
from itertools import count

import orjson

from benchmarks import child
from nalar.backend import Backend
from nalar.clock import SystemClock
from nalar.ids import AgentName, RootId, SessionId, WorkerId
from nalar.reports import AgentLoad, Report, RequestLoad, SessionLoad
from nalar.settings import Settings
from nalar.statestore.jetstream import open_jetstream

#: As the paper has it: 128 agents.
WORKERS = 128
#: Execution slots of each.
CONCURRENCY = 64
#: Futures for each stateful session; each future is a request of its own.
FUTURES_PER_SESSION = 8
#: So many futures of all wait, the others run or wait for others.
WAITING_ONE_IN = 4
#: Entries of one report, as real workers have them.
_ENTRIES_MAX = 1_000
AGENT = AgentName("Emulated")
CLOCK = SystemClock()


class EmulatedWorker:
    """One worker's reports."""

    def __init__(self, number: int, futures: int) -> None:
        self.name = WorkerId(f"w{number:03d}")
        self.roots = [RootId(f"{number:03d}r{index:06d}") for index in range(futures)]
        self.sessions = [
            SessionId(f"{number:03d}s{index:06d}")
            for index in range(-(-futures // FUTURES_PER_SESSION))
        ]
        self._slot = number
        self._number = 0
        self._turn = count()
        self._load = AgentLoad(queued=futures, running=CONCURRENCY, finished=1, service_s=1.0)

    def full(self) -> Iterator[Report]:
        """Yield all there is, in parts as real workers do."""
        for start in range(0, len(self.roots), _ENTRIES_MAX):
            report = self._report(full=start == 0)
            roots = self.roots[start : start + _ENTRIES_MAX]
            report.requests = {root: self._request(index, 0) for index, root in enumerate(roots)}
            sessions = self.sessions[start : start + _ENTRIES_MAX]
            told = {name: self._session(index, 1.0) for index, name in enumerate(sessions)}
            report.sessions = {AGENT: {**told}}
            yield report

    def some(self, changed: int) -> Report:
        """Return what has changed: another part of the futures each time."""
        report = self._report(full=False)
        turn = next(self._turn)
        told: dict[SessionId, SessionLoad | None] = {}
        for index in range(turn * changed, (turn + 1) * changed):
            done = 2 * (index // len(self.roots) + 1)
            root = self.roots[index % len(self.roots)]
            report.requests[root] = self._request(index, done)
            session = self.sessions[index % len(self.sessions)]
            told[session] = self._session(index, report.at_s)
        report.sessions = {AGENT: told}
        return report

    def _report(self, *, full: bool) -> Report:
        self._number += 1
        self._load.finished += 1
        return Report(
            self.name, self._number, CLOCK.now_s(), full, CONCURRENCY, CONCURRENCY, 0,
            agents={AGENT: self._load}, slots={AGENT: [self._slot]},
        )  # fmt: skip

    def _request(self, index: int, done: int) -> RequestLoad:
        waits = index % WAITING_ONE_IN == 0
        return RequestLoad(
            queued=int(waits), running=int(not waits), finished=done, busy_s=float(done),
            tenant="acme", depth=1,
        )  # fmt: skip

    def _session(self, index: int, oldest_at: float) -> SessionLoad:
        waits = index % WAITING_ONE_IN == 0
        return SessionLoad(
            queued=int(waits), running=int(not waits), oldest_at=oldest_at if waits else 0.0,
            slot=self._slot, tenant="acme",
        )  # fmt: skip


async def emulate(url: str, futures: int, changed: int, period_s: float) -> None:
    """Report `futures`, of which `changed` change in each period, until told to stop."""
    backend = await open_jetstream(Settings(url=url))
    workers = [EmulatedWorker(number, futures // WORKERS) for number in range(WORKERS)]
    workers[0].roots += [RootId(f"more{number}") for number in range(futures % WORKERS)]
    for worker in workers:
        told = {"worker": worker.name, "agents": [AGENT]}
        await backend.control.put(f"worker.{worker.name}", orjson.dumps(told), ttl_s=3_600)
    asked = asyncio.Event()
    backend.reports.on_ask(asked.set)
    child.say({"ready": "emulated"})
    while True:
        await _period(backend, workers, asked, changed, period_s)


async def _period(
    backend: Backend,
    workers: list[EmulatedWorker],
    asked: asyncio.Event,
    changed: int,
    period_s: float,
) -> None:
    full = asked.is_set()
    asked.clear()
    share, rest = divmod(changed, WORKERS)
    for number, worker in enumerate(workers):
        if full:
            for report in worker.full():
                backend.reports.publish(report)
                await asyncio.sleep(0)
        else:
            backend.reports.publish(worker.some(share + (number < rest)))
        # Spread over the period, as the reports of workers are that know nothing of each other.
        await asyncio.sleep(period_s / WORKERS)
