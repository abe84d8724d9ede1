"""Agents that the contract tests of calls serve."""

import asyncio
import dataclasses
import datetime as dt
import enum
from typing import Any

import pydantic

import nalar


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Box:
    when: dt.datetime
    blob: bytes
    colours: set[Colour]


class Shape(pydantic.BaseModel):
    sides: int
    boxes: list[Box] = []


@nalar.tool(name="calls_add")
async def add(a: int, b: int = 1) -> int:
    return a + b


@nalar.tool(name="calls_double")
def double(a: int) -> int:
    return 2 * a


@nalar.tool(name="calls_total")
async def total(parts: list[int], named: dict[str, int]) -> int:
    return sum(parts) + sum(named.values())


@nalar.tool(name="calls_echo")
async def echo(box: Box, shape: Shape) -> tuple[Box, Shape]:
    return box, shape


@nalar.tool(name="calls_text")
async def text(value: str) -> str:
    return value


@nalar.tool(name="calls_fail")
async def fail(message: str) -> int:
    raise KeyError(message)


@nalar.tool(name="calls_exit")
async def leave() -> int:
    raise SystemExit(3)


@nalar.tool(name="calls_lie")
async def lie() -> int:
    return "not a number"  # type: ignore[return-value]


#: Lets tests hold calls up and see how often they ran.
RUNS: dict[str, int] = {}
GATES: dict[str, asyncio.Event] = {}


@nalar.tool(name="calls_gated")
async def gated(name: str) -> str:
    RUNS[name] = RUNS.get(name, 0) + 1
    await GATES[name].wait()
    return name


@nalar.tool(name="calls_rest")
async def rest(seconds: float) -> None:
    await asyncio.sleep(seconds)


@nalar.workflow(name="calls_deep")
async def deep(depth: int) -> int:
    return 0 if depth == 0 else 1 + await deep(depth - 1)


@nalar.workflow(name="calls_deep_sync")
def deep_sync(depth: int) -> int:
    return 0 if depth == 0 else 1 + deep_sync(depth - 1).result()


@nalar.workflow(name="calls_diamond")
async def diamond(n: int) -> int:
    twice = [double(i) for i in range(n)]
    parts: Any = list(twice)
    named: Any = {"last": add(twice[-1], twice[0])}
    return await total(parts, named)


@nalar.workflow(name="calls_plain")
def plain() -> list[int]:
    futures = [add(i) for i in range(3)]
    done, pending = nalar.wait(futures).result()
    assert len(done) == 3
    assert not pending
    assert sorted(f.result() for f in nalar.as_completed(futures)) == [1, 2, 3]
    return nalar.gather(*futures).result()


@nalar.workflow(name="calls_failing")
async def failing() -> int:
    return await fail("deep down")


@nalar.workflow(name="calls_misusing")
async def misusing() -> int:
    return await add("one", 2)  # type: ignore[arg-type]


@nalar.workflow(name="calls_above")
async def above() -> int:
    return await misusing()


@nalar.workflow(name="calls_two_steps")
async def two_steps(name: str) -> str:
    first = await gated(f"{name}-1")
    second = await gated(f"{name}-2")
    return first + second


@nalar.workflow(name="calls_stepping")
async def stepping(steps: int) -> int:
    """Take so many steps, one after the other, in a thread each."""

    def taken() -> None:
        RUNS["steps"] = RUNS.get("steps", 0) + 1

    for _ in range(steps):
        await nalar.step(taken)
    return steps


@nalar.workflow(name="calls_keyed")
async def keyed() -> int:
    return await add.options(idempotency_key="k")(1)


class CallsCounter(nalar.Agent, stateful=True):
    seen: nalar.ManagedList[int]
    named: nalar.ManagedDict[str, list[int]]

    @nalar.method()
    async def push(self, x: int) -> int:
        self.seen.append(x)
        self.named.setdefault("all", []).append(x)
        return len(self.seen)

    @nalar.method()
    async def push_then_fail(self, x: int) -> int:
        self.seen.append(x)
        raise RuntimeError("after the change")

    @nalar.method(read_only=True)
    async def look(self) -> list[int]:
        return list(self.seen)

    @nalar.method(read_only=True)
    async def cheat(self) -> int:
        self.seen.append(1)
        return 1

    @nalar.method()
    async def again(self) -> int:
        return await CallsCounter.push(0)

    @nalar.method()
    async def look_from_inside(self) -> list[int]:
        return await CallsCounter.look()

    @nalar.method()
    async def push_when_open(self, name: str, x: int) -> int:
        RUNS[name] = RUNS.get(name, 0) + 1
        await GATES[name].wait()
        self.seen.append(x)
        return len(self.seen)


@nalar.workflow(name="calls_write_then_read")
async def write_then_read(x: int) -> list[int]:
    await CallsCounter.push(x)
    RUNS["written"] = RUNS.get("written", 0) + 1
    await GATES["written"].wait()
    return await CallsCounter.look()


class CallsShelf(nalar.Agent, stateful=True):
    """Keeps models with bytes in them, at every depth."""

    boxes: nalar.ManagedList[Box]
    named: nalar.ManagedDict[str, Shape]
    last: nalar.ManagedValue[Shape]

    @nalar.method()
    async def put(self, shape: Shape) -> int:
        self.boxes.extend(shape.boxes)
        self.named[str(len(self.named))] = shape
        self.last.set(shape)
        return len(self.boxes)

    @nalar.method()
    async def repaint(self, blob: bytes) -> None:
        """Change in place what was stored before."""
        self.boxes[0].blob = blob
        self.named["0"].boxes[0].blob = blob
        self.last.value.boxes[0].blob = blob

    @nalar.method(read_only=True)
    async def look(self) -> tuple[list[Box], dict[str, Shape], Shape]:
        return list(self.boxes), dict(self.named), self.last.value


ALL = ["CallsCounter", "CallsShelf", *(f"calls_{name}" for name in (
    "add", "double", "total", "echo", "text", "fail", "exit", "lie", "gated", "deep", "deep_sync",
    "keyed", "diamond", "plain", "failing", "two_steps", "misusing", "above",
))]  # fmt: skip
