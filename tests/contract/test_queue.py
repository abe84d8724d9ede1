"""The promises of `nalar.bus.port`, on every adapter."""

import asyncio

import pytest

from nalar.backend import Backend
from nalar.bus import subjects
from nalar.bus.codec import encode_invocation
from nalar.bus.port import Delivery, Inbox
from nalar.errors import InvalidToken, MalformedMessage, Unavailable, ValueTooLarge
from nalar.ids import AgentName
from nalar.messages import Invocation
from tests.contract.worlds import (
    LEASE_S,
    Collected,
    World,
    eventually,
    make_invocation,
    make_ref,
    new_agent,
)

LANE = subjects.LANE_NORMAL


async def opened(
    client: Backend, agent: AgentName, lane: str = LANE, seen: list[Delivery] | None = None
) -> tuple[Inbox, Collected[Delivery], list[int]]:
    got, lapsed = Collected[Delivery](), list[int]()

    def deliver(delivery: Delivery) -> None:
        got.append(delivery)
        if seen is not None:
            seen.append(delivery)

    return await client.queue.open(agent, lane, deliver, lapsed.append), got, lapsed


def content(delivery: Delivery) -> Invocation:
    assert isinstance(delivery.content, Invocation), delivery.content
    return delivery.content


async def test_what_is_published_is_delivered_as_it_was(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    await client.queue.ensure(agent, slots=2)
    sent = make_invocation(make_ref(agent))
    await client.queue.publish(LANE, sent)
    inbox, got, _ = await opened(client, agent)
    inbox.request(1)
    delivery = (await got.reach(1))[0]
    headers, body = encode_invocation(sent)
    assert delivery.content == sent
    assert delivery.raw == headers + body
    assert (delivery.deliveries, delivery.lane, delivery.backlog) == (1, LANE, 0)


async def test_messages_come_in_the_order_of_the_calls(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    sent = [make_invocation(make_ref(agent)) for _ in range(50)]
    await asyncio.gather(*[client.queue.publish(LANE, one) for one in sent])
    inbox, got, _ = await opened(client, agent)
    inbox.request(20)
    inbox.request(30)
    await got.reach(50)
    assert [delivery.content for delivery in got] == sent
    assert [delivery.backlog for delivery in got] == list(range(49, -1, -1))


async def test_no_more_is_delivered_than_was_asked_for(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    for _ in range(5):
        await client.queue.publish(LANE, make_invocation(make_ref(agent)))
    either = Collected[Delivery]()
    inbox, got, _ = await opened(client, agent, seen=either)
    inbox.request(2)
    await got.reach(2)
    other, rest, _ = await opened(client, agent, seen=either)
    other.request(10)
    await rest.reach(3)
    assert (len(got), len(rest)) == (2, 3)
    inbox.request(1)
    await client.queue.publish(LANE, make_invocation(make_ref(agent)))
    await either.reach(6)
    assert len(got) <= 3


async def test_the_asks_of_the_idlest_go_first(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    await client.queue.ensure(agent, slots=0)
    came = Collected[str]()
    for name, level in [("full", 9), ("idle", 0), ("half", 5), ("idle, too", 0)]:
        worker = await world.connect()

        def deliver(delivery: Delivery, name: str = name) -> None:
            delivery.ack()
            came.append(name)

        inbox = await worker.queue.open(agent, LANE, deliver, lambda _: None)
        inbox.request(2, level)
        inbox.request(1, 9)

    async def all_asks_are_open() -> bool:
        return await world.asks(agent, LANE) == 7  # Those of "full" are one.

    await eventually(all_asks_are_open)
    for count in range(1, 13):
        await client.queue.publish(LANE, make_invocation(make_ref(agent)))
        await came.reach(count)
    assert sorted(came[:4]) == ["idle", "idle", "idle, too", "idle, too"]
    assert came[0] != came[1], "those of one level take turns"
    assert list(came[4:6]) == ["half", "half"]


async def test_a_request_waits_for_its_message(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    inbox, got, _ = await opened(client, agent)
    inbox.request(1)
    sent = make_invocation(make_ref(agent))
    await client.queue.publish(LANE, sent)
    assert (await got.reach(1))[0].content == sent


async def test_publishing_makes_the_stream_and_the_message_waits_for_its_consumer(
    world: World,
) -> None:
    client, agent = await world.connect(), new_agent()
    await asyncio.gather(
        *[client.queue.publish("s.3", make_invocation(make_ref(agent))) for _ in range(20)]
    )
    worker = await world.connect()
    await worker.queue.ensure(agent, slots=4)
    inbox, got, _ = await opened(worker, agent, "s.3")
    inbox.request(20)
    await got.reach(20)


async def test_ensuring_at_once_from_many_clients_is_safe(world: World) -> None:
    agent = new_agent()
    clients = [await world.connect() for _ in range(4)]
    await asyncio.gather(*[client.queue.ensure(agent, slots=8) for client in clients * 3])
    await clients[0].queue.publish("s.7", make_invocation(make_ref(agent)))
    inbox, got, _ = await opened(clients[1], agent, "s.7")
    inbox.request(1)
    await got.reach(1)


async def test_a_future_that_waits_in_the_lane_is_stored_once(world: World) -> None:
    client, other, agent = await world.connect(), await world.connect(), new_agent()
    sent, last = make_invocation(make_ref(agent)), make_invocation(make_ref(agent))
    await asyncio.gather(*[one.queue.publish(LANE, sent) for one in (client, other) * 10])
    await client.queue.publish(LANE, last)
    inbox, got, _ = await opened(client, agent)
    inbox.request(10)
    await got.reach(2)
    assert [content(delivery).ref for delivery in got] == [sent.ref, last.ref]


async def test_a_copy_of_a_running_call_is_not_stored_but_its_retry_is(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    ref = make_ref(agent)
    await client.queue.publish(LANE, make_invocation(ref))
    inbox, got, _ = await opened(client, agent)
    inbox.request(5)
    first = (await got.reach(1))[0]
    await client.queue.publish(LANE, make_invocation(ref))
    await client.queue.publish(LANE, make_invocation(ref, attempt=2))
    first.ack()
    assert content((await got.reach(2))[1]).attempt == 2
    assert len(got) == 2


async def test_an_acknowledged_future_may_come_again(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    sent = make_invocation(make_ref(agent))
    inbox, got, _ = await opened(client, agent)
    inbox.request(2)
    await client.queue.publish(LANE, sent)
    (await got.reach(1))[0].ack()
    # The ack and this publish may overtake each other at the server: publish until it is seen.
    async with asyncio.timeout(5):
        while len(got) < 2:
            await client.queue.publish(LANE, sent)
    assert content(got[1]) == sent


async def test_lanes_and_agents_do_not_mix(world: World) -> None:
    client, agent, another = await world.connect(), new_agent(), new_agent()
    for owner, lane in ((agent, "q.low"), (agent, "s.1"), (another, LANE), (agent, LANE)):
        await client.queue.publish(lane, make_invocation(make_ref(owner)))
    inbox, got, _ = await opened(client, agent)
    inbox.request(4)
    slot, held, _ = await opened(client, agent, "s.1")
    slot.request(4)
    await got.reach(1)
    await held.reach(1)
    assert content(got[0]).ref.agent == agent
    assert (len(got), len(held), held[0].lane) == (1, 1, "s.1")


async def test_a_message_whose_lease_ran_out_comes_again(world: World) -> None:
    client, other, agent = await world.connect(), await world.connect(), new_agent()
    await client.queue.publish(LANE, make_invocation(make_ref(agent)))
    inbox, got, _ = await opened(client, agent)
    inbox.request(1)
    await got.reach(1)
    started = asyncio.get_running_loop().time()
    taker, again, _ = await opened(other, agent)
    taker.request(1)
    assert (await again.reach(1))[0].deliveries == 2
    assert asyncio.get_running_loop().time() - started > LEASE_S * 0.5


async def test_extending_keeps_a_message(world: World) -> None:
    client, other, agent = await world.connect(), await world.connect(), new_agent()
    await client.queue.publish(LANE, make_invocation(make_ref(agent)))
    inbox, got, _ = await opened(client, agent)
    inbox.request(1)
    delivery = (await got.reach(1))[0]
    taker, again, _ = await opened(other, agent)
    taker.request(1)
    for _ in range(8):  # Two leases long.
        await asyncio.sleep(LEASE_S / 4)
        delivery.extend()
    assert not again
    delivery.hand_back()
    assert (await again.reach(1))[0].deliveries == 2


async def test_handing_back_gives_the_message_to_another_at_once(world: World) -> None:
    client, other, agent = await world.connect(), await world.connect(), new_agent()
    await client.queue.publish(LANE, make_invocation(make_ref(agent)))
    inbox, got, _ = await opened(client, agent)
    inbox.request(1)
    delivery = (await got.reach(1))[0]
    taker, again, _ = await opened(other, agent)
    taker.request(1)
    delivery.hand_back()
    delivery.ack()  # Too late: it was settled.
    second = (await again.reach(1, within_s=LEASE_S * 0.8))[0]
    assert second.deliveries == 2
    second.ack()


async def test_handing_back_with_a_delay_waits_for_it(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    await client.queue.publish(LANE, make_invocation(make_ref(agent)))
    inbox, got, _ = await opened(client, agent)
    inbox.request(2)
    loop = asyncio.get_running_loop()
    started = loop.time()
    (await got.reach(1))[0].hand_back(0.4)
    await got.reach(2)
    assert 0.35 < loop.time() - started < 0.4 + LEASE_S


async def test_what_was_handed_back_for_long_is_had_at_once_by_any_name_it_was_held_by(
    world: World,
) -> None:
    # Over one connection: of words over two, either may come first.
    client, agent = await world.connect(), new_agent()
    await client.queue.publish(LANE, make_invocation(make_ref(agent)))
    inbox, got, _ = await opened(client, agent)
    inbox.request(4)
    first = (await got.reach(1))[0]
    first.hand_back(60.0)
    client.queue.hurry(first.lease)
    second = (await got.reach(2))[1]
    second.hand_back(60.0)
    client.queue.hurry(first.lease)
    third = (await got.reach(3))[2]
    assert third.deliveries == 3
    third.ack()
    client.queue.hurry(first.lease)
    await client.queue.publish(LANE, later := make_invocation(make_ref(agent)))
    assert (await got.reach(4))[3].content == later, "what is gone stays gone"


async def test_an_acknowledged_or_terminated_message_never_comes_again(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    for _ in range(3):
        await client.queue.publish(LANE, make_invocation(make_ref(agent)))
    inbox, got, _ = await opened(client, agent)
    inbox.request(10)
    first, second, third = await got.reach(3)
    first.ack()
    first.hand_back()
    second.terminate("it cannot be\r\nunderstood")
    second.extend()
    await got.reach(4)  # The third's lease runs out, and only the third's.
    assert content(got[3]).ref == content(third).ref


async def test_a_closed_inbox_delivers_nothing_and_what_it_held_stays_held(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    held, free = make_invocation(make_ref(agent)), make_invocation(make_ref(agent))
    await client.queue.publish(LANE, held)
    inbox, got, _ = await opened(client, agent)
    inbox.request(5)
    delivery = (await got.reach(1))[0]
    await inbox.close()
    await inbox.close()
    inbox.request(5)
    taker, rest, _ = await opened(client, agent)
    taker.request(5)
    await client.queue.publish(LANE, free)
    await rest.reach(1)
    assert [content(one).ref for one in rest] == [free.ref]
    assert len(got) == 1
    delivery.ack()


async def test_a_client_that_is_gone_loses_its_messages_to_others_and_cannot_ack(
    world: World,
) -> None:
    client, other, agent = await world.connect(), await world.connect(), new_agent()
    await client.queue.publish(LANE, make_invocation(make_ref(agent)))
    inbox, got, _ = await opened(client, agent)
    inbox.request(5)
    delivery = (await got.reach(1))[0]
    await client.close()
    delivery.ack()
    taker, again, _ = await opened(other, agent)
    taker.request(1)
    assert (await again.reach(1))[0].deliveries == 2
    with pytest.raises(Unavailable):
        await client.queue.publish(LANE, make_invocation(make_ref(agent)))


async def test_work_is_shared_among_those_who_ask(world: World) -> None:
    agent = new_agent()
    clients = [await world.connect() for _ in range(4)]
    await clients[0].queue.ensure(agent, slots=0)
    collected: list[Collected[Delivery]] = []
    for client in clients:
        inbox, got, _ = await opened(client, agent)
        inbox.request(25)
        collected.append(got)
    sent = [make_invocation(make_ref(agent)) for _ in range(100)]
    await asyncio.gather(*[clients[0].queue.publish(LANE, one) for one in sent])
    await asyncio.gather(*[got.reach(25) for got in collected])
    refs = [content(delivery).ref for got in collected for delivery in got]
    assert sorted(map(str, refs)) == sorted(str(one.ref) for one in sent)


@pytest.mark.parametrize(
    ("headers", "body", "says"),
    [
        (None, b"{}", "Nalar-Protocol is missing"),
        (b"NATS/1.0\r\nNalar-Protocol: 9\r\n\r\n", b"{}", "version '9'"),
        (b"NATS/1.0\r\nNalar-Protocol: 1\r\nnalar-protocol: 1\r\n\r\n", b"{}", "twice"),
        (b"NATS/1.0\r\nNalar-Protocol: \xff\r\n\r\n", b"{}", "UTF-8"),
    ],
)
async def test_what_is_no_invocation_comes_as_malformed_and_can_be_terminated(
    world: World, headers: bytes | None, body: bytes, says: str
) -> None:
    client, agent = await world.connect(), new_agent()
    await client.queue.ensure(agent, slots=0)
    ref = make_ref(agent)
    await world.inject(subjects.invocation_subject(agent, LANE, ref.future), headers, body)
    inbox, got, _ = await opened(client, agent)
    inbox.request(2)
    delivery = (await got.reach(1))[0]
    assert isinstance(delivery.content, MalformedMessage)
    assert says in str(delivery.content)
    assert delivery.raw == (headers or b"") + body
    delivery.terminate(str(delivery.content))
    good = make_invocation(make_ref(agent))
    await client.queue.publish(LANE, good)
    assert (await got.reach(2))[1].content == good


async def test_too_large_a_message_is_refused_and_the_connection_goes_on(world: World) -> None:
    client, agent = await world.connect(), new_agent()
    big = b'{"x":"%s"}' % (b"a" * 1024 * 1024)
    with pytest.raises(ValueTooLarge, match=r"Agent.*work"):
        await client.queue.publish(LANE, make_invocation(make_ref(agent), body=big))
    fits = b'{"x":"%s"}' % (b"a" * (client.inline_max_bytes - 100))
    await client.queue.publish(LANE, make_invocation(make_ref(agent), body=fits))
    inbox, got, _ = await opened(client, agent)
    inbox.request(1)
    assert content((await got.reach(1))[0]).arguments.text == fits


async def test_an_agent_that_cannot_stand_in_a_subject_is_refused(world: World) -> None:
    client = await world.connect()
    with pytest.raises(InvalidToken):
        await client.queue.ensure(AgentName("a.b"), slots=0)
