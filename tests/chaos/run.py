"""One run of the ledger test: processes, faults by plan, a quiet end, and the checker's word."""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from tests.chaos import counted, raw
from tests.chaos.checker import HEARD, ORDERS, Finding
from tests.chaos.plan import (
    CALLER_KILL,
    CONTROLLER_KILL,
    KEEPER_KILL,
    SERVER_FREEZE,
    SERVER_KILL,
    WORKER_FREEZE,
    WORKER_KILL,
    Fault,
    plan,
)
from tests.chaos.processes import ROOT, Child
from tests.clusters import until

_LOOK_S: Final = 0.02
#: A frozen worker stays so for this many leases.
FREEZE_LEASES: Final = 2.5
#: What a worker says when it serves.
READY: Final = "worker ready"
#: How long all that was accepted may take to end, once nothing dies any more.
QUIET_S: Final = 60.0


class Servers(Protocol):
    """Where everything is kept, and what may happen to it."""

    @property
    def url(self) -> str: ...

    async def kill(self, chance: int) -> None:
        """Kill a server and start it again."""
        ...

    async def freeze(self, chance: int) -> None:
        """Stop a server for a while, and let it go on."""
        ...

    async def settle(self) -> None:
        """Wait until it is whole again."""
        ...


@dataclass(frozen=True)
class Options:
    """What a run is made of."""

    seed: int
    transfers: int
    faults: int
    #: Transfers a second, of all callers together.
    rate: float = 30.0
    workers: int = 3
    callers: int = 3
    #: Words of commands that run controllers, `python -m` being said already.
    controllers: Sequence[Sequence[str]] = ()
    #: Those who keep house: logs are cut while all goes on.
    keepers: int = 0
    #: What the workers serve: the bank, or one that was sabotaged.
    module: str = "tests.chaos.bank"
    #: Added to the environment of all processes.
    environ: Mapping[str, str] = field(default_factory=dict[str, str])
    lease_s: float = 1.5
    #: How long a debit or credit takes.
    work_s: float = 0.05
    #: What may happen; all that there is something for, if not said.
    kinds: Sequence[str] = ()
    #: No transfer ended for so long after the last fault: nothing comes any more.
    patience_s: float = QUIET_S

    def chosen(self) -> Sequence[str]:
        kinds = [WORKER_KILL, WORKER_FREEZE, SERVER_KILL, CALLER_KILL]
        kinds += [CONTROLLER_KILL] if self.controllers else []
        return self.kinds or [*kinds, *([KEEPER_KILL] if self.keepers else [])]


@dataclass
class Outcome:
    """What came of a run."""

    findings: list[Finding]
    #: Faults by kind.
    struck: Counter[str]
    #: What workers met.
    met: Counter[str]
    #: Transfers by what became of them.
    transfers: Counter[str]
    took_s: float

    def of(self, *kinds: str) -> int:
        """Return how many findings are of these kinds."""
        return sum(1 for one in self.findings if one.kind in kinds)

    def __str__(self) -> str:
        """One line for a report."""
        struck = ", ".join(f"{times} x {kind}" for kind, times in sorted(self.struck.items()))
        met = ", ".join(f"{what} {times}" for what, times in sorted(self.met.items()))
        return (
            f"{self.transfers['ended']} transfers ended, {self.transfers['cut']} cut off with "
            f"their caller; {struck}; workers met: {met}; lost {self.of('lost')}, twice "
            f"{self.of('twice')}, wrong in any way {len(self.findings)}; {self.took_s:.0f} s"
        )


@dataclass
class Run:
    """Runs the bank on `servers` and strikes."""

    options: Options
    servers: Servers
    folder: Path
    witness: Child = field(init=False)
    workers: list[Child] = field(default_factory=list[Child])
    callers: list[Child] = field(default_factory=list[Child])
    controllers: list[Child] = field(default_factory=list[Child])
    keepers: list[Child] = field(default_factory=list[Child])
    struck: Counter[str] = field(default_factory=Counter[str])
    _ended: int = 0
    _read: dict[str, int] = field(default_factory=dict[str, int])

    async def go(self) -> Outcome:
        """Run to the end and return what the checker says."""
        print(f"seed {self.options.seed}: {self.options}")  # noqa: T201
        begun = time.perf_counter()
        self._prepare()
        try:
            self.witness.start()
            heard = self.folder / HEARD
            await until(lambda: heard.exists() and heard.read_text())
            for child in (*self.workers, *self.controllers, *self.keepers):
                child.start()
            serving = [worker.file for worker in self.workers]
            await until(lambda: all(READY in file.read_text() for file in serving), QUIET_S)
            for caller in self.callers:
                caller.start()
            async with asyncio.TaskGroup() as thawing:
                await self._strike_all(thawing)
            findings = await self._rest()
        finally:
            for child in self._children():
                child.kill()
        took_s = time.perf_counter() - begun
        findings += await self._checked()
        met = counted.counts(self.folder / "counts")
        return Outcome(findings, self.struck, met, self._transfers(), took_s)

    def _children(self) -> list[Child]:
        return [self.witness, *self.workers, *self.callers, *self.controllers, *self.keepers]

    def _prepare(self) -> None:
        options = self.options
        count = options.transfers // options.callers
        orders = {"seed": options.seed, "callers": options.callers, "count": count}
        (self.folder / ORDERS).write_text(json.dumps(orders))
        ours = ("NATS_", "NALAR_")
        environ = {key: text for key, text in os.environ.items() if not key.startswith(ours)}
        environ |= {
            "NATS_URL": self.servers.url,
            "PYTHONHASHSEED": "0",
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "cli"))),
            "NALAR_SET_LEASE_S": str(options.lease_s),
            "NALAR_SET_REREAD_S": "1",
            "NALAR_SET_CONNECT_TIMEOUT_S": "60",
            "NALAR_SET_SNAPSHOT_EVERY": "20",
            "NALAR_SET_CRASHES_MAX": "50",
            "CHAOS_WORK_S": str(options.work_s),
            counted.FILE: str(self.folder / "counts"),
            **options.environ,
        }
        words = ["tests.chaos.witness", self.servers.url, str(self.folder / HEARD)]
        self.witness = Child("witness", words, environ, self.folder)
        for number in range(options.workers):
            words = ["nalar_cli", "worker", options.module, "--name", f"w{number}-{{pid}}"]
            self.workers.append(Child(f"worker-{number}", words, environ, self.folder))
        rate = options.rate / options.callers
        for number in range(options.callers):
            words = ["tests.chaos.caller", self.folder, number, options.seed, count, rate]
            child = Child(f"caller-{number}", list(map(str, words)), environ, self.folder)
            self.callers.append(child)
        for number, command in enumerate(options.controllers):
            self.controllers.append(Child(f"controller-{number}", command, environ, self.folder))
        self.keepers = [
            Child(f"keeper-{number}", ["tests.chaos.keeper"], environ, self.folder)
            for number in range(options.keepers)
        ]

    # Faults.

    async def _strike_all(self, thawing: asyncio.TaskGroup) -> None:
        options = self.options
        faults = plan(options.seed, options.faults, options.transfers, options.chosen())
        for fault in faults:
            await self._until_ended(fault.after)
            await self._strike(fault, thawing)

    async def _until_ended(self, transfers: int) -> None:
        """Wait until so many transfers have ended, or nothing comes any more."""
        moved, before = time.perf_counter(), self._progress()
        while (now := self._progress()) < transfers:
            self._look_after()
            if now > before:
                moved, before = time.perf_counter(), now
            if time.perf_counter() - moved > self.options.patience_s or self._all_done():
                return
            await asyncio.sleep(_LOOK_S)

    def _progress(self) -> int:
        for child in self.callers:
            path = self.folder / f"{child.name}.log"
            at = self._read.get(child.name, 0)
            with path.open("rb") if path.exists() else open(os.devnull, "rb") as log:  # noqa: PTH123
                log.seek(at)
                text = log.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._read[child.name] = at + len(whole)
            self._ended += whole.count(b'"what": "ended"') + whole.count(b'"what": "cut"')
        return self._ended

    def _all_done(self) -> bool:
        return all(child.code == 0 for child in self.callers)

    def _look_after(self) -> None:
        """Nobody ends but those that we end, and callers that are done."""
        for child in self._children():
            done = child in self.callers and child.code == 0
            assert child.code is None or done, f"{child.name} ended: {child.said}"

    async def _strike(self, fault: Fault, thawing: asyncio.TaskGroup) -> None:
        match fault.kind:
            case kind if kind == SERVER_KILL:
                await self.servers.kill(fault.whom)
            case kind if kind == SERVER_FREEZE:
                await self.servers.freeze(fault.whom)
            case kind if kind == WORKER_FREEZE:
                awake = [worker for worker in self.workers if not worker.frozen]
                if not awake:
                    return
                worker = awake[fault.whom % len(awake)]
                worker.freeze()
                thawing.create_task(self._thaw(worker, worker.lives))
            case kind if kind == CALLER_KILL:
                alive = [caller for caller in self.callers if caller.code is None]
                if not alive:
                    return
                _again(alive[fault.whom % len(alive)])
            case kind:
                some = {WORKER_KILL: self.workers, KEEPER_KILL: self.keepers}
                these = some.get(kind, self.controllers)
                _again(these[fault.whom % len(these)])
        self.struck[fault.kind] += 1

    async def _thaw(self, worker: Child, life: int) -> None:
        await asyncio.sleep(self.options.lease_s * FREEZE_LEASES)
        if worker.frozen and worker.lives == life:
            worker.thaw()

    # The end.

    async def _rest(self) -> list[Finding]:
        """Let everything come to its end, and say what does not."""
        await self.servers.settle()
        await self._until_ended(self.options.transfers + 1)
        findings = [
            Finding("left", f"{child.name} still waits")
            for child in self.callers
            if child.code is None
        ]
        client = await raw.connected(self.servers.url)
        try:
            findings += await self._emptied(client)
        finally:
            await client.close()
        return findings

    async def _emptied(self, client: raw.Client) -> list[Finding]:
        give_up = time.perf_counter() + self.options.patience_s
        while left := await raw.left_in_queues(client):
            if time.perf_counter() > give_up:
                return [Finding("left", f"calls are left in the queues: {left}")]
            await asyncio.sleep(_LOOK_S)
        return []

    async def _checked(self) -> list[Finding]:
        """Ask the checker, in a process of its own."""
        words = ("-m", "tests.chaos.checker", self.servers.url, str(self.folder))
        process = await asyncio.create_subprocess_exec(
            sys.executable, *words, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        told, _ = await process.communicate()
        assert process.returncode in (0, 1), "the checker itself failed; what it said is above"
        return [Finding(*one) for one in json.loads(told)]

    def _transfers(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for child in self.callers:
            for line in (self.folder / f"{child.name}.log").read_text().splitlines():
                found[json.loads(line)["what"]] += 1
        return found


def _again(child: Child) -> None:
    child.kill()
    child.start()
