"""Directives by hand, on both brokers: what workers start, where sessions are served, and when."""

import asyncio
import logging
from collections import defaultdict

import pytest

import nalar
from nalar.bus.port import Delivery
from nalar.client.steering import Steering
from nalar.controllers.lanes import Credits
from nalar.directives import (
    Directive,
    Drain,
    Issued,
    Limit,
    Pause,
    Route,
    SetPriority,
    encode_directive,
    key_of,
)
from nalar.errors import UsageError
from nalar.ids import AgentName, SessionId, WorkerId
from nalar.messages import Invocation
from nalar.processes.host import Host
from nalar.statestore.sessions import slot_of
from tests.clusters import Cluster, kill, until

GATES: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
BEGAN: list[str] = []
TOOL, DESK = AgentName("direct_tool"), AgentName("DirectDesk")


@pytest.fixture(autouse=True)
def _anew() -> None:
    GATES.clear()
    BEGAN.clear()


@nalar.tool(name="direct_tool")
async def tool(name: str) -> str:
    BEGAN.append(name)
    await GATES[name].wait()
    return name


class DirectDesk(nalar.Agent, stateful=True):
    notes: nalar.ManagedList[str]

    @nalar.method(read_only=True)
    async def look(self) -> list[str]:
        return list(self.notes)

    @nalar.method
    async def note(self, text: str, gate: str = "") -> list[str]:
        BEGAN.append(text)
        if gate:
            await GATES[gate].wait()
        self.notes.append(text)
        return list(self.notes)


@nalar.workflow(name="direct_desk_twice")
async def twice(text: str) -> list[str]:
    await DirectDesk.note(text)
    return await DirectDesk.note(text)


async def steered(*hosts: Host) -> Steering:
    return Steering(hosts[0].backend.control, hosts[0].clock)


async def obeyed(revision: int, *hosts: Host) -> None:
    """Wait until all these workers obey what stands since `revision`."""
    for host in hosts:
        worker = host.worker
        assert worker is not None
        await until(lambda worker=worker: worker._directives.applied >= revision)


def open_all() -> None:
    for gate in list(GATES.values()):
        gate.set()


async def test_a_paused_agent_starts_nothing_until_it_is_resumed(cluster: Cluster) -> None:
    host = await cluster.worker("direct_tool")
    await cluster.client()
    steering = await steered(host)
    await obeyed(await steering.direct(Pause(TOOL), "a deployment"), host)
    GATES["a"].set()
    future = tool("a")
    late = await cluster.worker("direct_tool")  # One that joins later finds the directive.
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await future
    assert BEGAN == []
    assert await steering.withdraw(Pause(TOOL))
    assert await future == "a"
    assert not await steering.withdraw(Pause(TOOL))
    assert late.worker is not None


async def test_workers_log_what_people_direct_and_of_policies_what_there_are_few_of(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    host = await cluster.worker("direct_tool")
    steering, control = await steered(host), host.backend.control
    theirs = [SetPriority("tenant", "theirs", 1), Pause(TOOL)]
    with caplog.at_level(logging.INFO, "nalar.worker"):
        for directive in theirs:
            issued = Issued(directive, "srtf", "", host.clock.now_s())
            await control.put(key_of(directive), encode_directive(issued))
        await obeyed(await steering.direct(SetPriority("tenant", "mine", 1), "a launch"), host)
        for directive in theirs:
            await control.delete(key_of(directive))
        await steering.withdraw(SetPriority("tenant", "mine", 1))
        await until(lambda: "no longer directed: SetPriority" in caplog.text)
    assert "hand directs (a launch): SetPriority" in caplog.text
    assert "srtf directs: Pause" in caplog.text
    assert "theirs" not in caplog.text


async def test_a_limit_holds_in_a_worker_and_goes_with_its_withdrawal(cluster: Cluster) -> None:
    host = await cluster.worker("direct_tool", concurrency=8)
    await cluster.client()
    steering = await steered(host)
    await obeyed(await steering.direct(Limit("tenant", "acme", 1)), host)
    mine = [tool.options(tenant="acme")(name) for name in ("a", "b")]
    other = tool.options(tenant="other")("c")
    await until(lambda: sorted(BEGAN) == ["a", "c"])
    await steering.withdraw(Limit("tenant", "acme", 1))
    await until(lambda: sorted(BEGAN) == ["a", "b", "c"])
    for name in "abc":
        GATES[name].set()
    assert await nalar.gather(*mine, other) == ["a", "b", "c"]


async def test_a_priority_that_is_set_while_calls_wait_takes_them_ahead(cluster: Cluster) -> None:
    host = await cluster.worker("direct_tool", concurrency=1, prefetch_factor=8.0)
    await cluster.client()
    steering = await steered(host)
    first = tool("running")
    await until(lambda: BEGAN == ["running"])
    rest = [tool.options(tenant=name)(name) for name in ("low", "high")]
    worker = host.worker
    assert worker is not None
    await until(lambda: worker._state.counts()["queued"] == 2)
    await obeyed(await steering.direct(SetPriority("tenant", "high", 5)), host)
    for name in ("running", "low", "high"):
        GATES[name].set()
    await nalar.gather(first, *rest)
    assert BEGAN == ["running", "high", "low"]


async def owner_of(slot: int, *hosts: Host) -> Host:
    def owns(host: Host) -> bool:
        assert host.worker is not None
        return (DESK, slot) in host.worker._membership._own

    await until(lambda: any(map(owns, hosts)))
    return next(filter(owns, hosts))


async def moved(cluster: Cluster, session: str) -> tuple[Steering, Route, Host, Host]:
    """Return a route of `session` from its own worker to another, and the two."""
    one, two = await cluster.worker("DirectDesk"), await cluster.worker("DirectDesk")
    for host in (one, two):
        worker = host.worker
        assert worker is not None
        await until(lambda worker=worker: len(worker._membership._own) == 8)
    old = await owner_of(slot_of(SessionId(session), 16), one, two)
    new = two if old is one else one
    assert new.worker is not None
    slot = next(slot for _, slot in new.worker._membership._own)
    return await steered(await cluster.host()), Route(DESK, SessionId(session), slot), old, new


async def test_a_session_moves_with_what_runs_waits_and_comes(cluster: Cluster) -> None:
    await cluster.client()
    steering, route, old, new = await moved(cluster, "s")
    desk = DirectDesk.options(session="s")
    running, waiting = desk.note("1", "gate"), [desk.note(str(n)) for n in range(2, 7)]
    await until(lambda: BEGAN == ["1"])
    await obeyed(await steering.direct(route, "its worker is busy"), old, new)
    later = desk.note("7")
    GATES["gate"].set()
    assert await running == ["1"]
    assert await later == [str(n) for n in range(1, 8)]
    assert [len(await future) for future in waiting] == [2, 3, 4, 5, 6]
    assert old.worker is not None
    assert new.worker is not None
    await until(lambda: new.worker is not None and new.worker._finished >= 6)
    assert old.worker._finished == 1


async def test_calls_of_agents_go_straight_to_where_their_session_was_moved(
    cluster: Cluster,
) -> None:
    await cluster.client()
    steering, route, old, new = await moved(cluster, "s")
    third = await cluster.worker("direct_desk_twice")
    await obeyed(await steering.direct(route), old, new, third)
    passed_on: list[str] = []
    assert old.worker is not None
    forward = old.worker._intake._forward

    async def noted(delivery: Delivery, invocation: Invocation, lane: str) -> None:
        passed_on.append(invocation.path)
        await forward(delivery, invocation, lane)

    old.worker._intake._forward = noted  # type: ignore[method-assign]
    assert await twice.options(session="s")("a") == ["a", "a"]
    assert passed_on == []
    assert await DirectDesk.options(session="s").note("b") == ["a", "a", "b"]
    assert passed_on == ["DirectDesk.note"], "a client goes by the hash"


async def test_a_move_survives_the_death_of_the_new_worker_and_its_withdrawal(
    cluster: Cluster,
) -> None:
    await cluster.client()
    steering, route, old, new = await moved(cluster, "s")
    desk = DirectDesk.options(session="s")
    await obeyed(await steering.direct(route), old, new)
    lost = desk.note("1", "gate")
    await until(lambda: BEGAN == ["1"])
    await kill(new)
    GATES["gate"].set()
    assert await lost == ["1"]
    await steering.withdraw(route)
    assert await desk.note("2") == ["1", "2"]


async def test_a_session_that_comes_back_is_read_anew_where_a_call_ran_when_it_left(
    cluster: Cluster,
) -> None:
    await cluster.client()
    steering, route, old, new = await moved(cluster, "s")
    desk = DirectDesk.options(session="s")
    running = desk.note("1", "gate")
    await until(lambda: BEGAN == ["1"])
    await obeyed(await steering.direct(route), old, new)
    GATES["gate"].set()
    assert await running == ["1"]
    assert await desk.note("2") == ["1", "2"]
    for number in (3, 4):
        assert len(await desk.note(str(number))) == number
        await cluster.client()  # Has heard of nothing.
        assert len(await desk.look()) == number
    await steering.withdraw(route)
    # Passed on to where the hash says, or read here: neither worker has an older copy.
    for _ in range(2):
        assert await desk.look() == ["1", "2", "3", "4"]


async def test_directives_that_come_thick_and_fast_lose_no_call(cluster: Cluster) -> None:
    await cluster.client()
    steering, route, old, new = await moved(cluster, "s")
    desk = DirectDesk.options(session="s")
    futures: list[nalar.Future[list[str]]] = []
    for turn in range(30):
        futures.append(desk.note(str(turn)))
        if turn % 3 == 0:
            await steering.direct(Route(DESK, SessionId("s"), (route.slot + turn) % 16))
        elif turn % 5 == 0:
            await steering.withdraw(route)
    results = await nalar.gather(*futures)
    assert results[-1] == [str(turn) for turn in range(30)]
    assert old.worker is not None
    assert new.worker is not None


async def test_a_drain_is_told_once_and_leaves_nothing_behind(cluster: Cluster) -> None:
    host = await cluster.worker("direct_tool")
    worker = host.worker
    assert worker is not None
    told: list[Directive] = []
    worker.on_end(told.append)
    steering = await steered(host)
    await steering.direct(Drain(WorkerId("another")))
    await steering.direct(Drain(worker.name), "it is to be replaced")
    await until(lambda: told == [Drain(worker.name)])
    assert [it.issued.directive for it in await steering.standing()] == [Drain(WorkerId("another"))]


async def test_what_no_directive_may_say_is_refused(cluster: Cluster) -> None:
    steering = await steered(await cluster.host())
    with pytest.raises(UsageError, match="concurrency = -1"):
        await steering.direct(Limit("tenant", "acme", -1))
    with pytest.raises(UsageError, match=r"agent = 'a\.b'"):
        await steering.direct(Pause(AgentName("a.b")))


async def test_a_directive_from_a_foreign_hand_is_not_obeyed_and_harms_nothing(
    cluster: Cluster,
) -> None:
    host = await cluster.worker("direct_tool")
    await cluster.client()
    control = host.backend.control
    for body in (b"", b"{}", b"\xff", b'{"v":1,"kind":"pause","agent":"other"}', b"[" * 9000):
        revision = await control.put(f"directive.pause.{TOOL}", body)
    await obeyed(revision, host)
    GATES["a"].set()
    assert await tool("a") == "a"


def test_a_muted_lane_is_asked_nothing_and_heard_again_after() -> None:
    credits_ = Credits(8)
    credits_.open("A/x", 1)
    credits_.open("B/x", 1)
    assert {ask.lane for ask in credits_.asks(0)} == {"A/x", "B/x"}
    credits_.delivered("A/x", 5)
    credits_.mute("A/", muted=True)
    assert credits_.asks(0) == []
    credits_.mute("A/", muted=False)
    assert sum(ask.count for ask in credits_.asks(0) if ask.lane == "A/x") > 0
