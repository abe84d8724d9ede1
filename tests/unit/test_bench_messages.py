from typing import Any

import orjson
import pytest

from benchmarks import bench_messages as messages
from nalar.bus.codec import encode_invocation, encode_record
from nalar.bus.subjects import invocation_subject, record_subject
from nalar.ids import AgentName, FutureId, MethodName, Ref, SessionId
from nalar.messages import Invocation, Payload, Record

NOW_S = 1_764_000_000.123456
FUTURE = "0" * 26
PARENT = "c" + "0" * 16
CALLS = [
    pytest.param(messages.TOOL, FUTURE, id="tool"),
    pytest.param(messages.AGENT, "session-7", id="stateful"),
    pytest.param(messages.FAN, FUTURE, id="workflow"),
]


def block(headers: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"NATS/1.0\r\n{lines}\r\n".encode()


@pytest.mark.parametrize(("agent", "session"), CALLS)
def test_floor_asks_in_the_words_of_nalar(agent: str, session: str) -> None:
    key = messages.key_of(agent, session, FUTURE, PARENT, FUTURE)
    headers, body = messages.invocation(agent, key, session, 1, NOW_S)
    ours = Invocation(
        ref=Ref.parse(key),
        method=MethodName(messages.METHODS[agent]),
        session=SessionId(session),
        arguments=Payload(orjson.dumps({messages.ARGUMENTS[agent]: 1})),
        deadline=NOW_S + 604_800.0,
        created=NOW_S,
        path=messages.PATHS[agent],
    )
    assert (block(headers), body) == encode_invocation(ours)


@pytest.mark.parametrize(("agent", "session"), CALLS)
def test_floor_records_in_the_words_of_nalar(agent: str, session: str) -> None:
    key = messages.key_of(agent, session, FUTURE, PARENT, FUTURE)
    headers, body = messages.invocation(agent, key, session, 1, NOW_S)
    delta: dict[str, Any] | None = {"total": [["set", 1]]} if agent == messages.AGENT else None
    found = messages.record(
        agent, (headers, orjson.loads(body)), (1, delta), "w01234567", (NOW_S, NOW_S)
    )
    ours = Record(
        ref=Ref.parse(key),
        method=MethodName(messages.METHODS[agent]),
        session=SessionId(session),
        status="succeeded",
        result=Payload(b"1"),
        error=None,
        arguments=Payload(orjson.dumps({messages.ARGUMENTS[agent]: 1})),
        delta=None if delta is None else Payload(orjson.dumps(delta)),
        worker="w01234567",
        attempt=1,
        created=NOW_S,
        started=NOW_S,
        finished=NOW_S,
        path=messages.PATHS[agent],
        code=messages.CODE,
    )
    assert orjson.loads(found) == orjson.loads(encode_record(ours))
    assert len(found) == len(encode_record(ours))


def test_subjects_of_the_floor_are_as_long_as_those_of_nalar() -> None:
    key = messages.key_of(messages.TOOL, FUTURE, FUTURE, PARENT, FUTURE)
    asked = f"{messages.QUEUE}.{messages.TOOL}.q.normal.{FUTURE}"
    assert len(messages.KEYS + key) == len(record_subject(Ref.parse(key)))
    assert len(asked) == len(
        invocation_subject(AgentName(messages.TOOL), "q.normal", FutureId(FUTURE))
    )
