"""Calls that are stopped so that they run elsewhere, on both brokers."""

import asyncio
import threading
from collections import Counter, defaultdict

import pytest

import nalar
from nalar.agents.spec import Hints
from nalar.client.steering import Steering
from nalar.errors import UsageError
from nalar.ids import AgentName, SessionId
from tests.clusters import Cluster, until
from tests.contract.worlds import eventually

GATES: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
WORK = threading.Event()
BEGAN: Counter[str] = Counter()
ENDED: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def _anew() -> None:
    GATES.clear()
    WORK.clear()
    BEGAN.clear()
    ENDED.clear()


class Interruptible(nalar.Agent, stateful=True, preemptable=True):
    notes: nalar.ManagedList[str]

    @nalar.method
    async def note(self, text: str) -> list[str]:
        BEGAN[text] += 1
        self.notes.append(text)
        try:
            await GATES[text].wait()
        finally:
            ENDED[text] += 1
        return list(self.notes)


class Abortable(nalar.Agent, preemptable="_abort"):
    def __init__(self) -> None:
        self.aborted = threading.Event()

    def _abort(self) -> None:
        self.aborted.set()
        WORK.set()

    @nalar.method
    def work(self) -> str:
        BEGAN["work"] += 1
        WORK.wait()
        return "aborted" if self.aborted.is_set() else "done"


async def test_a_running_call_of_a_session_that_is_moved_begins_again_elsewhere_and_counts_once(
    cluster: Cluster,
) -> None:
    hosts = [await cluster.worker("Interruptible") for _ in range(2)]
    client = await cluster.client()
    ask = Interruptible.options(session="s")
    future = ask.note("a")
    await until(lambda: BEGAN["a"] == 1)
    after = ask.note("b")
    [there] = [
        it.worker for it in hosts
        if it.worker is not None and not any(held.slot for held in it.worker._held.values())
    ]  # fmt: skip
    steering = Steering(client.host.backend.control, client.host.clock)
    agent = AgentName("Interruptible")

    async def moved() -> bool:
        try:
            await steering.migrate(agent, SessionId("s"), there.name)
        except UsageError:  # It owns no slots yet.
            return False
        return True

    await eventually(moved)
    await until(lambda: BEGAN["a"] == 2)
    assert ENDED["a"] == 1, "the first was stopped before the second began"
    GATES["a"].set()
    GATES["b"].set()
    assert await nalar.gather(future, after) == [["a"], ["a", "b"]]


async def test_a_worker_that_drains_does_not_wait_for_what_may_run_elsewhere(
    cluster: Cluster,
) -> None:
    first = await cluster.worker("Interruptible", "Abortable")
    await cluster.client()
    note = Interruptible.options(session="s").note("a")
    work = Abortable.work()
    await until(lambda: BEGAN["a"] == 1 and BEGAN["work"] == 1)
    await cluster.worker("Interruptible", "Abortable")
    assert first.worker is not None
    async with asyncio.timeout(10):
        assert await first.worker.drain(grace_s=60.0) == 0
    GATES["a"].set()
    assert await note == ["a"]
    assert await work == "done", "what the stopped code returned is not its result"
    assert BEGAN == {"a": 2, "work": 2}


def test_a_name_that_is_no_method_is_refused_before_it_is_served() -> None:
    class Mistaken(nalar.Agent, preemptable="abrot"):
        @nalar.method
        async def work(self) -> None: ...

    with nalar.local(), pytest.raises(UsageError, match="no method 'abrot'"):
        Mistaken.work().result()
    with pytest.raises(UsageError, match="preemptable is True or the name"):
        Hints(preemptable=3)  # type: ignore[arg-type]
