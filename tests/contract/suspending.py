"""Workflows of the contract tests that wait for so long that they are suspended."""

import asyncio
from collections import Counter
from typing import Any

import nalar

#: What has happened, by what it happened to.
SEEN: Counter[str] = Counter()
#: Closed gates hold a call where it is.
GATES: dict[str, asyncio.Event] = {}


def begin_anew() -> None:
    SEEN.clear()
    GATES.clear()


@nalar.tool(name="suspend_slow")
async def slow(value: Any) -> Any:
    SEEN[f"slow {value}"] += 1
    if value in GATES:
        await GATES[value].wait()
    return value


@nalar.workflow(name="suspend_sleeper")
async def sleeper(seconds: float) -> str:
    SEEN["sleeper began"] += 1
    try:
        await nalar.sleep(seconds)
    except asyncio.CancelledError:
        SEEN["sleeper ended early"] += 1
        raise
    return f"attempt {nalar.context().attempt}"


@nalar.workflow(name="suspend_asker")
async def asker(timeout_s: float | None = None) -> Any:
    SEEN["asker began"] += 1
    noted = await slow("before")
    answer = await nalar.wait_for("answer", timeout_s=timeout_s)
    return [noted, answer]


@nalar.workflow(name="suspend_parent")
async def parent() -> list[Any]:
    SEEN["parent began"] += 1
    return await nalar.gather(slow("one"), slow("two"))


@nalar.workflow(name="suspend_grandparent")
async def grandparent() -> Any:
    SEEN["grandparent began"] += 1
    return await asker()


@nalar.workflow(name="suspend_branches")
async def branches() -> list[Any]:
    """Wait in two tasks at once, one of which also waits for something of this process."""
    SEEN["branches began"] += 1

    async def asking() -> Any:
        return await nalar.wait_for("answer")

    async def working() -> str:
        if "work" in GATES:
            await GATES["work"].wait()
        return await nalar.sleep(0.01) or "worked"

    async with asyncio.TaskGroup() as tasks:
        answer, work = tasks.create_task(asking()), tasks.create_task(working())
    return [answer.result(), work.result()]


@nalar.workflow(name="suspend_tidy")
async def tidy() -> Any:
    """Call something on the way out, however that is."""
    try:
        return await nalar.wait_for("answer")
    finally:
        await slow("tidied")


@nalar.workflow(name="suspend_stubborn")
async def stubborn() -> Any:
    """Take no cancellation for an answer."""
    try:
        return await nalar.wait_for("answer")
    except asyncio.CancelledError:
        SEEN["swallowed"] += 1
        return "swallowed"


@nalar.tool(name="suspend_failing")
async def failing(times: int, name: str) -> int:
    """Fail the first `times` times."""
    SEEN[f"failing {name}"] += 1
    if SEEN[f"failing {name}"] <= times:
        raise ConnectionError(name)
    return SEEN[f"failing {name}"]


@nalar.workflow(name="suspend_retried", retry=nalar.Retry(max_attempts=2, initial_s=0.01))
async def retried() -> list[Any]:
    """Fail once, then see one more call fail, and wait."""
    tries = await failing(1, "first")
    seen = ""
    try:
        await failing(9, "second")
    except nalar.AgentError as error:
        seen = error.type_name
    return [tries, seen, await nalar.wait_for("answer"), nalar.context().attempt]


@nalar.workflow(name="suspend_limited")
async def limited() -> str:
    """Wait within a limit of asyncio's, which no other process knows of."""
    SEEN["limited began"] += 1
    try:
        async with asyncio.timeout(1):
            await nalar.wait_for("answer")
    except TimeoutError:
        return "too late"
    return "in time"


ALL = [f"suspend_{name}" for name in (
    "slow", "sleeper", "asker", "parent", "grandparent", "branches", "limited", "tidy",
    "stubborn", "failing", "retried",
)]  # fmt: skip
