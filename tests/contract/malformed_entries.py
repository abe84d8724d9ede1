"""Entries of the buckets, and chunks, that are almost right.

Each function breaks one as a seed draws, and reads it. It raises MalformedMessage where the reader
refuses it or takes it for none, and fails when what was read cannot be told again.
"""

import math
import random

import orjson

import nalar
from nalar.agents.describe import describe_agent, read_description
from nalar.bus.replies import StoredMessage
from nalar.calls.letters import decode_letter, details, encode_letter, invocation_of, noted
from nalar.calls.notices import encode_notice, notice_until
from nalar.calls.suspended import Suspended
from nalar.chunks import Chunk, decode_chunk, encode_chunk
from nalar.client.runs import read_note
from nalar.cluster.journal import Decision, decode_decision, encode_decision
from nalar.cluster.leadership import read_leader
from nalar.cluster.nodes import Group, GroupState, NodeEntry, decode_node, encode_node
from nalar.cluster.policy_set import PolicySet, decode_set, encode_set, key_of_version
from nalar.cluster.sources import instances_of
from nalar.cluster.tenure import Tenure, decode_tenure, encode_tenure
from nalar.controllers.crashes import Starts
from nalar.controllers.registering import slots_of
from nalar.controllers.roster import read_worker
from nalar.errors import MalformedMessage, UsageError
from nalar.ids import AgentName
from nalar.messages import ErrorInfo, bare_record
from nalar.statestore.blobs_jetstream import name_of, upload_of
from nalar.statestore.committed import decode_page
from nalar.statestore.session import spilled_to
from tests.contract.malformed import broken
from tests.contract.worlds import make_invocation, make_ref

AGENT = AgentName("Analyst")
REF = make_ref(AGENT, session="s1")


class Described(nalar.Agent, stateful=True):
    notes: nalar.ManagedList[str]

    async def study(self, ticker: str, depth: int = 1) -> str:
        return ticker * depth


_LETTER = encode_letter(
    make_invocation(REF),
    bare_record(REF, "failed", ErrorInfo("failed", "ValueError", "no"), 12.0),
)
_DESCRIPTION = orjson.dumps(describe_agent(Described.__nalar_spec__) | {"slots": 16})
_WORKER = b'{"worker":"w1","agents":["Analyst"],"host":"h","pid":7,"lease_s":1.5}'
_BLOB = b'{"blob":{"name":"b","size":3,"sha256":"ab"},"upto":7}'
_SUSPENDED = Suspended(
    REF, "Analyst.study", b"$JS.ACK.S.C.1.2.3.4.5", 1.0, 9.5, (make_ref(AGENT),), {"go": 3}
)
_NODE = NodeEntry(
    "n1", "host", 7, 4, {"GPU": 1.0}, instance="i1",
    groups={"Analyst": GroupState(Group("g", ("Analyst",), 2, 1, 3, {"GPU": 1.0}), 2, 1)},
)  # fmt: skip
_DECISION = Decision(
    12.5, 3, 2, [{"key": "pause.A", "policy": "p", "reason": "r", "withdrawn": False}],
    [{"policy": "p", "reason": "r", "first": "f", "times": 2}], {"q": "raised"}, 1, 2,
)  # fmt: skip


def the_letter(chance: random.Random) -> None:
    read = decode_letter("dead.f", broken(_LETTER, chance), 3)
    assert all(isinstance(said, str) for said in (read.agent, read.target, read.reason))
    assert read.at >= 0
    assert isinstance(read.attempts, int)
    orjson.dumps(details(read))
    again = decode_letter("dead.f", noted(read, "run"), 3)
    assert again.redriven_as == (*read.redriven_as, "run")
    try:
        invocation_of(read)
    except UsageError as error:
        raise MalformedMessage(str(error)) from error


def the_suspended(chance: random.Random) -> None:
    read = Suspended.decode(broken(_SUSPENDED.encode(), chance))
    if read is None:
        raise MalformedMessage("then the call goes on")
    assert Suspended.decode(read.encode()) == read
    assert read.told


def the_starts(chance: random.Random) -> None:
    starts = Starts(2, 12.5, "w1", 3, 40)
    read = Starts.decode(broken(starts.encode(), chance))
    assert Starts.decode(read.encode()) == read
    if read == Starts():
        raise MalformedMessage("then it counts as never started")


def the_chunk(chance: random.Random) -> None:
    read = decode_chunk(REF, broken(encode_chunk(Chunk(REF, "e1", 3, b'["a",{"b":1}]')), chance))
    assert decode_chunk(REF, encode_chunk(read)) == read


def the_node(chance: random.Random) -> None:
    read = decode_node(broken(encode_node(_NODE), chance))
    assert decode_node(encode_node(read)) == read


def the_policy_set(chance: random.Random) -> None:
    key = key_of_version(7)
    made = PolicySet(7, ("srtf", "lpt,step=3"), 12.5, "me", "why", ("odd.py:Odd",))
    read = decode_set(key, broken(encode_set(made), chance))
    assert decode_set(key, encode_set(read)) == read


def the_tenure(chance: random.Random) -> None:
    made = Tenure("t1", 7, 12.5, 1, proven=True)
    read = decode_tenure(broken(encode_tenure(made), chance))
    assert decode_tenure(encode_tenure(read)) == read


def the_decision(chance: random.Random) -> None:
    read = decode_decision(broken(encode_decision(_DECISION), chance))
    assert decode_decision(encode_decision(read)) == read


def the_leader(chance: random.Random) -> None:
    read = read_leader(broken(b'{"name":"c1","host":"h","decisions":7}', chance))
    assert {"name", "host"} <= read.keys()
    if read["name"] == "?":
        raise MalformedMessage("then nobody is known to lead")


def the_worker(chance: random.Random) -> None:
    read = read_worker(broken(_WORKER, chance))
    if not read:
        raise MalformedMessage("then it is none")
    assert all(isinstance(name, str) for name in [read["worker"], *read["agents"]])


def the_description(chance: random.Random) -> None:
    told = broken(_DESCRIPTION, chance)
    bounds, slots = instances_of(told), slots_of(told)
    assert bounds is None or all(isinstance(count, int) for count in bounds)
    assert isinstance(slots, int)
    read = read_description(told)
    assert read["name"]


def the_notice(chance: random.Random) -> None:
    until_s = notice_until(broken(encode_notice(12.5, 99.5), chance))
    assert math.isfinite(until_s)
    if not until_s:
        raise MalformedMessage("then it is forgotten at once")


def the_run_note(chance: random.Random) -> None:
    if not read_note(broken(b'{"ref":"call.r.A._.r.p.f","target":"A.b","created":1.5}', chance)):
        raise MalformedMessage("then it is no note of ours")


def the_page(chance: random.Random) -> None:
    read = decode_page(broken(b'{"v":1,"ids":["f1","f2","f3"]}', chance))
    assert all(isinstance(name, str) for name in read)


def the_spilled(chance: random.Random) -> None:
    found = spilled_to(broken(_BLOB, chance))
    if found is None:
        raise MalformedMessage("then the entry is the snapshot itself")
    assert isinstance(found.name, str)


def the_object(chance: random.Random) -> None:
    stored = StoredMessage("s", 1, b"", broken(b'{"name":"b","nuid":"u","deleted":false}', chance))
    assert isinstance(name_of(stored), str)
    assert isinstance(upload_of(stored), str | None)
