"""Names on the wire: golden values, because other processes and languages spell them too."""

import pytest

from nalar.bus import subjects
from nalar.errors import InvalidToken
from nalar.ids import AgentName, FutureId, Ref, RootId, SessionId, encode_token

A = AgentName("Analyst")
FENCED = Ref("s", A, SessionId("s1"), RootId("root"), "parent", FutureId("future"))
READING = Ref("r", A, SessionId("_"), RootId("root"), "parent", FutureId("future"))
API = "$" + "JS"
KEY_VALUE = "$" + "KV"


@pytest.mark.parametrize(
    ("priority", "lane"),
    [(-9, "q.low"), (-1, "q.low"), (0, "q.normal"), (1, "q.high"), (9, "q.high")],
)
def test_priority_chooses_the_lane(priority: int, lane: str) -> None:
    assert subjects.lane_for_priority(priority) == lane


@pytest.mark.parametrize(
    ("session", "of_16", "of_7"),
    [("s1", 4, 5), ("user-42", 6, 4), ("_", 5, 1), ("=w6nDqQ", 1, 2)],
)
def test_a_sessions_slot_never_changes(session: str, of_16: int, of_7: int) -> None:
    assert subjects.slot_of(SessionId(session), 16) == of_16
    assert subjects.slot_of(SessionId(session), 7) == of_7


def test_slots_share_the_sessions_evenly() -> None:
    counts = [0] * 16
    for number in range(16_000):
        counts[subjects.slot_of(SessionId(f"user-{number}"), 16)] += 1
    assert min(counts) > 850
    assert max(counts) < 1150


def test_names_are_spelled_as_the_protocol_says() -> None:
    inv = "nalar" + ".inv"
    assert subjects.invocation_subject(A, "q.high", FutureId("f1")) == f"{inv}.Analyst.q.high.f1"
    assert subjects.invocation_subject(A, "s.3", FutureId("f1"), 2) == f"{inv}.Analyst.s.3.f1+2"
    assert subjects.lane_filter(A, "s.3") == f"{inv}.Analyst.s.3.*"
    assert subjects.queue_filter(A) == f"{inv}.Analyst.>"
    assert subjects.queue_stream(A) == "NALAR_INV_Analyst"
    assert subjects.lane_durable("s.3") == "s-3"
    assert subjects.lanes(2) == ("q.high", "q.normal", "q.low", "s.0", "s.1")
    assert (
        subjects.record_subject(FENCED) == f"{KEY_VALUE}.nalar.call.s.Analyst.s1.root.parent.future"
    )
    assert subjects.commit_fence(FENCED) == f"{KEY_VALUE}.nalar.call.s.Analyst.s1.>"
    assert subjects.commit_fence(READING) == subjects.record_subject(READING)
    assert subjects.blob_info("a?b") == "$" + "O.nalar_blobs.M.YT9i"


def test_names_can_be_taken_apart_again() -> None:
    for attempt in (1, 2, 17):
        subject = subjects.invocation_subject(A, "q.low", FutureId("f1"), attempt)
        assert subjects.parse_invocation_subject(subject) == (A, "q.low", "f1")
    assert subjects.record_ref(subjects.record_subject(FENCED)) == FENCED
    assert subjects.done_ref(subjects.done_subject(str(READING))) == READING
    assert subjects.subject_key("b", subjects.key_subject("b", "a.b")) == "a.b"
    (exact, _) = subjects.control_notices("lease.A")
    assert subjects.control_notice_key(exact) == "lease.A"


@pytest.mark.parametrize("subject", ["", "a", "nalar.x.A.q.low.f", "a.b.c.d.e.f", "...."])
def test_what_is_no_invocations_subject_is_refused(subject: str) -> None:
    with pytest.raises(InvalidToken):
        subjects.parse_invocation_subject(subject)


@pytest.mark.parametrize("session", ["a", "=w6nDqQ", encode_token("anna@example.org"), "x" * 64])
def test_a_ref_is_read_as_the_vocabulary_reads_it(session: str) -> None:
    ref = Ref("s", A, SessionId(session), RootId("r"), "p", FutureId("f"))
    assert Ref.parse(str(ref)) == ref


@pytest.mark.parametrize(
    "text",
    [
        "",
        "call.s.A.s.r.p",
        "call.s.A.s.r.p.f.g",
        "call.x.A.s.r.p.f",
        "call.s.A..r.p.f",
        "call.s.A.*.r.p.f",
        "call.s.A.>.r.p.f",
        "call.s.A.s r.r.p.f",
        "call.s.A.s.r.p.f\n",
        "call.s.A.s\r\n.r.p.f",
        "call.s.A.é.r.p.f",
        "Call.s.A.s.r.p.f",
        "call.s.A." + "x" * 500 + ".r.p.f",
    ],
)
def test_hostile_refs_are_refused(text: str) -> None:
    with pytest.raises(InvalidToken):
        Ref.parse(text)


@pytest.mark.parametrize("name", ["", "a.b", "a b", "*", "a>", "a/b", "é", "x" * 300])
def test_an_agents_name_must_be_one_token(name: str) -> None:
    with pytest.raises(InvalidToken):
        subjects.check_agent(name)


@pytest.mark.parametrize(
    ("pattern", "subject", "matches"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("*.b.*", "a.b.c", True),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        (">", "a.b", True),
    ],
)
def test_patterns_match_as_on_the_server(pattern: str, subject: str, matches: bool) -> None:
    assert subjects.matches(tuple(pattern.split(".")), tuple(subject.split("."))) is matches


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("ACK.NALAR_INV_A.q-low.3.17.18.1764000000000000000.42", (3, 42)),
        ("ACK._.hash.NALAR_INV_A.q-low.3.17.18.1764000000000000000.42.token", (3, 42)),
        ("ACK.domain.hash.NALAR_INV_A.q-low.3.17.18.1764000000000000000.42", (3, 42)),
    ],
)
def test_both_forms_of_ack_subject_are_read(reply: str, expected: tuple[int, int]) -> None:
    assert subjects.parse_ack_subject(f"{API}.{reply}".encode()) == expected


@pytest.mark.parametrize("reply", ["", "a.b.c", "_INBOX.x", "1.2.3.4.x.6.7.8.y", "." * 12])
def test_what_is_no_ack_subject_is_refused(reply: str) -> None:
    with pytest.raises(InvalidToken):
        subjects.parse_ack_subject(reply.encode())
