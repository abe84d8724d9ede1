"""A caller in a process of its own, which may be killed and started again: it goes on.

python -m tests.chaos.caller FOLDER NUMBER SEED COUNT RATE, with NATS_URL in the environment.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import nalar
from nalar.client.client import Client
from nalar.errors import Unavailable
from nalar.processes.child import stay_with_parent
from nalar.settings import from_environment
from tests.chaos.bank import Account, Receipt, transfer
from tests.chaos.orders import KEYED, PLAIN, RUN, Log, Order, orders, said

#: Transfers that one caller has under way at a time.
TOGETHER = 12


class Cut(Exception):
    """It is not known whether an order was taken, and it is not made again."""


class Caller:
    """Makes its orders, at a given rate, and logs what it asked for and what it was told."""

    def __init__(self, client: Client, path: Path) -> None:
        self._client = client
        #: What an earlier life of this caller has said, by order.
        self._before: dict[str, dict[str, dict[str, Any]]] = {}
        for line in said(path):
            step = f"{line['what']}{line.get('entry', '')}"
            self._before.setdefault(line["name"], {})[step] = line
        self._log = Log(path)
        self._slots = asyncio.Semaphore(TOGETHER)

    async def work(self, todo: list[Order], rate: float) -> None:
        async with asyncio.TaskGroup() as tasks:
            for order in todo:
                before = self._before.get(order.name, {})
                if "ended" in before or "cut" in before:
                    continue
                await self._slots.acquire()
                task = tasks.create_task(self._make(order, before))
                task.add_done_callback(lambda _: self._slots.release())
                if not before:
                    await asyncio.sleep(1 / rate)

    async def _make(self, order: Order, before: dict[str, dict[str, Any]]) -> None:
        make = {KEYED: self._keyed, PLAIN: self._plain, RUN: self._run}[order.way]
        if not before:
            self._log.say("asked", order)
        try:
            applied = await make(order, before)
        except Cut:
            self._log.say("cut", order)
        else:
            self._log.say("ended", order, applied=applied)

    async def _run(self, order: Order, before: dict[str, dict[str, Any]]) -> bool:
        if "accepted" in before:
            future = await self._client.future(before["accepted"]["future"])
        elif before:
            raise Cut
        else:
            try:
                future = await self._client.request(
                    transfer, order.name, order.source, order.target, order.amount
                )
            except Unavailable as error:
                raise Cut from error
            self._accepted(order, "", future)
        applied: bool = await future
        self._log.say("answered", order, entry="", future=_id(future), result=applied)
        return applied

    async def _plain(self, order: Order, before: dict[str, dict[str, Any]]) -> bool:
        if before:
            raise Cut
        paid = Account.options(session=order.source).debit(order.name, order.amount)
        if not await self._answered(order, "-", paid):
            return False
        got = Account.options(session=order.target).credit(order.name, order.amount)
        return await self._answered(order, "+", got)

    async def _keyed(self, order: Order, _: object) -> bool:
        if not await self._answered(order, "-", await self._request(order, "-", order.source)):
            return False
        return await self._answered(order, "+", await self._request(order, "+", order.target))

    async def _request(self, order: Order, entry: str, session: str) -> nalar.Future[Receipt]:
        named = Account.options(session=session, idempotency_key=order.name + entry)
        method = named.debit if entry == "-" else named.credit
        while True:
            try:
                future = await self._client.request(method, order.name, order.amount)
            except Unavailable:
                continue  # With its key it may be asked for again.
            self._accepted(order, entry, future)
            return future

    def _accepted(self, order: Order, entry: str, future: nalar.Future[Any]) -> None:
        self._log.say("accepted", order, entry=entry, future=_id(future))

    async def _answered(self, order: Order, entry: str, future: nalar.Future[Receipt]) -> bool:
        receipt = await future
        result = receipt.model_dump()
        self._log.say("answered", order, entry=entry, future=_id(future), result=result)
        return receipt.applied


def _id(future: nalar.Future[Any]) -> str:
    assert future.ref is not None, "a call has an address"
    return future.ref.future


async def main(folder: str, number: str, seed: str, count: str, rate: str) -> None:
    todo = orders(int(seed), int(number), int(count))
    async with nalar.connect(settings=from_environment(os.environ)) as client:
        await Caller(client, Path(folder) / f"caller-{number}.log").work(todo, float(rate))


if __name__ == "__main__":
    stay_with_parent()
    asyncio.run(main(*sys.argv[1:]))
