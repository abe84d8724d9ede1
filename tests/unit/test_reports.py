"""Metric reports as they travel."""

import pytest

from nalar.errors import MalformedMessage
from nalar.ids import AgentName, RootId, SessionId, WorkerId
from nalar.reports import (
    AgentLoad,
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
        b"", b"[]", b"{}", b"null", b'{"worker":"w"}',
        (b'{"worker":"w","number":1,"at_s":1,"full":true,"concurrency":1,"running":0,"applied":0,'
        b'"agents":{"A":{"quequed":1}}}'),
        (b'{"worker":"w","number":1,"at_s":1,"full":true,"concurrency":1,"running":0,"applied":0,'
        b'"requests":[1]}'),
    ],
)  # fmt: skip
def test_what_is_no_report_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_report(body)
