"""Calls that fail for good, and calls that kill their workers, whichever broker carries them."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

import nalar
from nalar.calls.letters import details
from nalar.client.client import Client
from nalar.controllers.crashes import Starts
from nalar.errors import AgentError, DependencyFailed, Expired, UnknownTarget, UsageError
from nalar.ids import AgentName, FutureId, MethodName, Ref, RootId, SessionId
from nalar.messages import Payload
from nalar.processes.host import Host
from tests.clusters import Cluster, kill, until
from tests.contract.test_retries import invocation

RUNS: Counter[str] = Counter()
GATES: dict[str, asyncio.Event] = {}
BROKEN: set[str] = set()


@pytest.fixture(autouse=True)
def forget() -> None:
    for kept in (RUNS, GATES, BROKEN):
        kept.clear()


@nalar.tool(name="dead_fragile")
async def fragile(name: str, note: str = "") -> str:
    RUNS[name] += 1
    if name in BROKEN:
        raise ValueError(f"{name} is broken {note}")
    return name


@nalar.tool(name="dead_gated")
async def gated(name: str) -> str:
    RUNS[name] += 1
    await GATES[name].wait()
    return name


@nalar.workflow(name="dead_forgiving")
async def forgiving(name: str) -> str:
    try:
        return await fragile(name)
    except AgentError:
        return "forgiven"


@nalar.workflow(name="dead_insisting")
async def insisting(name: str) -> str:
    try:
        return await fragile.options(retry=nalar.Retry(2, initial_s=0.01))(name)
    except AgentError:
        return "forgiven"


class DeadNotes(nalar.Agent, stateful=True):
    notes: nalar.ManagedList[str]

    @nalar.method
    async def add(self, note: str) -> int:
        if note in BROKEN:
            raise ValueError(note)
        self.notes.append(note)
        return len(self.notes)

    @nalar.method(read_only=True)
    async def count(self) -> int:
        if "count" in BROKEN:
            raise ValueError("count")
        return len(self.notes)


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await holds():  # noqa: ASYNC110 -- what is awaited announces itself to nobody
            await asyncio.sleep(0.01)


async def letters_of(client: Client, count: int) -> list[str]:
    """Wait for so many dead letters: the caller may hear of the record before its letter stands."""

    async def are_there() -> bool:
        return len(await client.dead_letters()) >= count

    await eventually(are_there)
    letters = await client.dead_letters()
    assert len(letters) == count
    return [letter.id for letter in letters]


async def test_a_worker_says_in_its_log_what_failed_and_where_the_rest_stands(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    await cluster.worker("dead_fragile")
    await cluster.client()
    BROKEN.add("pipe")
    future = fragile.options(retry=nalar.Retry(2, initial_s=0.01))("pipe", "\x1b[31m\nat the seam")
    with pytest.raises(AgentError):
        await future
    assert future.ref is not None
    told = f"ValueError: pipe is broken [31m at the seam (dead letter {future.ref.future})"
    await until(lambda: f"dead_fragile.run failed: {told}" in caplog.text)
    assert "dead_fragile.run failed, attempt 1 of 2: ValueError: pipe is broken" in caplog.text
    assert "\x1b" not in caplog.text


async def test_a_request_that_failed_leaves_a_letter_with_all_there_is_to_know(
    cluster: Cluster,
) -> None:
    worker = await cluster.worker("dead_fragile")
    client = await cluster.client()
    BROKEN.add("a")
    with pytest.raises(AgentError):
        await fragile.options(tenant="acme", session="an odd one")("a", note="ü")
    [name] = await letters_of(client, 1)
    letter = await client.dead_letter(name)
    assert (letter.kind, letter.target, letter.attempts) == ("call", "dead_fragile.run", 1)
    assert letter.reason == "ValueError: a is broken ü"
    told = details(letter)
    assert told["arguments"] == {"name": "a", "note": "ü"}
    assert (told["session"], told["tenant"], told["path"]) == ("an odd one", "acme", "dead_fragile")
    assert told["worker"] == (worker.worker.name if worker.worker is not None else "")
    assert "in fragile" in told["error"]["traceback"]


async def test_who_handled_an_error_leaves_no_letter_but_who_exhausted_a_retry_does(
    cluster: Cluster,
) -> None:
    await cluster.worker("dead_fragile", "dead_forgiving", "dead_insisting", "DeadNotes")
    client = await cluster.client()
    BROKEN.update(("a", "b"))
    assert await forgiving("a") == "forgiven"
    assert await fragile("fine") == "fine"
    assert await insisting("b") == "forgiven"
    [name] = await letters_of(client, 1)
    letter = await client.dead_letter(name)
    assert letter.attempts == 2
    assert details(letter)["path"] == "dead_insisting > dead_fragile"


async def test_requests_that_expired_leave_a_letter_and_dependants_leave_none(
    cluster: Cluster,
) -> None:
    GATES["busy"] = asyncio.Event()
    await cluster.worker("dead_gated", "dead_fragile", concurrency=1)
    client = await cluster.client()
    busy = gated("busy")
    await until(lambda: RUNS["busy"])
    with pytest.raises(Expired):
        await fragile.options(queue_timeout_s=0.1)("late")
    [_] = await letters_of(client, 1)
    GATES["busy"].set()
    await busy
    BROKEN.add("a")
    with pytest.raises(DependencyFailed):
        await fragile(fragile("a"))
    assert len(await letters_of(client, 2)) == 2


async def test_a_redriven_call_is_a_new_request_for_the_same(cluster: Cluster) -> None:
    await cluster.worker("dead_fragile")
    client = await cluster.client()
    BROKEN.add("a")
    failed = fragile.options(tenant="acme")("a")
    with pytest.raises(AgentError):
        await failed
    [name] = await letters_of(client, 1)
    BROKEN.clear()
    run = await client.redrive(name)
    assert await (await client.future(run)) == "a"
    assert run != name
    assert (await client.dead_letter(name)).redriven_as == (run,)
    with pytest.raises(UsageError, match=run):
        await client.redrive(name)
    second = await client.redrive(name, again=True)
    assert await (await client.future(second)) == "a"
    assert (await client.dead_letter(name)).redriven_as == (run, second)
    with pytest.raises(AgentError):
        await failed


async def test_a_redriven_call_of_a_session_changes_that_session(cluster: Cluster) -> None:
    await cluster.worker("DeadNotes")
    client = await cluster.client()
    session = DeadNotes.options(session="s")
    BROKEN.update(("second", "count"))
    assert await session.add("first") == 1
    with pytest.raises(AgentError):
        await session.add("second")
    with pytest.raises(AgentError):
        await session.count()
    names = await letters_of(client, 2)
    BROKEN.clear()
    results = [await (await client.future(await client.redrive(name))) for name in reversed(names)]
    assert results == [2, 2]
    assert (await client.session("DeadNotes", "s")).state == {"notes": ["first", "second"]}


async def test_large_arguments_are_redriven_from_where_they_are_kept(cluster: Cluster) -> None:
    await cluster.worker("dead_fragile")
    client = await cluster.client()
    BROKEN.add("a")
    with pytest.raises(AgentError):
        await fragile("a", "x" * 3_000_000)
    [name] = await letters_of(client, 1)
    assert details(await client.dead_letter(name))["blob"]["size"] > 3_000_000
    BROKEN.clear()
    assert await (await client.future(await client.redrive(name))) == "a"


async def test_purged_letters_are_gone(cluster: Cluster) -> None:
    await cluster.worker("dead_fragile")
    client = await cluster.client()
    BROKEN.update(("a", "b"))
    for name in ("a", "b"):
        with pytest.raises(AgentError):
            await fragile(name)
    kept, purged = await letters_of(client, 2)
    assert await client.purge_dead([purged]) == 1
    assert await letters_of(client, 1) == [kept]
    with pytest.raises(UnknownTarget, match=purged):
        await client.redrive(purged)
    assert [letter.id for letter in await client.dead_letters("dead_fragile")] == [kept]
    assert await client.dead_letters("somebody_else") == []


async def test_a_letter_that_a_crash_left_out_is_written_by_the_next_delivery(
    cluster: Cluster,
) -> None:
    first = await cluster.worker("dead_fragile")
    client = await cluster.client()
    BROKEN.add("a")
    control, stopped = first.backend.control, asyncio.Event()

    async def never(*_: object, **__: object) -> int:
        stopped.set()
        await asyncio.Event().wait()
        return 0

    control.put = never  # type: ignore[method-assign]
    with pytest.raises(AgentError):
        await fragile("a")
    await stopped.wait()
    await kill(first)
    assert await client.dead_letters() == []
    await cluster.worker("dead_fragile")
    [name] = await letters_of(client, 1)
    assert (await client.dead_letter(name)).reason == "ValueError: a is broken "
    assert RUNS["a"] == 1


# Calls that kill their workers.


async def starts_of(host: Host) -> list[int]:
    entries = await host.backend.control.scan("start")
    return [Starts.decode(entry.value).count for entry in entries]


async def test_a_call_that_kills_its_workers_ends_as_crashed_and_others_pass(
    cluster: Cluster,
) -> None:
    GATES["killer"], GATES["good"] = asyncio.Event(), asyncio.Event()
    client = await cluster.client()
    killer = gated("killer")
    for life in (1, 2):  # The first death leaves no trace; the second is counted.
        worker = await cluster.worker("dead_gated", crashes_max=1)
        await until(lambda life=life: RUNS["killer"] == life)
        await kill(worker)
    await cluster.worker("dead_gated", crashes_max=1)
    good = gated("good")
    GATES["good"].set()
    assert await good == "good"
    with pytest.raises(nalar.WorkerCrashed, match="died once or more while it ran"):
        await killer
    assert RUNS["killer"] == 2
    [name] = await letters_of(client, 1)
    assert (await client.dead_letter(name)).reason.startswith("WorkerCrashed")
    GATES["killer"].set()
    assert await (await client.future(await client.redrive(name))) == "killer"


async def test_a_drained_call_has_not_killed_anybody(cluster: Cluster) -> None:
    GATES["long"] = asyncio.Event()
    await cluster.client()
    future = gated("long")
    for life in range(1, 5):
        worker = await cluster.worker("dead_gated", crashes_max=1)
        await until(lambda life=life: RUNS["long"] == life)
        assert await worker.drain(0) == 1
    last = await cluster.worker("dead_gated", crashes_max=1)
    await until(lambda: RUNS["long"] == 5)
    GATES["long"].set()
    assert await future == "long"

    async def none_left() -> bool:
        return await starts_of(last) == []

    await eventually(none_left)


async def test_a_call_that_is_tried_again_is_not_suspected_for_it(cluster: Cluster) -> None:
    worker = await cluster.worker("dead_fragile", crashes_max=1)
    client = await cluster.client()
    BROKEN.add("a")
    with pytest.raises(AgentError):
        await fragile.options(retry=nalar.Retry(6, initial_s=0.02, multiplier=1))("a")
    assert RUNS["a"] == 6
    assert (await client.dead_letter((await letters_of(client, 1))[0])).attempts == 6
    assert await starts_of(worker) == []


async def test_calls_that_may_have_been_sent_twice_are_not_suspected_for_it(
    cluster: Cluster,
) -> None:
    client = await cluster.client()
    worker = await cluster.worker("dead_fragile", crashes_max=1)
    made = invocation("x", resent=True, arguments=Payload(b'{"name":"x"}'))
    stray = replace(made, ref=replace(made.ref, agent=AgentName("dead_fragile")))
    for _ in range(3):
        await client.host.backend.queue.publish("q.normal", stray)
    assert await client.host.calls.attach(None, stray.ref) == "x"
    assert RUNS["x"] == 1

    async def none_left() -> bool:
        return await starts_of(worker) == []

    await eventually(none_left)


async def test_calls_that_are_passed_on_to_their_session_are_not_suspected_for_it(
    cluster: Cluster,
) -> None:
    client = await cluster.client()
    worker = await cluster.worker("DeadNotes", crashes_max=1)
    made = invocation("n", method=MethodName("add"), arguments=Payload(b'{"note":"x"}'))
    for number in range(4):
        session, name = SessionId("s"), FutureId(f"n{number}")
        ref = Ref("s", AgentName("DeadNotes"), session, RootId(name), "me", name)
        await client.host.backend.queue.publish("q.normal", replace(made, ref=ref, session=session))
        assert await client.host.calls.attach(None, ref) == number + 1

    async def none_left() -> bool:
        return await starts_of(worker) == []

    await eventually(none_left)
