"""A pool of real processes, small ones: kept alive, resized, drained."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from nalar.processes.child import StopSignals
from nalar.processes.place import Command
from nalar.processes.pool import Pool, WorkerRefused

#: Says that it serves, under its process id, and then does as `then` says.
CHILD = """
import os, signal, sys, time
from pathlib import Path
def serve():
    os.write(int(os.environ["NALAR_READY_FD"]), str(os.getpid()).encode())
    os.close(int(os.environ["NALAR_READY_FD"]))
{then}
"""
FAITHFUL = "serve(); signal.pause()"


class Pools:
    """Makes pools, and waits for what they tell."""

    def __init__(self) -> None:
        self._made: list[Pool] = []
        self._changed = asyncio.Event()

    async def of(self, count: int, then: str = FAITHFUL, **more: object) -> Pool:
        command = Command([sys.executable, "-c", CHILD.format(then=then)], **more)  # type: ignore[arg-type]
        pool = Pool(command, count, StopSignals(), changed=self._changed.set)
        self._made.append(await pool.__aenter__())
        return pool

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def close(self) -> None:
        for pool in self._made:
            await pool.stop(within_s=0)


@pytest.fixture
async def pools() -> AsyncIterator[Pools]:
    made = Pools()
    yield made
    await made.close()


async def test_a_pool_grows_and_those_too_many_drain(pools: Pools) -> None:
    pool = await pools.of(1)
    await pool.ready()
    [first] = pool.serving()
    pool.resize(3)
    await pool.ready()
    grown = pool.serving()
    assert len(grown) == 3
    assert grown[0] == first
    pool.resize(1)
    assert pool.serving() == [first], "the youngest go"
    assert pool.leaving() == 2
    await pools.until(lambda: pool.leaving() == 0)
    for gone in grown[1:]:
        with pytest.raises(ProcessLookupError):
            os.kill(int(gone), 0)
    assert pool.trouble() is None
    pool.resize(0)
    await pools.until(lambda: pool.leaving() == 0)
    assert pool.serving() == []


async def test_what_does_not_serve_goes_before_what_does(pools: Pools, tmp_path: Path) -> None:
    """Whichever of three makes the folder serves; the others never do."""
    one = f"\ntry: Path({str(tmp_path / 'one')!r}).mkdir(); serve()\nexcept OSError: pass\n"
    pool = await pools.of(3, f"{one}signal.pause()")
    await pools.until(lambda: len(pool.serving()) == 1)
    kept = pool.serving()
    pool.resize(1)
    assert pool.serving() == kept
    await pools.until(lambda: pool.leaving() == 0)


async def test_a_killed_child_is_started_again_and_counted(pools: Pools) -> None:
    pool = await pools.of(1)
    await pool.ready()
    [victim] = pool.serving()
    os.kill(int(victim), signal.SIGKILL)
    await pools.until(lambda: pool.serving() not in ([], [victim]))
    trouble = pool.trouble()
    assert trouble is not None
    assert (trouble.ending, trouble.failures) == ("signal=SIGKILL", 1)


async def test_a_child_drained_by_hand_has_a_successor_and_is_no_trouble(pools: Pools) -> None:
    pool = await pools.of(1, "signal.signal(15, lambda *_: exit(0)); serve(); signal.pause()")
    await pool.ready()
    [drained] = pool.serving()
    os.kill(int(drained), signal.SIGTERM)
    await pools.until(lambda: pool.serving() not in ([], [drained]))
    assert pool.trouble() is None


async def test_a_child_that_cannot_work_is_told_unless_the_command_insists(pools: Pools) -> None:
    with pytest.raises(WorkerRefused):
        await (await pools.of(2, "exit(2)")).ready()
    pool = await pools.of(1, "exit(2)", insistent=True)
    await pools.until(lambda: (it := pool.trouble()) is not None and it.failures == 2)
    assert (it := pool.trouble()) is not None
    assert it.ending == "code=2"


async def test_what_cannot_be_started_is_tried_again(pools: Pools, tmp_path: Path) -> None:
    program = tmp_path / "program"
    pool = Pool(Command([str(program)]), 1, StopSignals(), changed=pools._changed.set)
    async with pool:
        await pools.until(lambda: pool.trouble() is not None)
        assert (it := pool.trouble()) is not None
        assert "No such file" in it.ending
        program.write_text(f"#!{sys.executable}\n" + CHILD.format(then=FAITHFUL))
        program.chmod(0o700)
        await pools.until(lambda: len(pool.serving()) == 1)
        await pool.stop(within_s=0)


async def test_a_child_that_will_not_drain_is_killed(
    pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nalar.processes.place.LEAVE_S", 0.1)
    deaf = "signal.signal(15, signal.SIG_IGN); serve(); signal.pause()"
    pool = await pools.of(1, deaf, grace_s=0.0)
    await pool.ready()
    pool.resize(0)
    await pools.until(lambda: pool.leaving() == 0)


async def test_fresh_processes_take_the_place_of_those_that_drain(pools: Pools) -> None:
    pool = await pools.of(2)
    await pool.ready()
    old = set(pool.serving())
    pool.renew()
    await pool.ready()
    assert not old & set(pool.serving())
