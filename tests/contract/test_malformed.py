"""Ten thousand messages that are almost right: decoders answer with a typed error, in time."""

import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from nalar.bus.codec import decode_invocation, decode_record, encode_invocation, encode_record
from nalar.directives import (
    KINDS,
    Directive,
    Drain,
    Issued,
    Limit,
    Pause,
    Route,
    SetPriority,
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
from nalar.statestore.session import SessionFold, apply, parse_delta
from tests.contract.malformed import broken
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
            make_invocation(REF, attempt=3), after=RECORD.after, dependencies=RECORD.dependencies
        )
    )
    if chance.random() < 0.5:
        headers = broken(headers, chance)
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


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "message",
    [the_invocation, the_record, the_delta, the_snapshot, the_directive, the_report],
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
