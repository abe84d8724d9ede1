"""Messages as bytes: what is written is read again; what is anything else is MalformedMessage."""

import contextlib
import dataclasses

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nalar.bus.codec import (
    HEADERS_MAX_BYTES,
    decode_invocation,
    decode_record,
    encode_invocation,
    encode_record,
)
from nalar.bus.subjects import LANE_NORMAL, invocation_subject
from nalar.call_policy import CallPolicy, Retry
from nalar.errors import InvalidToken, MalformedMessage
from nalar.ids import AgentName, FutureId, MethodName, Ref, RootId, SessionId
from nalar.messages import BlobRef, ErrorInfo, Invocation, Payload, Record


def ref_of(future: str = "future", effect: str = "s", session: str = "s1") -> Ref:
    return Ref(
        "s" if effect == "s" else "r",
        AgentName("Analyst"),
        SessionId(session),
        RootId("root"),
        "parent",
        FutureId(future),
    )


REF = ref_of()
SUBJECT = invocation_subject(REF.agent, LANE_NORMAL, REF.future)
BLOB = BlobRef("ab" * 32, 30_000_000, "ab" * 32)
PLAIN = Invocation(
    REF,
    MethodName("study"),
    REF.session,
    Payload(b'{"ticker":"ACME"}'),
    deadline=1_764_600_000.25,
    created=1_764_000_000.125,
)
FULL = dataclasses.replace(
    PLAIN,
    dependencies=(ref_of("f1"), ref_of("f2", "r", "_")),
    after=ref_of("f0"),
    seen=2**53,
    tenant="=w6nDqQ",
    priority=-3,
    attempt=4,
    holds=("Analyst/s1", "Other/=w6nDqQ"),
    path='report > "quoted" \\ , "arguments": Ünïcode',
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    resent=True,
    not_before=1_764_000_003.5,
    policy=CallPolicy(Retry(4, 0.1, 3.0, 2.5, 0.5, ("ValueError", "Busy")), 3.5, 0.25),
)
MANY = dataclasses.replace(
    PLAIN, dependencies=(*(ref_of(f"f{n}") for n in range(5000)), ref_of("g", "r", "_"))
)


def headers_with(*lines: bytes, without: bytes = b"\0") -> bytes:
    head, _ = encode_invocation(PLAIN)
    kept = [line for line in head.split(b"\r\n")[:-2] if not line.startswith(without)]
    return b"\r\n".join((*kept, *lines)) + b"\r\n\r\n"


def refused(headers: bytes | None, body: bytes, subject: str = SUBJECT) -> str:
    with pytest.raises(MalformedMessage) as raised:
        decode_invocation(subject, headers, body)
    return str(raised.value)


@pytest.mark.parametrize(
    "sent", [PLAIN, FULL, MANY, dataclasses.replace(FULL, arguments=Payload(None, BLOB))]
)
def test_an_invocation_is_read_as_it_was_written(sent: Invocation) -> None:
    headers, body = encode_invocation(sent)
    assert decode_invocation(SUBJECT, headers, body) == sent
    assert len(headers) < HEADERS_MAX_BYTES
    orjson.loads(body)


def test_only_what_is_not_the_default_has_a_header() -> None:
    headers, body = encode_invocation(PLAIN)
    assert headers == (
        b"NATS/1.0\r\nNalar-Protocol: 1\r\n"
        b"Nalar-Ref: call.s.Analyst.s1.root.parent.future\r\n"
        b"Nalar-Method: study\r\nNalar-Session: s1\r\n"
        b"Nalar-Deadline: 1764600000.25\r\nNalar-Created: 1764000000.125\r\n\r\n"
    )
    assert body == b'{"path":"","arguments":{"ticker":"ACME"}}'


def test_many_dependencies_stand_in_the_body_without_repeating_themselves() -> None:
    headers, body = encode_invocation(MANY)
    assert b"Nalar-Deps" not in headers
    assert len(body) < 5001 * 12


def test_headers_of_other_languages_are_understood() -> None:
    head, body = encode_invocation(FULL)
    lines = head.split(b"\r\n")
    other = [line.replace(b"Nalar-", b"NALAR-").replace(b": ", b":  ") for line in lines[1:-2]]
    shuffled = b"\r\n".join((lines[0], b"X-Other: 1", b"X-Other: 2", *reversed(other), b"", b""))
    assert decode_invocation(SUBJECT, shuffled, body) == FULL


@pytest.mark.parametrize(
    "body",
    [
        b'{"arguments":{"ticker":"ACME"},"path":""}',
        b' { "path" : "", "extra": [1], "arguments" : {"ticker": "ACME"} } ',
        b'{"arguments":{"ticker":"ACME"}}',
    ],
)
def test_a_body_in_any_order_is_understood(body: bytes) -> None:
    head, _ = encode_invocation(PLAIN)
    assert decode_invocation(SUBJECT, head, body) == PLAIN


@pytest.mark.parametrize("text", [b'{"a":{"arguments":{}}}', b'{"a":",\\"arguments\\":{}}"}'])
def test_arguments_that_look_like_an_envelope_are_only_arguments(text: bytes) -> None:
    sent = dataclasses.replace(PLAIN, arguments=Payload(text), path=',"arguments":{"x":1}')
    assert decode_invocation(SUBJECT, *encode_invocation(sent)) == sent


def test_what_could_be_another_header_is_never_written() -> None:
    for changes in (
        {"traceparent": "x\r\nNalar-Tenant: evil"},
        {"tenant": "a\nb"},
        {"method": "m\r"},
        {"path": "", "method": "\ud800"},
        {"holds": ("a/b\r\n\r\nPUB x 0",)},
    ):
        with pytest.raises(InvalidToken):
            encode_invocation(dataclasses.replace(PLAIN, **changes))  # type: ignore[arg-type]


REQUIRED = ["Protocol", "Ref", "Method", "Session", "Deadline", "Created"]


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_header_is_named(name: str) -> None:
    said = refused(headers_with(without=f"Nalar-{name}".encode()), b"{}")
    assert said == f"header Nalar-{name} is missing"
    said = refused(
        headers_with(f"Nalar-{name}: ".encode(), without=f"Nalar-{name}".encode()), b"{}"
    )
    assert f"Nalar-{name}" in said or "version" in said


@pytest.mark.parametrize("name", REQUIRED)
def test_a_header_that_stands_twice_is_named(name: str) -> None:
    line = next(
        line for line in headers_with().split(b"\r\n") if line.startswith(f"Nalar-{name}".encode())
    )
    assert f"Nalar-{name} stands twice" in refused(headers_with(line.lower()), b"{}")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"Nalar-Protocol: 2", "version '2'"),
        (b"Nalar-Protocol: 1.0", "version '1.0'"),
        (b"Nalar-Ref: call.s.Analyst.s1.root.parent.>", "not a reference"),
        (b"Nalar-Ref: call.s.Analyst.s1.root.parent.other", "came on"),
        (b"Nalar-Ref: call.s.Other.s1.root.parent.future", "came on"),
        (b"Nalar-Session: s2", "different sessions"),
        (b"Nalar-Deadline: nan", "Nalar-Deadline is no finite number"),
        (b"Nalar-Deadline: inf", "no finite number"),
        (b"Nalar-Deadline: 1e999", "no finite number"),
        (b"Nalar-Created: 1_0", "no finite number"),
        (b"Nalar-Created: soon", "no finite number"),
        ("Nalar-Created: ١٢".encode(), "no finite number"),
    ],
)
def test_a_header_that_cannot_be_is_refused(line: bytes, says: str) -> None:
    name = line.partition(b":")[0]
    assert says in refused(headers_with(line, without=name), b'{"arguments":{}}')


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"Nalar-Attempt: 0", "below 1"),
        (b"Nalar-Attempt: x", "no whole number"),
        (b"Nalar-Priority: 1.5", "no whole number"),
        (b"Nalar-Priority: " + b"9" * 5000, "no whole number"),
        (b"Nalar-Tenant: a.b", "not one token"),
        (b"Nalar-Deps: nonsense", "not a reference"),
        (b"Nalar-After: call.s.*.s.r.p.f", "not a reference"),
        (b"Nalar-Seen: x", "no whole number"),
        (b"Nalar-Tenant: \xff", "not UTF-8"),
    ],
)
def test_an_optional_header_that_cannot_be_is_refused(line: bytes, says: str) -> None:
    _, body = encode_invocation(PLAIN)
    assert says in refused(headers_with(line), body)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "no object under 'arguments'"),
        (b'{"arguments":[1]}', "no object under 'arguments'"),
        (b'{"path":"","arguments":null}', "no object under 'arguments'"),
        (b'{"path":"","arguments":{"x":NaN}}', "not JSON"),
        (b'{"path":"","arguments":{"x":1e999}}', "not JSON"),
        (b'{"path":"","arguments":{"x":"\\ud800"}}', "not JSON"),
        (b'{"path":"","arguments":{}} {}', "not JSON"),
        (b'{"path":1,"arguments":{}}', "'path' is not text"),
        (b'{"blob":{"name":1}}', "not a whole number"),
        (b'{"blob":{"name":"x","size":true,"sha256":"y"}}', "not a whole number"),
        (b'{"deps":[["call.s.A.s.r.p","f"],7],"arguments":{}}', "list of texts"),
        (b'{"deps":"x","arguments":{}}', "not a list"),
        (b'{"deps":[["call.s.*.s.r.p","f"]],"arguments":{}}', "not a reference"),
        (b'{"path":"","arguments":' + b"[" * 100_000 + b"}", "not JSON"),
        (b'{"path":"","arguments":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001, "not JSON"),
        (b'{"arguments":' + b'{"a":' * 500 + b"1" + b"}" * 501, "cannot be written"),
    ],
)
def test_a_body_that_cannot_be_is_refused(body: bytes, says: str) -> None:
    assert says in refused(headers_with(), body)


def test_a_string_of_ten_megabytes_is_only_long() -> None:
    sent = dataclasses.replace(PLAIN, arguments=Payload(b'{"x":"' + b"a" * 10_000_000 + b'"}'))
    assert decode_invocation(SUBJECT, *encode_invocation(sent)) == sent
    assert "not JSON" in refused(headers_with(), b'{"arguments":{"x":"' + b"a" * 10_000_000)


SUCCEEDED = Record(
    REF, MethodName("study"), REF.session, "succeeded", Payload(b'{"y":[1,2.5,null]}'), None,
    Payload(b'{"ticker":"ACME"}'), Payload(b'{"notes":[["set",[]]]}'), "worker1", 2, 1.5, 2.5, 3.5,
    path="report > study", tenant="acme", code="v1", dependencies=FULL.dependencies,
)  # fmt: skip
FAILED = dataclasses.replace(
    SUCCEEDED,
    status="failed",
    result=None,
    error=ErrorInfo("agent", "ValueError", "no", "Traceback …", "report > study"),
    arguments=Payload(None, BLOB),
    delta=None,
    path="",
    tenant="",
)


@pytest.mark.parametrize(
    "record",
    [
        SUCCEEDED,
        FAILED,
        dataclasses.replace(SUCCEEDED, result=Payload(None, BLOB), delta=Payload(None, BLOB)),
        dataclasses.replace(SUCCEEDED, result=Payload(b"null")),
        dataclasses.replace(FAILED, error=ErrorInfo("overloaded", "Overloaded", "no", "", "", 2.5)),
    ],
)
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    assert decode_record(REF, encode_record(record)) == record


def test_an_error_that_is_no_unicode_is_recorded_mended() -> None:
    assert FAILED.error is not None
    error = dataclasses.replace(FAILED.error, message="a\ud800b")
    read = decode_record(REF, encode_record(dataclasses.replace(FAILED, error=error)))
    assert read.error == dataclasses.replace(FAILED.error, message="a?b")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"protocol": 2}, "unknown protocol 2"),
        ({"status": "done"}, "unknown status 'done'"),
        ({"status": ["x"]}, "unknown status"),
        ({"status": "failed"}, "lacks its arguments, result or error"),
        ({"attempt": "1"}, "'attempt' is not a whole number"),
        ({"created": None}, "'created' is not a number"),
        ({"worker": 7}, "'worker' is not text"),
        ({"deps": [["x"], 7]}, "list of texts"),
        ({"deps": [["x", "y"]]}, "not a reference"),
    ],
)
def test_a_record_that_cannot_be_is_refused(changes: dict[str, object], says: str) -> None:
    body = orjson.dumps(orjson.loads(encode_record(SUCCEEDED)) | changes)
    with pytest.raises(MalformedMessage, match=says):
        decode_record(REF, body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
NAMES = [f"nalar-{n}" for n in ("protocol", "ref", "method", "session", "deadline", "created",
         "tenant", "priority", "deps", "after", "attempt", "holds", "resent")]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    lines=st.lists(st.tuples(st.sampled_from(NAMES), st.text(max_size=20) | st.just("1"))),
    body=st.binary() | st.dictionaries(st.sampled_from(["arguments", "blob", "path", "deps"]), JSON)
    .filter(lambda value: "inf" not in repr(value)).map(repr).map(str.encode)
    | st.dictionaries(st.sampled_from(["arguments", "blob", "path", "deps"]), JSON)
    .map(lambda value: orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)),
    raw=st.none() | st.binary(),
    keep=st.booleans(),
)  # fmt: skip
def test_no_bytes_give_anything_but_a_message_or_malformed(
    lines: list[tuple[str, str]], body: bytes, raw: bytes | None, keep: bool
) -> None:
    extra = [f"{name}: {value}".encode("utf-8", "surrogatepass") for name, value in lines]
    for headers in (raw, headers_with(*extra) if keep else b"\r\n".join((b"NATS/1.0", *extra))):
        with contextlib.suppress(MalformedMessage):
            assert decode_invocation(SUBJECT, headers, body).ref == REF
    with contextlib.suppress(MalformedMessage):
        decode_record(REF, body)


@settings(max_examples=100, deadline=None)
@given(cut=st.integers(0, 2000), value=st.binary(max_size=3))
def test_a_damaged_record_is_malformed_or_whole(cut: int, value: bytes) -> None:
    body = encode_record(SUCCEEDED)
    cut %= len(body)
    with contextlib.suppress(MalformedMessage):
        decode_record(REF, body[:cut] + value + body[cut + 1 :])
