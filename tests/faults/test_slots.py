"""Workers that end while they take slots, or pass calls on to them."""

from dataclasses import replace
from pathlib import Path

import orjson

import nalar
from nalar.bus.embedded import EmbeddedServer
from nalar.ids import AgentName, FutureId, MethodName, Ref, RootId, SessionId
from nalar.messages import Invocation, Payload
from tests.faults.bank import Bank, all_cases

#: A worker takes sixteen slots as it starts; whose answer is lost, it does not start.
TAKES = ["before_lease:exit:1", "after_lease:exit:9", "after_lease:exit:16", "after_lease:drop:3"]


async def deposits(bank: Bank) -> None:
    """Make deposits on accounts all over the slots."""
    add = bank.desk.account
    asked = [add.options(session=f"{bank.account}-{n}").add(bank.log, n) for n in range(32)]
    assert await nalar.gather(*asked) == [[n] for n in range(32)]


async def test_slots_of_a_worker_that_ended_while_it_took_them_are_served_by_another(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    async def case(bank: Bank, fault: str) -> None:
        await (await bank.victim(fault, serving=False)).fails(fault)
        await bank.heir()
        await deposits(bank)
        assert bank.runs() == (0, 0, 32)

    assert await all_cases(server.url, tmp_path, TAKES, case) == {}


async def test_a_call_that_was_passed_on_by_a_worker_that_ended_runs_once(bank: Bank) -> None:
    """It came in a lane that all workers share, as a foreign program may publish it."""
    now_s = bank.client.host.clock.now_s()
    session = SessionId(bank.account)
    root = RootId("passed-on")
    ref = Ref("s", AgentName(bank.desk.names[2]), session, root, "caller", FutureId(root))
    call = Invocation(
        ref,
        MethodName("add"),
        session,
        Payload(orjson.dumps({"log": bank.log, "amount": 7})),
        deadline=now_s + 600,
        created=now_s,
        path="foreign",
    )
    victim = await bank.victim("before_ack:exit:1")
    await bank.client.host.backend.queue.publish("q.normal", call)
    await victim.fails("before_ack:exit:1")
    await bank.heir()
    assert await bank.client.host.calls.attach(None, ref) == [7]
    await bank.client.host.backend.queue.publish("q.normal", replace(call, resent=True))
    await bank.nothing_waits()
    assert await bank.entries() == [7]
    assert bank.runs() == (0, 0, 1)
