"""What is written is what docs/protocol.schema.json promises to programs in other languages."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

import nalar
from nalar.bus.codec import encode_invocation
from nalar.call_policy import CallPolicy
from nalar.errors import AgentError
from nalar.ids import AgentName, FutureId, MethodName, Ref, RootId, SessionId
from nalar.messages import BlobRef, Invocation, Payload
from tests.clusters import Cluster

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/protocol.schema.json").read_text("utf-8"))
PARTS: dict[str, Any] = {
    name: jsonschema.Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": SCHEMA["$defs"]})
    for name in ("headers", "invocation", "record", "snapshot", "delta", "dead_letter")
}


def misfits(part: str, value: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in PARTS[part].iter_errors(value)]


def ref_of(future: str) -> Ref:
    names = AgentName("Analyst"), SessionId("=w6nDqQ"), RootId("root")
    return Ref("s", *names, "parent", FutureId(future))


PLAIN = Invocation(
    ref_of("f"), MethodName("study"), SessionId("=w6nDqQ"), Payload(b'{"x":1}'), 2e9, 1e9
)
FULL = dataclasses.replace(
    PLAIN,
    dependencies=(ref_of("f1"), ref_of("f2")),
    after=ref_of("f0"),
    tenant="acme",
    priority=-3,
    attempt=4,
    holds=("Analyst/s1", "Other/=w6nDqQ"),
    path="report > study",
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    resent=True,
    not_before=1e9 + 3.5,
    policy=CallPolicy(nalar.Retry(4, cap_s=2.5, non_retryable=(ValueError,)), 3.0, 0.5),
)
MANY = dataclasses.replace(PLAIN, dependencies=tuple(ref_of(f"f{n}") for n in range(500)))
LARGE = dataclasses.replace(PLAIN, arguments=Payload(None, BlobRef("ab", 3, "ab")))


@pytest.mark.parametrize("invocation", [PLAIN, FULL, MANY, LARGE])
def test_an_invocation_fits_the_schema(invocation: Invocation) -> None:
    head, body = encode_invocation(invocation)
    lines = head.decode().split("\r\n")[1:-2]
    assert misfits("headers", dict(line.split(": ", 1) for line in lines)) == []
    assert misfits("invocation", orjson.loads(body)) == []


class ProtocolNotes(nalar.Agent, stateful=True):
    items: nalar.ManagedList[int]
    named: nalar.ManagedDict[str, int]
    last: nalar.ManagedValue[str]

    @nalar.method
    async def change(self, step: int) -> None:
        self.items.append(step)
        self.named[f"key {step}"] = step
        self.last.value = f"step {step}"
        if step > 1:
            del self.named["key 0"]
            self.items.pop(0)

    @nalar.method
    async def fail(self) -> None:
        raise ValueError("no")


async def test_records_and_snapshots_fit_the_schema(cluster: Cluster) -> None:
    worker = await cluster.worker("ProtocolNotes", snapshot_every=1)
    client = await cluster.client()
    notes = ProtocolNotes.options(session="an odd name, ü")
    await notes.change(0)
    await notes.change(1)
    await notes.change(2)
    with pytest.raises(AgentError):
        await notes.fail()
    backend = client.host.backend
    records = [orjson.loads(e.body) for e in await backend.ledger.find("call.*.*.*.*.*.*")]
    assert [record["status"] for record in records] == ["succeeded"] * 3 + ["failed"]
    await worker.drain(1)
    snapshots = [orjson.loads(e.value or b"") for e in await backend.snapshots.scan("state")]
    assert len(snapshots) == 1
    assert [misfits("record", record) for record in records] == [[]] * 4
    [dead] = await backend.control.scan("dead")
    assert misfits("dead_letter", orjson.loads(dead.value or b"")) == []
    assert [misfits("snapshot", snapshot) for snapshot in snapshots] == [[]]


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("headers", {}),
        ("invocation", {"path": "x"}),
        ("invocation", {"arguments": [1]}),
        ("record", {"protocol": 1, "status": "succeeded"}),
        ("snapshot", {"v": 2, "upto": 1, "ids": {}, "state": {}}),
        ("delta", {"items": [["insert", 1, 2]]}),
        ("invocation", {"arguments": {}, "policy": {"retry": {"max_attempts": 0}}}),
        ("dead_letter", {"kind": "call", "reason": "", "at": 1}),
    ],
)
def test_the_schema_refuses_what_is_not_the_protocol(part: str, value: object) -> None:
    assert misfits(part, value) != []
