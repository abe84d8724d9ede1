"""Calls that fail, take too long or wait too long, whichever broker carries them."""

import asyncio
from collections import Counter
from typing import Any

import pytest

import nalar
from nalar.bus.codec import decode_record
from nalar.errors import AgentError, ArgumentError, Expired, InvalidResult
from nalar.ids import AgentName, FutureId, MethodName, Ref, RootId, SessionId
from nalar.messages import Invocation, Payload
from nalar.processes.host import Host
from tests.clusters import Cluster, kill, until

RUNS: Counter[str] = Counter()
#: When each run of a call began, by the loop's clock.
BEGAN: dict[str, list[float]] = {}
ATTEMPTS: list[int] = []
GATES: dict[str, asyncio.Event] = {}
KEYS: set[str] = set()
SOON = nalar.Retry(max_attempts=3, initial_s=0.02, jitter=0)


@pytest.fixture(autouse=True)
def forget() -> None:
    for kept in (RUNS, BEGAN, ATTEMPTS, GATES, KEYS):
        kept.clear()


class RateLimited(Exception):
    pass


class TooManyTokens(RateLimited):
    pass


def begin(name: str) -> int:
    RUNS[name] += 1
    BEGAN.setdefault(name, []).append(asyncio.get_running_loop().time())
    return RUNS[name]


@nalar.tool(name="retries_flaky", retry=SOON)
async def flaky(name: str, failures: int) -> int:
    ATTEMPTS.append(nalar.context().attempt)
    KEYS.add(nalar.context().idempotency_key)
    if begin(name) <= failures:
        raise RateLimited(f"run {RUNS[name]}")
    return RUNS[name]


@nalar.tool(
    name="retries_choosy",
    retry=nalar.Retry(max_attempts=5, initial_s=0.01, non_retryable=(RateLimited,)),
)
async def choosy(name: str) -> int:
    begin(name)
    raise TooManyTokens("no")


@nalar.tool(name="retries_patient", retry=SOON)
async def patient(name: str, wait_s: float) -> int:
    if begin(name) == 1:
        raise nalar.RetryLater("rate limited", retry_after_s=wait_s)
    return RUNS[name]


@nalar.tool(name="retries_slow", timeout_s=0.1)
async def slow(name: str, slow_runs: int) -> int:
    if begin(name) <= slow_runs:
        await asyncio.sleep(60)
    return RUNS[name]


@nalar.tool(name="retries_lying", retry=SOON)
async def lying(name: str) -> int:
    begin(name)
    return "no number"  # type: ignore[return-value]


@nalar.tool(name="retries_mistaken", retry=SOON)
async def mistaken(name: str) -> int:
    begin(name)
    return await flaky(name)  # type: ignore[call-overload, no-any-return]


@nalar.tool(name="retries_gated")
async def gated(name: str) -> str:
    begin(name)
    await GATES[name].wait()
    return name


@nalar.tool(name="retries_leaf")
async def leaf(name: str, failures: int) -> int:
    if begin(name) <= failures:
        raise RateLimited(name)
    return RUNS[name]


@nalar.workflow(name="retries_parent", retry=SOON)
async def parent(good: str, bad: str, failures: int) -> list[int]:
    begin("parent")
    done = await leaf(good, 0)
    return [done, await leaf(bad, failures)]


@nalar.workflow(name="retries_interrupted", retry=nalar.Retry(max_attempts=2, initial_s=0.02))
async def interrupted(name: str) -> str:
    begin(f"{name}-parent")
    if nalar.context().attempt == 1:
        raise RateLimited("first")
    try:
        await leaf(f"{name}-leaf", 1)
    except AgentError:
        return await gated(name)
    return "the leaf that had failed in this very attempt was made again"


class RetriesCounter(nalar.Agent, stateful=True):
    seen: nalar.ManagedList[int]

    @nalar.method(retry=nalar.Retry(max_attempts=2, initial_s=0.4, jitter=0))
    async def push_later(self, x: int) -> list[int]:
        self.seen.append(x)
        if begin(f"push {x}") == 1:
            raise RateLimited("after the change")
        return list(self.seen)

    @nalar.method
    async def push(self, x: int) -> list[int]:
        self.seen.append(x)
        return list(self.seen)


async def records(host: Host) -> list[Any]:
    return [
        decode_record(entry.ref, entry.body)
        for entry in await host.backend.ledger.find("call.*.*.*.*.*.*")
    ]


async def test_a_call_that_fails_is_run_again_with_backoff_until_it_succeeds(
    cluster: Cluster,
) -> None:
    worker = await cluster.worker("retries_flaky")
    await cluster.client()
    assert await flaky("a", 2) == 3
    assert ATTEMPTS == [1, 2, 3]
    assert len(KEYS) == 1
    first, second, third = BEGAN["a"]
    assert second - first >= 0.02
    assert third - second >= 0.04
    [record] = await records(worker)
    assert (record.status, record.attempt) == ("succeeded", 3)


async def test_after_the_last_attempt_its_error_is_the_record(cluster: Cluster) -> None:
    worker = await cluster.worker("retries_flaky")
    await cluster.client()
    with pytest.raises(AgentError, match="run 3"):
        await flaky("a", 9)
    assert RUNS["a"] == 3
    [record] = await records(worker)
    assert (record.status, record.attempt) == ("failed", 3)


async def test_a_call_may_bring_a_policy_of_its_own(cluster: Cluster) -> None:
    await cluster.worker("retries_flaky", "retries_leaf")
    await cluster.client()
    with pytest.raises(AgentError):
        await flaky.options(retry=nalar.Retry())("once", 1)
    assert RUNS["once"] == 1
    assert await leaf.options(retry=SOON)("twice", 1) == 2
    with pytest.raises(AgentError):
        await leaf.options(retry=nalar.Retry(5, non_retryable=(RateLimited,)))("never", 1)
    assert RUNS["never"] == 1


async def test_an_error_that_inherits_from_a_non_retryable_one_ends_the_call(
    cluster: Cluster,
) -> None:
    await cluster.worker("retries_choosy")
    await cluster.client()
    with pytest.raises(AgentError, match="TooManyTokens"):
        await choosy("a")
    assert RUNS["a"] == 1


async def test_what_another_attempt_would_not_mend_is_not_tried_again(cluster: Cluster) -> None:
    await cluster.worker("retries_lying", "retries_mistaken", "retries_flaky")
    await cluster.client()
    with pytest.raises(InvalidResult):
        await lying("lie")
    with pytest.raises(ArgumentError):
        await mistaken("mistake")
    assert RUNS == {"lie": 1, "mistake": 1}


async def test_an_error_can_ask_for_patience(cluster: Cluster) -> None:
    await cluster.worker("retries_patient")
    await cluster.client()
    assert await patient("a", 0.3) == 2
    first, second = BEGAN["a"]
    assert second - first >= 0.3


async def test_an_execution_that_takes_too_long_is_ended_and_tried_again(
    cluster: Cluster,
) -> None:
    await cluster.worker("retries_slow")
    await cluster.client()
    with pytest.raises(AgentError, match=r"longer than its timeout_s of 0\.1") as caught:
        await slow("once", 1)
    assert caught.value.type_name == "TimeoutError"
    assert await slow.options(retry=SOON)("twice", 1) == 2
    assert await slow.options(timeout_s=30)("long", 0) == 1


async def test_a_call_that_waits_too_long_for_its_start_expires_and_says_so(
    cluster: Cluster,
) -> None:
    GATES["busy"] = asyncio.Event()
    await cluster.worker("retries_gated", "retries_leaf", concurrency=1)
    await cluster.client()
    busy = gated("busy")
    await until(lambda: RUNS["busy"])
    with pytest.raises(Expired, match=r"waited .* s in the queue"):
        await leaf.options(queue_timeout_s=0.2)("late", 0)
    GATES["busy"].set()
    assert await busy == "busy"
    assert RUNS["late"] == 0
    # A call that runs has been started: the limit is no concern of it any more.
    assert await leaf.options(queue_timeout_s=5)("prompt", 0) == 1


async def test_no_attempt_is_made_that_would_begin_after_the_deadline(cluster: Cluster) -> None:
    await cluster.worker("retries_flaky")
    await cluster.client()
    late = nalar.Retry(max_attempts=3, initial_s=30)
    with pytest.raises(AgentError, match="run 1"):
        await flaky.options(retry=late, deadline_s=20)("a", 3)
    assert RUNS["a"] == 1


async def test_while_a_call_waits_for_its_retry_its_session_serves_others(
    cluster: Cluster,
) -> None:
    await cluster.worker("RetriesCounter")
    await cluster.client()
    session = RetriesCounter.options(session="s")
    waiting = session.push_later(1)
    await until(lambda: RUNS["push 1"] == 1)
    # The same caller's next call follows in order; another caller's does not wait.
    after = session.push(2)
    await cluster.client()
    assert await RetriesCounter.options(session="s").push(3) == [3]
    assert await waiting == [3, 1]
    assert await after == [3, 1, 2]


async def test_a_retried_parent_reuses_finished_children_and_makes_failed_ones_again(
    cluster: Cluster,
) -> None:
    await cluster.worker("retries_parent", "retries_leaf")
    await cluster.client()
    assert await parent("good", "bad", 2) == [1, 3]
    assert RUNS == {"parent": 3, "good": 1, "bad": 3}


async def test_a_resumed_attempt_sees_the_errors_that_it_has_seen(cluster: Cluster) -> None:
    GATES["w"] = asyncio.Event()
    await cluster.worker("retries_leaf", "retries_gated")
    await cluster.client()
    first = await cluster.worker("retries_interrupted")
    future = interrupted("w")
    await until(lambda: RUNS["w"])
    await kill(first)
    await cluster.worker("retries_interrupted")
    await until(lambda: RUNS["w-parent"] == 3)
    GATES["w"].set()
    assert await future == "w"
    assert RUNS == {"w-parent": 3, "w-leaf": 1, "w": 1}


def invocation(future: str, **changes: Any) -> Invocation:
    ref = Ref(
        "r", AgentName("retries_flaky"), SessionId("_"), RootId(future), "me", FutureId(future)
    )
    values: dict[str, Any] = {
        "ref": ref, "method": MethodName("run"), "session": SessionId(future),
        "arguments": Payload(b'{"name":"both","failures":1}'), "deadline": 4e9, "created": 1.0,
    }  # fmt: skip
    return Invocation(**(values | changes))


async def test_of_two_attempts_that_are_both_stored_the_record_decides(cluster: Cluster) -> None:
    """As a crash leaves them between the publish of the next and the ack of the last."""
    client = await cluster.client()
    queue = client.host.backend.queue
    await queue.ensure(AgentName("retries_flaky"), slots=0)
    for attempt in (1, 2):
        await queue.publish("q.normal", invocation("both", attempt=attempt))
    worker = await cluster.worker("retries_flaky")
    ref = invocation("both").ref
    assert await client.host.calls.attach(None, ref) == 2
    assert worker.worker is not None
    await until(lambda: worker.worker is not None and not worker.worker._held)
    again = await cluster.worker("retries_flaky")
    assert again.worker is not None
    [record] = await records(worker)
    assert record.attempt == 2
    assert RUNS["both"] == 2


async def test_a_worker_that_dies_before_it_acknowledges_leaves_one_effect(
    cluster: Cluster,
) -> None:
    first = await cluster.worker("RetriesCounter")
    await cluster.client()
    queue = first.backend.queue
    publish, published = queue.publish, asyncio.Event()

    def die_then_answer(lane: str, sent: Invocation) -> asyncio.Future[None]:
        async def dead() -> None:
            await publish(lane, sent)
            published.set()
            await asyncio.Event().wait()

        return asyncio.get_running_loop().create_task(dead())

    queue.publish = die_then_answer  # type: ignore[method-assign]
    future = RetriesCounter.options(session="s").push_later(1)
    await published.wait()
    await kill(first)
    await cluster.worker("RetriesCounter")
    assert await future == [1]
    assert await RetriesCounter.options(session="s").push(2) == [1, 2]
