"""Thousands of messages that are almost right: decoders answer with a typed error, in time."""

import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from nalar.agents.describe import read_description
from nalar.bus.codec import decode_invocation, decode_record, encode_invocation, encode_record
from nalar.call_policy import CallPolicy, Retry
from nalar.calls.letters import decode_letter, details
from nalar.calls.notices import notice_until
from nalar.calls.suspended import Suspended
from nalar.chunks import decode_chunk
from nalar.client.runs import read_note
from nalar.cluster.journal import decode_decision
from nalar.cluster.leadership import read_leader
from nalar.cluster.nodes import decode_node
from nalar.cluster.policy_set import decode_set
from nalar.cluster.sources import instances_of
from nalar.cluster.tenure import decode_tenure
from nalar.controllers.crashes import Starts
from nalar.controllers.registering import slots_of
from nalar.controllers.roster import read_worker
from nalar.directives import (
    KINDS,
    Directive,
    Drain,
    Issued,
    Limit,
    Pause,
    Route,
    SetPriority,
    SetWeights,
    decode_directive,
    encode_directive,
    key_of,
)
from nalar.errors import InvalidToken, MalformedMessage
from nalar.ids import AgentName, FutureId, RootId, SessionId, WorkerId
from nalar.messages import ErrorInfo, Payload, Record
from nalar.reports import (
    AgentLoad,
    Report,
    RequestLoad,
    SessionLoad,
    decode_report,
    encode_report,
)
from nalar.statestore.blobs_jetstream import name_of, upload_of
from nalar.statestore.committed import decode_page
from nalar.statestore.session import SessionFold, apply, parse_delta, spilled_to
from tests.contract import malformed_entries as entries
from tests.contract.malformed import broken, readers_of_json, with_a_broken_header
from tests.contract.worlds import make_invocation, make_ref

#: Messages of each kind.
TIMES = 2_000
#: No single message may take longer, on a machine that does other things too.
LONGEST_S = 1.0

AGENT = AgentName("Analyst")
REF = make_ref(AGENT, session="s1")
SUBJECT = f"nalar.inv.{AGENT}.q.normal.{REF.future}"
DELTA = (
    b'{"notes":[["splice",0,1,["b","c"]]],"prices":[["put","ACME",2.5],["drop","old"]],'
    b'"mood":[["set",{"deep":[1]}]],"gone":[["unset"]]}'
)
STATE: dict[str, Any] = {"notes": ["a"], "prices": {"old": 1}, "gone": 1}
RECORD = Record(
    REF, "study", REF.session, "failed", None,  # type: ignore[arg-type]  -- a NewType of str
    ErrorInfo("failed", "ValueError", "no", "Traceback", "report > study"),
    Payload(b'{"ticker":"ACME","n":[1,2.5,null]}'), Payload(DELTA), "w1", 2, 1.0, 2.0, 3.0,
    "report > study", "acme", "abc", (make_ref(AGENT), make_ref(AGENT, session="s2")), 3,
    make_ref(AGENT, session="s1"),
)  # fmt: skip


def the_invocation(chance: random.Random) -> None:
    headers, body = encode_invocation(
        replace(
            make_invocation(REF, attempt=3), after=RECORD.after, dependencies=RECORD.dependencies,
            seen=12, tenant="acme", priority=2, hops=1, holds=("Analyst.s1",), not_before=2.5,
            policy=CallPolicy(Retry(3, non_retryable=("ValueError",)), timeout_s=1.5),
        )
    )  # fmt: skip
    way = chance.choice(("headers", "header", "body"))
    if way == "headers":
        headers = broken(headers, chance)
    elif way == "header":
        headers = with_a_broken_header(headers, chance)
    else:
        body = broken(body, chance)
    read = decode_invocation(SUBJECT, headers, body)
    with contextlib.suppress(InvalidToken):
        assert decode_invocation(SUBJECT, *encode_invocation(read)) == read


def the_record(chance: random.Random) -> None:
    read = decode_record(REF, broken(encode_record(RECORD), chance))
    assert decode_record(REF, encode_record(read)) == read
    if read.delta is not None and read.delta.text is not None:
        apply({"notes": ["a"], "prices": {"old": 1}, "gone": 1}, parse_delta(read.delta.text))


def the_delta(chance: random.Random) -> None:
    before: dict[str, Any] = {"notes": ["a"], "prices": {"old": 1}, "gone": 1}
    try:
        apply(before, parse_delta(broken(DELTA, chance)))
    except MalformedMessage:
        assert before == STATE, "all of it, or nothing"
        raise


def the_snapshot(chance: random.Random) -> None:
    fold = SessionFold.empty()
    for number in range(1, 4):
        fold.advance(number, FutureId(f"f{number}"), b'{"n":[["set",1]]}', float(number))
    text = fold.dump(now_s=10.0, horizon_s=100.0)
    read = SessionFold.load(broken(text, chance))
    again = SessionFold.load(read.dump(now_s=10.0, horizon_s=1e9))
    assert (again.revision, again.state) == (read.revision, read.state)


DIRECTIVES: tuple[Directive, ...] = (
    Route(AGENT, SessionId("s1"), 3),
    SetWeights(AGENT, {WorkerId("w1"): 0.5}),
    SetPriority("session", "s1", 5, AGENT),
    Pause(AGENT),
    Limit("tenant", "acme", 4),
    Drain(WorkerId("w1")),
)


def the_directive(chance: random.Random) -> None:
    directive = chance.choice(DIRECTIVES)
    assert directive.kind in KINDS
    text = encode_directive(Issued(directive, "hand", "because", 12.5, 7))
    read = decode_directive(key_of(directive), broken(text, chance))
    assert key_of(read.directive) == key_of(directive)


def the_report(chance: random.Random) -> None:
    report = Report(
        WorkerId("w1"), 3, 12.5, full=False, concurrency=4, running=2, applied=17,
        agents={AGENT: AgentLoad(queued=3, oldest_at=11.0, service_s=0.25)},
        slots={AGENT: [1, 5]},
        sessions={AGENT: {SessionId("a"): SessionLoad(queued=1), SessionId("b"): None}},
        requests={RootId("0a"): RequestLoad(finished=2), RootId("0b"): None},
    )  # fmt: skip
    read = decode_report(broken(encode_report(report), chance))
    assert decode_report(encode_report(read)) == read


#: What breaks each message -> who reads it.
FUZZED: dict[Callable[[random.Random], None], tuple[Callable[..., object], ...]] = {
    the_invocation: (decode_invocation,),
    the_record: (decode_record,),
    the_delta: (parse_delta,),
    the_snapshot: (SessionFold.load,),
    the_directive: (decode_directive,),
    the_report: (decode_report,),
    entries.the_letter: (decode_letter, details),
    entries.the_suspended: (Suspended.decode,),
    entries.the_starts: (Starts.decode,),
    entries.the_chunk: (decode_chunk,),
    entries.the_node: (decode_node,),
    entries.the_policy_set: (decode_set,),
    entries.the_tenure: (decode_tenure,),
    entries.the_decision: (decode_decision,),
    entries.the_leader: (read_leader,),
    entries.the_worker: (read_worker,),
    entries.the_description: (read_description, instances_of, slots_of),
    entries.the_notice: (notice_until,),
    entries.the_run_note: (read_note,),
    entries.the_page: (decode_page,),
    entries.the_spilled: (spilled_to,),
    entries.the_object: (name_of, upload_of),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "message",
    FUZZED,
    ids=lambda message: message.__name__,
)
def test_what_is_almost_right_is_read_or_refused_by_name_and_soon(
    message: Callable[[random.Random], None],
) -> None:
    refused = 0
    for seed in range(TIMES):
        begun = time.perf_counter()
        try:
            message(random.Random(seed))
        except MalformedMessage:
            refused += 1
        except Exception as error:
            raise AssertionError(f"seed {seed} of {message.__name__}: {error!r}") from error
        assert time.perf_counter() - begun < LONGEST_S, f"seed {seed} took long"
    assert TIMES / 10 < refused < TIMES, "some are refused, some are read"


#: Who else reads JSON, and why nothing broken is put before it here.
ELSEWHERE = {
    "nalar/bus/codec.py::_open_body": "decode_invocation's",
    "nalar/bus/embedded.py::EmbeddedServer._ready": "a file that our own server wrote",
    "nalar/bus/fields.py::load_object": "the others'",
    "nalar/bus/replies.py::parse_api": "the server's word: tests/unit/test_replies.py",
    "nalar/bus/replies.py::parse_direct": "the server's word: tests/unit/test_replies.py",
    "nalar/bus/replies.py::parse_leader_read": "the server's word: tests/unit/test_replies.py",
    "nalar/bus/replies.py::parse_stored": "the server's word: tests/unit/test_replies.py",
    "nalar/bus/subjects.py::parse_ack_subject": "the server's word: tests/unit/test_subjects.py",
    "nalar/calls/draft.py::same_arguments": "what decode_record has opened",
    "nalar/calls/resolving.py::resolve": "what decode_record has opened",
    "nalar/calls/streams.py::Streams.open": "what decode_chunk has opened",
    "nalar/calls/waits.py::RunningWaits._until": "what decode_record has opened",
    "nalar/client/archiving.py::_covered": "one number, or none",
    "nalar/controllers/run.py::Runner._run_plain": "written in the same line",
    "nalar/processes/manifest.py::parse_manifest": "a user's: tests/unit/test_manifest.py",
    "nalar/sim/workloads/recorded.py::Recorded._take": "a user's: tests/unit/test_recorded.py",
    "nalar/statestore/jetstream.py::JetStreamBackend._store": "the server's word",
    "nalar/statestore/managed_codec.py::Codec._round_trip": "written in the same function",
    "nalar/statestore/managed_codec.py::KeyCodec.accept": "keys: tests/unit/test_managed_codec.py",
    "nalar/statestore/managed_codec.py::KeyCodec.load": "keys: tests/unit/test_managed_codec.py",
    "nalar/values/signature.py::Bound.largest": "written by the same object",
    "nalar/values/signature.py::Signature._parse": "values: tests/unit/test_signature.py",
    "nalar/values/unions.py::_Trial._problem": "values: tests/unit/test_unions.py",
    "nalar/values/wire.py::WireType.load": "values: tests/unit/test_wire.py",
    "nalar/values/wire.py::WireType.read": "values: tests/unit/test_wire.py",
    "nalar/values/wire.py::check_depth": "values: tests/unit/test_wire.py",
}


def test_whoever_reads_json_is_put_to_this_test_or_says_why_not() -> None:
    fuzzed = {
        f"{reader.__module__.replace('.', '/')}.py::{reader.__qualname__}"
        for readers in FUZZED.values()
        for reader in readers
    }
    found = set(readers_of_json())
    assert found - fuzzed - ELSEWHERE.keys() == set(), "put it into FUZZED"
    assert (fuzzed | ELSEWHERE.keys()) - found == set(), "it reads no JSON any more"
