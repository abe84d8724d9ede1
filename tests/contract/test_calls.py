"""What a caller may rely on, whichever broker carries the calls."""

import asyncio
import dataclasses
import datetime as dt
import enum
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pydantic
import pytest

import nalar
from nalar.errors import (
    AgentError,
    ArgumentError,
    Cancelled,
    DependencyFailed,
    Expired,
    FutureMisuse,
    InvalidResult,
    ReentrantCall,
    UnknownTarget,
    ValueTooLarge,
)
from nalar.settings import Settings
from tests.clusters import Cluster, jetstream_cluster, kill, memory_cluster, until

SETTINGS = Settings(lease_s=2.0, reread_s=1.0, concurrency=4)


@pytest.fixture(params=["memory", pytest.param("jetstream", marks=pytest.mark.nats)])
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    if request.param == "memory":
        async with memory_cluster(SETTINGS) as made:
            yield made
    else:
        async with jetstream_cluster(SETTINGS, tmp_path) as made:
            yield made


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


@nalar.workflow(name="calls_two_steps")
async def two_steps(name: str) -> str:
    first = await gated(f"{name}-1")
    second = await gated(f"{name}-2")
    return first + second


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


ALL = ["CallsCounter", *(f"calls_{name}" for name in (
    "add", "double", "total", "echo", "text", "fail", "exit", "lie", "gated", "deep", "deep_sync",
    "diamond", "plain", "failing", "two_steps",
))]  # fmt: skip


async def test_a_call_returns_its_result_with_defaults_filled(cluster: Cluster) -> None:
    await cluster.worker("calls_add", "calls_double")
    await cluster.client()
    assert await add(1) == 2
    assert await add(1, b=5) == 6
    assert await double(4) == 8


async def test_a_call_made_before_any_worker_lives_is_served_by_the_first(
    cluster: Cluster,
) -> None:
    await cluster.client()
    future = add(20, 22)
    await cluster.worker("calls_add")
    assert await future == 42


async def test_typed_values_come_back_as_they_went(cluster: Cluster) -> None:
    await cluster.worker("calls_echo")
    await cluster.client()
    when = dt.datetime(2026, 11, 24, 12, 30, tzinfo=dt.UTC)
    box = Box(when, b"\x00\xff", {Colour.RED})
    shape = Shape(sides=4, boxes=[box])
    assert await echo(box, shape) == (box, shape)


async def test_futures_nested_in_arguments_are_dependencies(cluster: Cluster) -> None:
    await cluster.worker(*ALL)
    await cluster.client()
    assert await diamond(4) == (0 + 2 + 4 + 6) + 6
    nested: list[Any] = [double(1), 3]
    named: dict[str, Any] = {"x": add(double(2), 1)}
    assert await total(nested, named) == 2 + 3 + 5
    assert await total(nalar.gather(double(1), double(2)), {}) == 6


@pytest.mark.parametrize("workflow", [deep, deep_sync])
async def test_waiting_calls_give_up_their_slot_so_a_deep_chain_needs_one(
    cluster: Cluster, workflow: "nalar.Future[int]"
) -> None:
    await cluster.worker("calls_deep", "calls_deep_sync", concurrency=1)
    await cluster.client()
    async with asyncio.timeout(20):
        assert await workflow(20) == 20  # type: ignore[operator]


async def test_synchronous_workflows_wait_gather_and_iterate(cluster: Cluster) -> None:
    await cluster.worker(*ALL)
    await cluster.client()
    assert await plain() == [1, 2, 3]


async def test_an_agent_that_raises_gives_type_message_traceback_and_path(
    cluster: Cluster,
) -> None:
    await cluster.worker(*ALL)
    await cluster.client()
    with pytest.raises(AgentError) as caught:
        await failing()
    assert caught.value.type_name == "KeyError"
    assert "deep down" in str(caught.value)
    assert caught.value.path == "calls_failing > calls_fail"
    assert "raise KeyError(message)" in caught.value.remote_traceback
    assert "nalar/agents/executor" not in caught.value.remote_traceback


async def test_a_failed_dependency_fails_its_dependant_without_running_it(
    cluster: Cluster,
) -> None:
    await cluster.worker(*ALL)
    await cluster.client()
    with pytest.raises(DependencyFailed, match=r"calls_fail.*'boom'"):
        await add(fail("boom"))


async def test_an_agent_that_exits_or_lies_about_its_result_leaves_the_worker_alive(
    cluster: Cluster,
) -> None:
    await cluster.worker(*ALL)
    await cluster.client()
    with pytest.raises(AgentError, match="SystemExit"):
        await leave()
    with pytest.raises(InvalidResult, match="calls_lie"):
        await lie()
    assert await add(1) == 2


async def test_wrong_arguments_fail_at_the_call(cluster: Cluster) -> None:
    await cluster.client()
    with pytest.raises(ArgumentError, match="'a'"):
        add("seven")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError):
        add()  # type: ignore[call-arg]
    with pytest.raises(ArgumentError):
        add(1, 2, 3)  # type: ignore[call-arg]


async def test_a_session_sees_every_call_once_and_in_its_callers_order(cluster: Cluster) -> None:
    await cluster.worker("CallsCounter")
    client = await cluster.client()
    session = CallsCounter.options(session="ann")
    assert await nalar.gather(*(session.push(x) for x in range(20))) == list(range(1, 21))
    assert await session.look() == list(range(20))
    assert await CallsCounter.options(session="bob").look() == []
    view = await client.session("CallsCounter", "ann")
    assert view.state == {"seen": list(range(20)), "named": {"all": list(range(20))}}


async def test_a_session_name_may_be_any_text(cluster: Cluster) -> None:
    await cluster.worker("CallsCounter")
    client = await cluster.client()
    for name in ("ann@example.org", "a.b.*.>", "naïve ünicode", "x" * 100):
        assert await CallsCounter.options(session=name).push(1) == 1
        assert (await client.session("CallsCounter", name)).state["seen"] == [1]
    assert ("CallsCounter", "a.b.*.>") in await client.sessions()


async def test_a_call_that_raises_leaves_no_trace_in_its_session(cluster: Cluster) -> None:
    await cluster.worker("CallsCounter")
    await cluster.client()
    session = CallsCounter.options(session="s")
    await session.push(1)
    with pytest.raises(AgentError, match="after the change"):
        await session.push_then_fail(2)
    assert await session.look() == [1]
    assert await session.push(3) == 2


async def test_a_read_only_method_that_changes_state_is_refused(cluster: Cluster) -> None:
    await cluster.worker("CallsCounter")
    await cluster.client()
    session = CallsCounter.options(session="s")
    with pytest.raises(InvalidResult, match="read_only"):
        await session.cheat()
    assert await session.look() == []


async def test_state_outlives_the_worker(cluster: Cluster) -> None:
    await cluster.client()
    session = CallsCounter.options(session="s")
    first = await cluster.worker("CallsCounter", snapshot_every=3)
    for x in range(5):
        await session.push(x)
    await first.drain(1)
    await cluster.worker("CallsCounter")
    assert await session.look() == [0, 1, 2, 3, 4]
    assert await session.push(5) == 6


async def test_a_call_into_a_session_that_its_chain_holds_is_refused(cluster: Cluster) -> None:
    await cluster.worker("CallsCounter")
    await cluster.client()
    session = CallsCounter.options(session="s")
    with pytest.raises(ReentrantCall, match="CallsCounter/s > CallsCounter/s"):
        await session.again()
    await session.push(7)
    assert await session.look_from_inside() == [7]


async def test_workers_that_join_share_the_slots_and_lose_nothing(cluster: Cluster) -> None:
    first = await cluster.worker("CallsCounter")
    await cluster.client()
    sessions = [CallsCounter.options(session=f"s{n}") for n in range(32)]
    await nalar.gather(*(session.push(0) for session in sessions))
    second = await cluster.worker("CallsCounter")
    assert first.worker is not None
    assert second.worker is not None
    for worker in (first.worker, second.worker):
        await until(lambda owned=worker._membership._own: len(owned) == 8)
    counts = await nalar.gather(*(session.push(1) for session in sessions))
    assert counts == [2] * 32
    assert first.worker.describe()["finished"] != 32
    assert second.worker.describe()["finished"] != 0


async def test_the_calls_of_a_dead_worker_take_effect_once_elsewhere(cluster: Cluster) -> None:
    RUNS.clear()
    GATES["dead"] = asyncio.Event()
    first = await cluster.worker("CallsCounter")
    await cluster.client()
    session = CallsCounter.options(session="s")
    assert await session.push(1) == 1
    future = session.push_when_open("dead", 2)
    later = session.push(3)
    await until(lambda: RUNS.get("dead") == 1)
    await kill(first)
    GATES["dead"].set()
    await cluster.worker("CallsCounter")
    assert await future == 2
    assert await later == 3
    assert RUNS["dead"] == 2
    assert await session.look() == [1, 2, 3]


async def test_a_resumed_workflow_does_not_run_its_finished_children_again(
    cluster: Cluster,
) -> None:
    RUNS.clear()
    GATES["w-1"], GATES["w-2"] = asyncio.Event(), asyncio.Event()
    await cluster.client()
    tools = await cluster.worker("calls_gated")
    first = await cluster.worker("calls_two_steps")
    future = two_steps("w")
    GATES["w-1"].set()
    await until(lambda: RUNS.get("w-2") == 1)
    await kill(first)
    await cluster.worker("calls_two_steps")
    await asyncio.sleep(0)
    GATES["w-2"].set()
    assert await future == "w-1w-2"
    assert RUNS == {"w-1": 1, "w-2": 1}
    assert tools.worker is not None


async def test_large_arguments_and_results_travel_by_reference(cluster: Cluster) -> None:
    await cluster.worker("calls_text")
    await cluster.client()
    value = "0123456789" * 3_000_000
    assert await text(value) == value


async def test_a_value_over_the_limit_is_refused_by_name_before_it_is_sent(
    cluster: Cluster,
) -> None:
    cluster.settings = dataclasses.replace(cluster.settings, value_max_bytes=1000)
    await cluster.worker("calls_text")
    await cluster.client()
    with pytest.raises(ValueTooLarge, match=r"value_max_bytes.*'value'"):
        text("x" * 1001)
    assert await text("x" * 900) == "x" * 900


async def test_an_unknown_method_is_a_typed_error_that_names_the_nearest(
    cluster: Cluster,
) -> None:
    await cluster.worker("CallsCounter")
    client = await cluster.client()
    with pytest.raises(UnknownTarget, match="push"):
        await client.call("CallsCounter.pusch", 1)
    with pytest.raises(UnknownTarget, match="CallsCounter"):
        await client.call("CallsCountr.push", 1)


async def test_a_call_by_name_needs_no_source(cluster: Cluster) -> None:
    await cluster.worker("calls_add", "CallsCounter")
    client = await cluster.client()
    assert await (await client.call("calls_add", 1, b=2)) == 3
    assert await (await client.call("CallsCounter.push", 1)) == 1


async def test_a_cancelled_call_ends_as_cancelled_and_changes_nothing(cluster: Cluster) -> None:
    RUNS.clear()
    GATES["cancel"] = asyncio.Event()
    await cluster.worker("CallsCounter")
    await cluster.client()
    session = CallsCounter.options(session="s")
    future = session.push_when_open("cancel", 1)
    await until(lambda: RUNS.get("cancel") == 1)
    assert future.cancel()
    with pytest.raises(Cancelled):
        await future
    GATES["cancel"].set()
    assert await session.look() == []
    assert not future.cancel()


async def test_a_call_whose_deadline_passes_in_the_queue_expires(cluster: Cluster) -> None:
    RUNS.clear()
    GATES["slow"] = asyncio.Event()
    await cluster.worker("calls_gated", "calls_add", concurrency=1)
    await cluster.client()
    blocking = gated("slow")
    await until(lambda: RUNS.get("slow") == 1)
    with pytest.raises(Expired):
        await add.options(deadline_s=0.2)(1)
    GATES["slow"].set()
    assert await blocking == "slow"


async def test_draining_finishes_what_runs_and_gives_back_the_rest(cluster: Cluster) -> None:
    RUNS.clear()
    for name in ("first", "second"):
        GATES[name] = asyncio.Event()
    worker = await cluster.worker("calls_gated", concurrency=1)
    await cluster.client()
    first, second = gated("first"), gated("second")
    await until(lambda: RUNS.get("first") == 1)
    draining = asyncio.get_running_loop().create_task(worker.drain(10))
    await asyncio.sleep(0)
    GATES["first"].set()
    GATES["second"].set()
    assert await draining == 0
    assert await first == "first"
    await cluster.worker("calls_gated")
    assert await second == "second"
    assert RUNS == {"first": 1, "second": 1}


async def test_futures_on_an_event_loop_name_await(cluster: Cluster) -> None:
    await cluster.worker("calls_add")
    await cluster.client()
    future = add(1)
    with pytest.raises(FutureMisuse, match="await"):
        future.result()
    with pytest.raises(FutureMisuse, match="await"):
        len(future)
    with pytest.raises(FutureMisuse):
        bool(future)
    assert await future == 2


async def test_calls_may_be_made_from_any_thread(cluster: Cluster) -> None:
    await cluster.worker("calls_add")
    await cluster.client()
    results: list[int] = []

    def make_call(n: int) -> None:
        results.append(add(n).result(10))

    threads = [threading.Thread(target=make_call, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    await until(lambda: len(results) == 8)
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(1, 9))


async def test_submitted_runs_are_found_again_by_another_client(cluster: Cluster) -> None:
    await cluster.worker("calls_add")
    run = await (await cluster.client()).submit(add, 1, 2)
    other = await cluster.client()
    assert await (await other.future(run)) == 3
    with pytest.raises(UnknownTarget, match="no run"):
        await other.future("nonsense")
