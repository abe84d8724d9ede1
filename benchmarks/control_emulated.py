"""Workers that only report: what a controller hears of a large cluster, from one process."""

import asyncio
from itertools import count

import orjson

from benchmarks import child
from nalar.backend import Backend
from nalar.clock import SystemClock
from nalar.controllers.untold import REFILL_MAX
from nalar.ids import AgentName, RootId, SessionId, WorkerId
from nalar.reports import PER_SECOND_MAX, AgentLoad, Report, RequestLoad, SessionLoad
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
        self._left = futures
        self._load = AgentLoad(queued=futures, running=CONCURRENCY, finished=1, service_s=1.0)

    def ask(self) -> None:
        """Somebody wants all there is: told bit by bit, as real workers do."""
        self._left = 0

    def refill(self) -> Report | None:
        """Return the next part of all there is; None once all is told."""
        start, end = self._left, self._left + REFILL_MAX
        if start >= len(self.roots):
            return None
        self._left = end
        report = self._report(full=start == 0)
        report.requests = {
            root: self._request(index, 0) for index, root in enumerate(self.roots[start:end])
        }
        told = {
            name: self._session(index, 1.0) for index, name in enumerate(self.sessions[start:end])
        }
        report.sessions = {AGENT: {**told}}
        return report

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
    ticks = count()
    while True:
        if asked.is_set():
            asked.clear()
            for worker in workers:
                worker.ask()
        quiet = next(ticks) % round(period_s * PER_SECOND_MAX)
        await _tick(backend, workers, 0 if quiet else changed)


async def _tick(backend: Backend, workers: list[EmulatedWorker], changed: int) -> None:
    """Report once for each worker, spread over the time between two reports."""
    loop = asyncio.get_running_loop()
    share, rest = divmod(changed, WORKERS)
    due_s = loop.time()
    for number, worker in enumerate(workers):
        if (part := worker.refill()) is not None:
            backend.reports.publish(part)
        elif changed:
            backend.reports.publish(worker.some(share + (number < rest)))
        due_s += 1 / PER_SECOND_MAX / WORKERS
        await asyncio.sleep(max(0.0, due_s - loop.time()))
