"""Code that does not come back is interrupted, or left alone."""

import threading
from collections.abc import Callable

import pytest

from nalar.cluster.watchdog import Overdue, WatchedThread


def for_s(seconds: float) -> Callable[[], float]:
    """Say how much is left: all of it once, then nothing."""
    left = [seconds]
    return lambda: left.pop() if left else 0.0


async def test_what_comes_back_in_time_gives_its_answer_or_its_error() -> None:
    thread = WatchedThread("test")
    assert await thread.run(lambda: 41 + 1, for_s(5.0)) == 42
    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda: 1 / 0, for_s(5.0))
    thread.close()


async def test_what_loops_is_interrupted_and_the_thread_goes_on() -> None:
    thread, turns = WatchedThread("test"), 0

    def loop() -> None:
        nonlocal turns
        while True:
            turns += 1

    with pytest.raises(Overdue):
        await thread.run(loop, for_s(0.05))
    seen = turns
    assert await thread.run(threading.get_ident, for_s(5.0)) != threading.get_ident()
    assert turns == seen
    assert not thread.abandoned
    thread.close()


async def test_what_cannot_be_interrupted_is_left_alone() -> None:
    thread, release = WatchedThread("test"), threading.Lock()
    release.acquire()
    with pytest.raises(Overdue):
        await thread.run(release.acquire, for_s(0.05))
    assert thread.abandoned == 1
    assert await thread.run(lambda: "next", for_s(5.0)) == "next"
    release.release()
    thread.close()
