"""The agents, tools and workflows that are served in simulations.

Every entry that a call leaves in a session is `caller#number`, so that the session itself shows
what was lost, doubled or out of order. Results do not depend on who was faster.
"""

import asyncio
from typing import Any

import nalar
from nalar.errors import CallError

#: Agents that keep no state, by the names they are served under.
STATELESS = (
    "sim_add", "sim_later", "sim_total", "sim_name", "sim_fail",
    "sim_fan", "sim_story", "sim_tree", "sim_brave", "sim_relay", "sim_patient",
)  # fmt: skip
STATEFUL = ("SimLog", "SimDesk")


class SimLog(nalar.Agent, stateful=True):
    """Remembers who wrote what."""

    entries: nalar.ManagedList[str]
    counts: nalar.ManagedDict[str, int]

    @nalar.method
    async def append(self, caller: str, entry: str, pause_s: float = 0.0) -> int:
        """Write `entry`; return how many the caller has written."""
        self.entries.append(entry)
        await asyncio.sleep(pause_s)
        self.counts[caller] = self.counts.get(caller, 0) + 1
        return self.counts[caller]

    @nalar.method
    async def spoil(self, entry: str) -> int:
        """Write `entry` and fail, so that it must not be there."""
        self.entries.append(entry)
        await asyncio.sleep(0.01)
        raise KeyError(entry)

    @nalar.method(read_only=True)
    async def whole(self) -> bool:
        """Say whether a call's two changes are seen together."""
        return len(self.entries) == sum(self.counts.values())

    @nalar.method(read_only=True)
    async def written(self, caller: str) -> int:
        """Return how many the caller has written."""
        return self.counts.get(caller, 0)


class SimDesk(nalar.Agent, stateful=True):
    """Holds its session while it waits for others."""

    steps: nalar.ManagedList[str]

    @nalar.method
    async def handle(self, caller: str, number: int) -> int:
        """Write twice, and in between once into the log of the same session."""
        self.steps.append(f"{caller}#{2 * number}")
        name = await name_of(caller, number)
        logged = await SimLog.append(f"{caller}/desk", name)
        self.steps.append(f"{caller}#{2 * number + 1}")
        return logged


@nalar.tool(name="sim_add")
async def add(a: int, b: int, pause_s: float = 0.0) -> int:
    await asyncio.sleep(pause_s)
    return a + b


@nalar.tool(name="sim_total")
async def total(parts: list[int], named: dict[str, int]) -> int:
    return sum(parts) + sum(named.values())


@nalar.tool(name="sim_name")
async def name_of(caller: str, number: int) -> str:
    return f"{caller}/desk#{number}"


@nalar.tool(name="sim_later")
async def later(value: str, pause_s: float) -> str:
    await asyncio.sleep(pause_s)
    return value


@nalar.tool(name="sim_fail")
async def fail(reason: str) -> int:
    await asyncio.sleep(0.02)
    raise KeyError(reason)


@nalar.workflow(name="sim_fan")
async def fan(start: int, width: int, pause_s: float) -> int:
    """Fan out, hand futures on as arguments, and join."""
    parts: Any = [add(start, i, pause_s * (i % 3)) for i in range(width)]
    last: Any = add(parts[-1], parts[0])
    return await total(parts, {"last": last})


@nalar.workflow(name="sim_story")
async def story(caller: str, length: int, pause_s: float) -> list[int]:
    """Write into the session in order, without waiting in between."""
    written = [SimLog.append(caller, f"{caller}#{i}", pause_s) for i in range(length)]
    return await nalar.gather(*written)


@nalar.workflow(name="sim_tree")
async def tree(caller: str, depth: int) -> int:
    """Nest: two branches a level, a word into the shared session on each."""
    if depth == 0:
        return await add(1, 0, 0.05)
    branches: Any = [tree(f"{caller}{side}", depth - 1) for side in "lr"]
    await SimLog.append(caller, f"{caller}#0")
    return await total(branches, {"self": 1})


@nalar.workflow(name="sim_relay")
async def relay(caller: str) -> list[str]:
    """Hand on what ends first, first; then go on for a while."""
    handed: list[str] = []
    async for ended in nalar.as_completed([later("x", 0.5), later("y", 0.6)]):
        value = await ended
        await SimLog.append(caller, f"{value}#{len(handed)}")
        handed.append(value)
    await later("", 3.0)
    return handed


@nalar.workflow(name="sim_patient")
async def patient(caller: str, pauses_s: list[float]) -> list[int]:
    """Sleep, wait for word, write down that it came, and again: long enough to be suspended."""
    heard: list[int] = []
    for number, pause_s in enumerate(pauses_s):
        await nalar.sleep(pause_s)
        heard.append(await nalar.wait_for("word", int))
        await SimLog.append(caller, f"{caller}#{number}", pause_s / 2)
    return heard


@nalar.workflow(name="sim_brave")
async def brave(caller: str) -> list[str]:
    """Catch what fails, and what depends on it; go on in the same session."""
    broken: Any = fail(caller)
    spoilt: Any = SimLog.spoil(f"{caller}#spoilt")
    calls: list[nalar.Future[Any]] = [
        broken,
        spoilt,
        SimLog.append(caller, spoilt),
        add(broken, 1),
        SimLog.append(caller, f"{caller}#0"),
    ]
    ended: list[str] = []
    for call in calls:
        try:
            ended.append(str(await call))
        except CallError as error:
            ended.append(type(error).__name__)
    return ended
