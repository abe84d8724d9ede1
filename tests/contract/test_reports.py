"""The promises of `nalar.bus.port.Reports`, on every adapter."""

import pytest

from nalar.bus.subjects import metrics_subject
from nalar.errors import ValueTooLarge
from nalar.ids import AgentName, RootId, SessionId, WorkerId
from nalar.reports import AgentLoad, Report, RequestLoad, SessionLoad
from tests.contract.worlds import Collected, JetStreamWorld, World

ONE, TWO, DESK = WorkerId("one"), WorkerId("two"), AgentName("Desk")


def report(worker: WorkerId, number: int) -> Report:
    return Report(
        worker, number, at_s=1.5, full=number == 1, concurrency=4, running=2, applied=7,
        agents={DESK: AgentLoad(queued=number)},
        slots={DESK: [0, 3]},
        sessions={DESK: {SessionId("s"): SessionLoad(queued=1), SessionId("t"): None}},
        requests={RootId("r"): RequestLoad(finished=2), RootId("q"): None},
    )  # fmt: skip


async def test_all_who_listen_hear_each_worker_in_order(world: World) -> None:
    teller, listener = await world.connect(), await world.connect()
    heard, also = Collected[Report](), Collected[Report]()
    listener.reports.watch(heard.append)
    teller.reports.watch(also.append)
    await listener.control.get("flushed")  # The server has read the subscription before this.
    told = [report(ONE, 1), report(TWO, 1), report(ONE, 2)]
    for one in told:
        teller.reports.publish(one)
    assert await heard.reach(3) == told
    assert await also.reach(3) == told


async def test_who_has_closed_the_watch_hears_nothing_more(world: World) -> None:
    client = await world.connect()
    closed, open_ = Collected[Report](), Collected[Report]()
    first = client.reports.watch(closed.append)
    client.reports.watch(open_.append)
    await client.control.get("flushed")
    client.reports.publish(report(ONE, 1))
    await closed.reach(1)
    first.close()
    first.close()
    client.reports.publish(report(ONE, 2))
    await open_.reach(2)
    assert len(closed) == 1


async def test_a_report_beyond_the_payload_limit_is_refused_and_the_next_one_goes(
    world: World,
) -> None:
    client = await world.connect()
    heard = Collected[Report]()
    client.reports.watch(heard.append)
    await client.control.get("flushed")
    huge = report(ONE, 1)
    huge.requests = {RootId(f"{number:032x}"): RequestLoad() for number in range(20_000)}
    with pytest.raises(ValueTooLarge, match="metric report"):
        client.reports.publish(huge)
    client.reports.publish(report(ONE, 2))
    assert [it.number for it in await heard.reach(1)] == [2]


async def test_what_is_no_report_is_left_out(world: World) -> None:
    client = await world.connect()
    if not isinstance(world, JetStreamWorld):
        pytest.skip("in memory nobody publishes but by the port")
    heard = Collected[Report]()
    client.reports.watch(heard.append)
    for body in (b"", b"\xff", b"{}", b'{"worker": 1, "number": []}', b"[" * 10_000):
        world.tell(metrics_subject(ONE), body)
    client.reports.publish(report(ONE, 1))
    assert await heard.reach(1) == [report(ONE, 1)]


async def test_who_begins_to_listen_or_asks_has_workers_asked_for_full_reports(
    world: World,
) -> None:
    worker, listener = await world.connect(), await world.connect()
    asked, closed = Collected[int](), Collected[int]()
    worker.reports.on_ask(lambda: asked.append(1))
    watch = worker.reports.on_ask(lambda: closed.append(1))
    await worker.control.get("flushed")
    listener.reports.watch(lambda _: None)
    await asked.reach(1)
    await closed.reach(1)
    watch.close()
    listener.reports.ask()
    await asked.reach(2)
    assert len(closed) == 1
