"""What the server answers, taken apart."""

import pytest

from nalar.bus import replies
from nalar.bus.replies import ApiError, StoredMessage

EXPIRED = (
    b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 7\r\nNats-Pending-Bytes: 0\r\n\r\n"
)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (None, 0),
        (b"", 0),
        (b"NATS/1.0\r\nX: 1\r\n\r\n", 0),
        (b"NATS/1.0 503\r\n\r\n", 503),
        (b"NATS/1.0 100 Idle Heartbeat\r\n\r\n", 100),
        (b"NATS/1.0 4x4\r\n\r\n", 0),
        (EXPIRED, 408),
    ],
)
def test_the_inline_status_is_read(headers: bytes | None, status: int) -> None:
    assert replies.status_of(headers) == status


def test_a_status_has_a_description_and_headers() -> None:
    assert replies.description_of(EXPIRED) == "Request Timeout"
    assert replies.number_of(EXPIRED, b"Nats-Pending-Messages") == 7
    assert replies.number_of(EXPIRED, b"Nats-Pending") is None
    for odd in (b"", b"x", b"-1", b"1e3", b"9" * 21, b"9" * 5000):
        assert replies.number_of(b"NATS/1.0\r\nNumber: " + odd + b"\r\n\r\n", b"Number") is None


def test_a_stored_messages_own_header_cannot_pass_for_the_servers() -> None:
    headers = (
        b"NATS/1.0\r\nNats-Subject: forged\r\nNats-Sequence: 99\r\n"
        b"Nats-Subject: real\r\nNats-Sequence: 3\r\n\r\n"
    )
    assert replies.parse_direct(headers, b"x") == StoredMessage("real", 3, headers, b"x")


def test_a_refusal_carries_its_code() -> None:
    body = b'{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 2"}}'
    with pytest.raises(ApiError, match="wrong last sequence: 2") as raised:
        replies.parse_stored(body)
    assert raised.value.err_code == replies.WRONG_LAST_SEQUENCE
    assert replies.parse_stored(b'{"stream":"S","seq":12}') == 12
    with pytest.raises(ApiError):
        replies.parse_stored(b"nonsense")


def test_a_read_through_the_leader_gives_the_message_or_nothing() -> None:
    found = b'{"message":{"subject":"a.b","seq":4,"hdrs":"TkFUUy8xLjANCg0K","data":"eA=="}}'
    expected = StoredMessage("a.b", 4, b"NATS/1.0\r\n\r\n", b"x")
    assert replies.parse_leader_read(found) == expected
    none = b'{"error":{"code":404,"err_code":10037,"description":"no message found"}}'
    assert replies.parse_leader_read(none) is None


@pytest.mark.parametrize(
    ("headers", "deleted"),
    [
        (b"NATS/1.0\r\nNats-Sequence: 1\r\n\r\n", False),
        (b"NATS/1.0\r\nKV-Operation: DEL\r\nNats-Sequence: 1\r\n\r\n", True),
        (b"NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\n\r\n", True),
    ],
)
def test_deletions_and_markers_are_told_from_values(headers: bytes, deleted: bool) -> None:
    assert replies.is_deleted(headers) is deleted


@pytest.mark.parametrize(
    ("silent_s", "heard"),
    [([], True), ([0.4, 0.9], True), ([0.4, 60.0], True), ([3.1, 60.0], False), ([9.0], False)],
)
def test_a_leader_needs_to_have_heard_from_most_copies(silent_s: list[float], heard: bool) -> None:
    followers = [{"name": str(at), "active": int(it * 1e9)} for at, it in enumerate(silent_s)]
    told = {"cluster": {"leader": "n1", "replicas": followers}}
    assert replies.hears_most_copies(told, 2.5) is heard
    assert replies.hears_most_copies({"cluster": None}, 2.5)
    assert replies.hears_most_copies({}, 2.5)
