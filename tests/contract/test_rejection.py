"""Callers of messages that could not be understood get an answer, whatever language they speak."""

import asyncio
from typing import Any

import pytest

from nalar.bus.codec import encode_invocation
from nalar.bus.subjects import invocation_subject
from nalar.client.client import Client
from nalar.errors import Rejected
from nalar.ids import AgentName, Effect, FutureId, MethodName, Ref, RootId, SessionId
from nalar.messages import Invocation, Payload
from tests.clusters import Cluster, until
from tests.contract.served import CallsCounter


def strange(effect: Effect, agent: str, future: str = "x", session: str = "s") -> Invocation:
    """A well-formed call of a stranger, to be broken."""
    kept = session if effect == "s" else "_"
    ref = Ref(
        effect,
        AgentName(agent),
        SessionId(kept),
        RootId(future),
        "me",
        FutureId(future),
    )
    return Invocation(
        ref=ref, method=MethodName("push" if effect == "s" else "run"), session=SessionId(session),
        arguments=Payload(b'{"x": 1}'), deadline=4e9, created=1.0, path="push",
    )  # fmt: skip


async def inject(
    cluster: Cluster, sent: Invocation, *broken: tuple[bytes, bytes], attempt: int = 1
) -> None:
    """Publish `sent` with pieces of its bytes replaced."""
    head, body = encode_invocation(sent)
    for good, bad in broken:
        assert good in head + body
        head, body = head.replace(good, bad), body.replace(good, bad)
    subject = invocation_subject(sent.ref.agent, "q.normal", sent.ref.future, attempt)
    await cluster.inject(subject, head, body)


async def ended(client: Client, ref: Ref) -> Any:
    async with asyncio.timeout(5):
        return await client.host.calls.attach(None, ref)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ((b'"path":"push"', b'"path":"push'), "not JSON"),
        ((b"Protocol: 1", b"Protocol: 99"), "99"),
        ((b"Nalar-Method: run\r\n", b""), "Nalar-Method"),
        ((b"4000000000.0", b"soon"), "Nalar-Deadline"),
    ],
)
async def test_the_caller_of_a_message_that_is_not_understood_is_told_why(
    cluster: Cluster, broken: tuple[bytes, bytes], reason: str
) -> None:
    await cluster.worker("calls_add")
    client = await cluster.client()
    sent = strange("r", "calls_add")
    await inject(cluster, sent, broken)
    with pytest.raises(Rejected, match=reason):
        await ended(client, sent.ref)
    assert len(await client.host.backend.control.scan("dead")) == 1


async def test_a_rejected_call_of_a_session_stands_in_its_log_and_changes_nothing(
    cluster: Cluster,
) -> None:
    await cluster.worker("CallsCounter")
    client = await cluster.client()
    stub = CallsCounter.options(session="s")
    assert await stub.push(1) == 1
    sent = strange("s", "CallsCounter")
    await inject(cluster, sent, (b"4000000000.0", b"soon"))
    with pytest.raises(Rejected, match="Nalar-Deadline"):
        await ended(client, sent.ref)
    assert await stub.push(2) == 2
    assert (await client.session("CallsCounter", "s")).state["seen"] == [1, 2]


async def test_state_that_an_agent_does_not_keep_is_told_to_the_caller(cluster: Cluster) -> None:
    await cluster.worker("calls_add")
    client = await cluster.client()
    sent = strange("s", "calls_add")
    await inject(cluster, sent)
    with pytest.raises(Rejected, match="keeps no state"):
        await ended(client, sent.ref)


async def test_a_record_that_stands_is_not_touched_by_a_broken_copy_of_its_message(
    cluster: Cluster,
) -> None:
    await cluster.worker("calls_add")
    client = await cluster.client()
    sent = strange("r", "calls_add")
    await inject(cluster, sent, (b'{"x": 1}', b'{"a": 1}'))
    assert await ended(client, sent.ref) == 2
    # Under another attempt's subject: the first message may not be acknowledged yet.
    await inject(cluster, sent, (b"Protocol: 1", b"Protocol: 99"), attempt=2)
    dead = client.host.backend.control
    buried: set[str] = set()
    dead.watch("dead", lambda entry: buried.add(entry.key))
    buried.update(entry.key for entry in await dead.scan("dead"))
    await until(lambda: buried)
    assert await ended(client, sent.ref) == 2


async def test_a_ref_that_its_subject_does_not_carry_gets_no_record(cluster: Cluster) -> None:
    await cluster.worker("calls_add")
    client = await cluster.client()
    sent, other = strange("r", "calls_add"), strange("r", "calls_add", "y")
    await inject(cluster, sent, (b".x\r\n", b".y\r\n"))
    late = strange("r", "calls_add", "z")
    await inject(cluster, late, (b"Protocol: 1", b"Protocol: 99"))
    with pytest.raises(Rejected):
        await ended(client, late.ref)
    assert await client.host.backend.ledger.read([sent.ref, other.ref]) == {}
