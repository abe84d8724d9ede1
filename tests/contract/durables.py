"""Workflows of the contract tests that sleep, wait for signals and take steps."""

import asyncio
from collections import Counter
from typing import Any

import nalar
from nalar.bus.codec import decode_record
from nalar.messages import Record
from nalar.processes.host import Host
from tests.contract.worlds import eventually

#: What has happened, by what it happened to.
SEEN: Counter[str] = Counter()
#: Closed gates hold a workflow where it is; a killed worker's code never passes one.
GATES: dict[str, asyncio.Event] = {}


def begin_anew() -> None:
    SEEN.clear()
    GATES.clear()


async def gate(name: str) -> None:
    SEEN[f"at {name}"] += 1
    if name in GATES:
        await GATES[name].wait()


@nalar.tool(name="durable_echo")
async def echo(value: Any) -> Any:
    SEEN["echo ran"] += 1
    return value


@nalar.workflow(name="durable_sleeper")
async def sleeper(seconds: float) -> str:
    await nalar.sleep(seconds)
    SEEN["slept"] += 1
    await gate("after the sleep")
    return "rested"


@nalar.workflow(name="durable_two_signals")
async def two_signals(name: str) -> list[str]:
    first = await nalar.wait_for(name, str)
    SEEN[f"took {first}"] += 1
    await gate("between the signals")
    return [first, await nalar.wait_for(name, str)]


@nalar.workflow(name="durable_two_signals_sync")
def two_signals_sync(name: str) -> list[str]:
    nalar.sleep(0.01).result()
    return [nalar.wait_for(name, str).result(), nalar.wait_for(name, str).result()]


@nalar.workflow(name="durable_limited")
async def limited(timeout_s: float) -> str:
    try:
        return await nalar.wait_for("late", str, timeout_s=timeout_s)
    except TimeoutError as error:
        await gate("after the limit")
        return str(error)


@nalar.workflow(name="durable_strict")
async def strict(name: str) -> list[str]:
    """Wait for a number, however often something else is sent."""
    refused: list[str] = []
    while True:
        try:
            return [*refused, str(await nalar.wait_for(name, int))]
        except nalar.ArgumentError as error:
            refused.append(str(error))


@nalar.workflow(name="durable_giving_up")
async def giving_up(name: str) -> str:
    """Give one wait up; what comes after that is for the next."""
    try:
        async with asyncio.timeout(0.05):
            await nalar.wait_for(name, str)
    except TimeoutError:
        SEEN["gave up"] += 1
    return await nalar.wait_for(name, str)


@nalar.workflow(name="durable_either")
async def either(seconds: float) -> str:
    signal, timer = nalar.wait_for("go", str), nalar.sleep(seconds)
    done, _ = await nalar.wait([signal, timer], return_when="FIRST_COMPLETED")
    return signal.result() if signal in done else "in time"


@nalar.workflow(name="durable_depends")
async def depends(name: str) -> Any:
    return await echo(nalar.wait_for(name))


def roll(sides: int) -> int:
    SEEN["rolled"] += 1
    return SEEN["rolled"] * 100 + sides


async def fetch(what: str) -> dict[str, str]:
    await asyncio.sleep(0)
    SEEN[f"fetched {what}"] += 1
    return {what: nalar.context().idempotency_key}


@nalar.workflow(name="durable_stepping")
async def stepping(sides: int) -> list[Any]:
    rolled = [await nalar.step(roll, sides), await nalar.step(roll, sides)]
    fetched = await nalar.step(fetch, "page")
    await gate("after the steps")
    return [*rolled, fetched, await nalar.step(roll, sides)]


@nalar.workflow(name="durable_stepping_sync")
def stepping_sync(sides: int) -> list[Any]:
    fetched = nalar.step(fetch, "page").result()
    return [nalar.step(roll, sides).result(), nalar.step(lambda: None).result(), len(fetched)]


async def flaky(fails: int) -> str:
    SEEN["tried"] += 1
    if SEEN["tried"] <= fails:
        raise ConnectionError(f"try {SEEN['tried']}")
    return f"try {SEEN['tried']}"


@nalar.workflow(name="durable_flaky", retry=nalar.Retry(max_attempts=5, initial_s=0.01))
async def retried(fails: int) -> list[Any]:
    return [await nalar.step(roll, 6), await nalar.step(flaky, fails)]


def calling() -> None:
    echo("from a step")


def sleeping() -> None:
    nalar.sleep(1)


@nalar.workflow(name="durable_misusing")
async def misusing(how: str) -> None:
    await nalar.step(calling if how == "call" else sleeping)


@nalar.workflow(name="durable_holding")
async def holding() -> None:
    await nalar.step(gate, "in a step")


@nalar.workflow(name="durable_sender")
async def sender(name: str) -> list[str]:
    child = two_signals(name)
    child.signal(name, "one")
    await gate("between sending")
    await child.signal(name, "two")
    return await child


ALL = [f"durable_{name}" for name in (
    "echo", "sleeper", "two_signals", "two_signals_sync", "limited", "strict", "giving_up",
    "either", "depends", "stepping", "stepping_sync", "flaky", "misusing", "holding", "sender",
)]  # fmt: skip


async def records(host: Host, agent: str, root: str = "*") -> list[Record]:
    """Return the records that calls keep of themselves under `agent`, oldest first."""
    entries = await host.backend.ledger.find(f"call.r.{agent}.*.{root}.*.*")
    return [decode_record(entry.ref, entry.body) for entry in entries]


async def until_recorded(host: Host, agent: str, count: int = 1) -> None:
    async def holds() -> bool:
        return len(await records(host, agent)) >= count

    await eventually(holds)
