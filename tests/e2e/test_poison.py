"""Calls that take all memory, or never end: an error on record, a dead letter, and others pass."""

import pytest

from tests.e2e.commands import Nalar, Started

#: For processes that need a third of it as long as nobody is greedy.
MEMORY_MIB = 2_000


@pytest.fixture(scope="module")
def pool(workshop: Nalar, url: str) -> Started:
    """Two workers for all tests here."""
    short = {
        "NALAR_SET_LEASE_S": "1.5", "NALAR_SET_CRASHES_MAX": "1", "NALAR_SET_STOP_GRACE_S": "0.5",
        "NALAR_SET_BLOCK_MAX_S": "2.5",
    }  # fmt: skip
    started = workshop.start_within(
        MEMORY_MIB, "worker", "flows.py", "--processes", 2, NATS_URL=url, **short
    )
    started.says("worker ready")
    return started


def fails(served: Nalar, tool: str, argument: str, reason: str, **environ: str) -> None:
    """Call a tool: its caller and the newest dead letter must say `reason`, and others pass."""
    failed = served("call", tool, "--json", f'["{argument}"]', "--timeout", 40, code=1, **environ)
    assert f"{reason}: " in failed.stderr
    letters = served.json("dlq", "ls", "--agent", tool, "-o", "json")
    assert letters[0]["reason"].startswith(f"{reason}: ")
    assert served.json("call", "shout", "--json", '["on"]', "--timeout", 20) == "ON!"


@pytest.mark.usefixtures("pool")
def test_a_call_that_takes_memory_until_there_is_none_fails_with_memory_error(
    served: Nalar,
) -> None:
    fails(served, "hog", "python", "MemoryError")
    assert len(served.entered("hog-python")) == 1


def test_a_call_whose_memory_ends_its_worker_ends_as_crashed(served: Nalar, pool: Started) -> None:
    fails(served, "hog", "native", "WorkerCrashed")
    for pid in served.entered("hog-native", 2):
        pool.says(rf"worker died pid={pid}")


def test_a_thread_that_never_ends_is_expired_at_its_deadline_and_its_process_replaced(
    served: Nalar, pool: Started
) -> None:
    fails(served, "deaf", "thread", "Expired", NALAR_SET_DEADLINE_S="1")
    [stuck] = served.entered("thread")
    pool.says(rf"worker recycled pid={stuck}")


def test_a_loop_that_never_yields_is_ended_with_its_process_and_expired_by_another(
    served: Nalar, pool: Started
) -> None:
    fails(served, "spin", "loop", "Expired", NALAR_SET_DEADLINE_S="2")
    [pid] = served.entered("loop")
    pool.says(rf"worker died pid={pid}")
