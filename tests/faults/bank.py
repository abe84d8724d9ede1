"""A bank on a server: one account a case, callers, workers that fail, and their heirs."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from nalar.client.client import Client
from nalar.futures import Future
from nalar.ids import Ref
from nalar.processes.host import Host
from nalar.settings import Settings
from nalar.statestore.jetstream import open_jetstream
from tests.clusters import Cluster, publish_raw
from tests.faults.served import DESKS, Desk
from tests.faults.victims import PATIENCE_S, READY, Victim, start_caller, start_worker

#: Short, so that what is dead is soon taken for dead.
LEASE_S = 1.0
_numbers = itertools.count(1)


class Bank:
    """One account, whoever serves it."""

    def __init__(self, cluster: Cluster, client: Client, desk: Desk, folder: Path) -> None:
        self.cluster = cluster
        self.client = client
        self.desk = desk
        self.folder = folder
        self.account = f"account-{next(_numbers)}"
        self.log = str(folder / "log")
        self.victims: list[Victim] = []

    def deposit(self, amount: int) -> Future[list[int]]:
        """Ask for a deposit; its result is all that is on the account."""
        made: Future[list[int]] = self.desk.deposit(self.log, self.account, amount)
        return made

    async def entries(self) -> list[int]:
        """Return what is on the account."""
        shown: list[int] = await self.desk.account.options(session=self.account).look()
        return shown

    async def victim(
        self, fault: str, *agents: str, serving: bool = True, ahead_s: float = 0.0
    ) -> Victim:
        """Start a worker process that fails as `fault` says; its clock is `ahead_s` ahead."""
        err = self.folder / f"err-{len(self.victims)}"
        names = agents or self.desk.names
        self.victims.append(start_worker(self.cluster.settings, fault, names, err, ahead_s=ahead_s))
        if serving:
            await self.victims[-1].says(READY)
        return self.victims[-1]

    def caller(self, fault: str, amount: int) -> Victim:
        """Start a program that makes a deposit under the account's name as its key."""
        call = (DESKS.index(self.desk), self.log, self.account, amount)
        err = self.folder / f"err-{len(self.victims)}"
        self.victims.append(start_caller(self.cluster.settings, fault, call, err))
        return self.victims[-1]

    async def heir(self, *agents: str) -> Host:
        """Start a worker, in this process, that nothing is wrong with."""
        return await self.cluster.worker(*(agents or self.desk.names))

    def runs(self, amount: int | None = None) -> tuple[int, int, int]:
        """Return how often the workflow, the tool (or step) and the account's method were run.

        For deposits of `amount` alone, if it is given.
        """
        file = Path(self.log)
        lines = file.read_text("utf-8").splitlines() if file.exists() else []
        said = [line.split() for line in lines]
        counted = Counter(name for name, of, _ in said if amount is None or of == str(amount))
        return counted["deposit"], counted["vet"], counted["add"]

    async def records(self, ref: Ref | None) -> dict[str, int]:
        """Return the records of a request, and where they stand in the ledger."""
        assert ref is not None
        ledger = self.client.host.backend.ledger
        entries = await ledger.find(f"call.*.*.*.{ref.root}.*.*")
        return {str(entry.ref): entry.revision for entry in entries}

    async def nothing_waits(self) -> None:
        """Wait until every message was acknowledged."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                stores = await self.client.stores(self.desk.names)
                if not any(store.messages for store in stores[-len(self.desk.names) :]):
                    return
                await asyncio.sleep(0.02)


@asynccontextmanager
async def opened(
    url: str, folder: Path, desk: Desk = DESKS[0], client: Client | None = None
) -> AsyncGenerator[Bank]:
    """Open a bank on the server at `url`; whatever serves there ends with it."""
    settings = Settings(url=url, lease_s=LEASE_S, reread_s=1.0, snapshot_every=1)
    async with AsyncExitStack() as stack:
        cluster = Cluster(open_jetstream, settings, stack, partial(publish_raw, url))
        bank = Bank(cluster, client or await cluster.client(), desk, folder)
        try:
            yield bank
        finally:
            for victim in bank.victims:
                victim.end()


async def all_cases(
    url: str, folder: Path, cases: Collection[str], check: Callable[[Bank, str], Awaitable[None]]
) -> dict[str, BaseException]:
    """Check every case, several at a time, for they mostly wait; return those that failed."""
    failed: dict[str, BaseException] = {}
    places = [folder / f"case-{number}" for number in range(len(cases))]
    for place in places:
        place.mkdir()
    free: asyncio.Queue[Desk] = asyncio.Queue()
    for desk in DESKS:
        free.put_nowait(desk)

    async def one(client: Client, place: Path, case: str) -> None:
        desk = await free.get()
        try:
            async with opened(url, place, desk, client) as bank:
                await check(bank, case)
        except Exception as error:  # noqa: BLE001 -- each case for itself
            failed[case] = error
        finally:
            free.put_nowait(desk)

    async with opened(url, folder) as front, asyncio.TaskGroup() as tasks:
        for number, case in enumerate(cases):
            tasks.create_task(one(front.client, places[number], case))
    return failed
