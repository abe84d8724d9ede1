"""Metric reports as they travel."""

import pytest

from nalar.errors import MalformedMessage
from nalar.ids import AgentName, RootId, SessionId, WorkerId
from nalar.reports import (
    AgentLoad,
    MethodLoad,
    Report,
    RequestLoad,
    SessionLoad,
    decode_report,
    encode_report,
)

AGENT = AgentName("Analyst")


def test_a_report_is_read_as_it_was_written() -> None:
    report = Report(
        WorkerId("w1"), 3, 12.5, full=False, concurrency=4, running=2, applied=17,
        agents={AGENT: AgentLoad(queued=3, oldest_at=11.0, service_s=0.25)},
        slots={AGENT: [1, 5]},
        sessions={AGENT: {SessionId("a"): SessionLoad(queued=1), SessionId("b"): None}},
        requests={RootId("0a"): RequestLoad(finished=2), RootId("0b"): None},
    )  # fmt: skip
    assert decode_report(encode_report(report)) == report


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\xff", b"[]", b"{}", b"null", b'{"worker":"w"}',
        (b'{"worker":"w","number":1,"at_s":1,"full":true,"concurrency":1,"running":0,"applied":0,'
        b'"agents":{"A":{"queued":"1"}}}'),
        (b'{"worker":"w","number":1,"at_s":1,"full":true,"concurrency":1,"running":0,"applied":0,'
        b'"requests":[1]}'),
        (b'{"worker":"w","number":1,"at_s":1,"full":true,"concurrency":1,"running":0,"applied":0,'
        b'"agents":{"A":{"methods":{"m":{"batch":0}}}}}'),
        (b'{"worker":"w","number":"1","at_s":1,"full":true,"concurrency":1,"running":0,'
        b'"applied":0}'),
        (b'{"worker":"w","number":1,"at_s":1,"full":true,"concurrency":1,"running":0,'
        b'"applied":18446744073709551616}'),
        (b'{"worker":"a.b","number":1,"at_s":1,"full":true,"concurrency":1,"running":0,'
        b'"applied":0}'),
    ],
)  # fmt: skip
def test_what_is_no_report_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_report(body)


def test_fields_of_a_later_version_are_left_out() -> None:
    report = Report(WorkerId("w1"), 1, 1.0, full=True, concurrency=1, running=0, applied=0)
    report.agents[AGENT] = AgentLoad(queued=2)
    body = encode_report(report).replace(b'"queued":2', b'"mood":"fine","queued":2')
    assert decode_report(body) == report


def test_a_report_of_an_earlier_version_says_that_each_call_takes_a_slot() -> None:
    body = (
        b'{"worker":"w","number":1,"at_s":1,"full":true,"concurrency":1,"running":0,"applied":0,'
        b'"agents":{"A":{"queued":3,"running":2,"methods":{"ask":{"finished":1}}}}}'
    )
    load = decode_report(body).agents[AgentName("A")]
    assert (load.runs, load.share) == (5, 1.0)


def test_one_more_call_takes_what_calls_took_so_far_in_full_batches() -> None:
    assert AgentLoad().share == 1.0
    assert AgentLoad(queued=6, spared=3).share == 0.5, "nothing else is known yet"
    methods = {"one": MethodLoad(finished=1), "many": MethodLoad(finished=2, failed=1, batch=4)}
    assert AgentLoad(queued=6, spared=3, methods=methods).share == (1 + 3 / 4) / 4
