"""What the end-to-end tests serve, from a copy outside the repository.

`gate` files in the working directory say when a call may go on.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import nalar


async def gate(name: str) -> None:
    """Say that we are here, and wait until we may go on."""
    await asyncio.to_thread(_log_and_wait, name)


def _log_and_wait(name: str) -> None:
    _enter(name)
    while not Path(f"open-{name}").exists():
        time.sleep(0.01)


class Counter(nalar.Agent, stateful=True):
    """Counts."""

    totals: nalar.ManagedDict[str, int]

    @nalar.method
    async def add(self, amount: int, through: str = "") -> int:
        """Add to the total."""
        if through:
            await gate(through)
        self.totals["all"] = self.totals.get("all", 0) + amount
        return self.totals["all"]


@nalar.tool
async def hold(name: str) -> int:
    """Wait for the gate; return the process it happened in."""
    await gate(name)
    return os.getpid()


@nalar.tool
async def tell(name: str, words: list[str]) -> AsyncIterator[str]:
    """Say all words but the last, which is said when the gate opens."""
    for word in words[:-1]:
        yield word
    await gate(name)
    yield words[-1]


@nalar.tool
def shout(text: str) -> str:
    print("a tool that prints")  # noqa: T201 -- as users do
    return text.upper() + "!"


@nalar.tool
def burst(text: str) -> str:
    raise ValueError(f"cannot take {text}")


@nalar.tool
def poison(how: str) -> str:
    """Take the worker with it."""
    with Path(f"poisoned-{how}").open("a") as log:
        log.write(f"{os.getpid()}\n")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(3)


@nalar.tool
async def block(name: str) -> int:
    """Block the event loop until the gate opens, as nobody should."""
    _log_and_wait(name)
    return os.getpid()


@nalar.tool
def hog(how: str) -> int:
    """Take memory until there is none, in Python or in code that does not look what it got."""
    _enter(f"hog-{how}")
    taken: list[object] = []
    allocate = ctypes.CDLL(None).malloc
    allocate.restype = ctypes.c_void_p
    while True:
        if how == "python":
            taken.append(bytearray(1 << 20))
        else:
            ctypes.memset(allocate(1 << 26), 1, 1 << 20)


@nalar.tool
async def spin(name: str) -> None:
    """Never end, and let nothing else on the event loop go on."""
    _enter(name)
    while True:
        pass


@nalar.tool(retry=nalar.Retry(max_attempts=2, initial_s=0.1))
def mends(text: str) -> str:
    """Fail until somebody has made a file called `mended`."""
    if not Path("mended").exists():
        raise ConnectionError(f"{text}: nobody is there")
    return text


def _enter(name: str) -> None:
    with Path(f"entered-{name}").open("a") as log:
        log.write(f"{os.getpid()}\n")


@nalar.tool
def deaf(name: str) -> str:
    """Never end, and never look whether to."""
    _enter(name)
    while True:
        time.sleep(0.01)


@nalar.tool
async def clinging(name: str) -> str:
    """Swallow whatever is to end it."""
    _enter(name)
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


@nalar.workflow
def forgiving(name: str) -> str:
    """Wait for a call, and do without it when it is cancelled."""
    part = hold(name)
    assert part.ref is not None
    Path(f"child-{name}").write_text(part.ref.future)
    try:
        return str(part.result())
    except nalar.Cancelled:
        return f"without {name}"


@nalar.workflow
async def greet(names: list[str]) -> dict[str, str]:
    """Shout at everybody."""
    print("a workflow that prints")  # noqa: T201 -- as users do
    loud = await nalar.gather(*[shout(name) for name in names])
    return dict(zip(names, loud, strict=True))


@nalar.workflow
async def doomed(text: str) -> str:
    return await burst(text)


@nalar.workflow
async def patient(name: str) -> int:
    return await hold(name)


@nalar.workflow
async def misusing(text: str) -> str:
    return await shout(len(text))  # type: ignore[arg-type]
