"""Which calls a notice of cancellation covers, and how long it is remembered."""

from nalar.calls.notices import (
    Notices,
    concerns,
    encode_notice,
    notice_key,
    notice_token,
    notice_until,
)
from nalar.ids import AgentName, FutureId, Ref, RootId, SessionId


def ref(root: str, parent: str, future: str) -> Ref:
    return Ref("r", AgentName("a"), SessionId("_"), RootId(root), parent, FutureId(future))


GRANDCHILD = ref("run", "child", "grandchild")


def test_a_notice_covers_a_call_what_it_made_and_for_a_root_the_whole_run() -> None:
    for token, covered in (("grandchild", True), ("child", True), ("run", True), ("else", False)):
        notices = Notices()
        notices.add(token, 100.0)
        assert notices.covers(GRANDCHILD) is covered
        assert concerns(token, GRANDCHILD) is covered
    assert not Notices().covers(GRANDCHILD)


def test_a_notice_is_new_once() -> None:
    notices = Notices()
    assert notices.add("run", 100.0)
    assert not notices.add("run", 100.0)
    assert "run" in notices


def test_notices_are_forgotten_when_they_hold_no_longer() -> None:
    notices = Notices()
    notices.add("old", 100.0)
    notices.add("new", 200.0)
    notices.forget_before(150.0)
    assert ("old" in notices, "new" in notices) == (False, True)


def test_no_more_notices_are_remembered_than_fit_and_the_oldest_goes_first() -> None:
    notices = Notices(remembered_max=2)
    for token in ("first", "second", "third"):
        notices.add(token, 100.0)
    assert len(notices) == 2
    assert "first" not in notices


def test_a_notice_reads_as_it_was_written_and_what_is_none_holds_for_no_time() -> None:
    assert notice_until(encode_notice(1.0, 2.5)) == 2.5
    for value in (b"", b"[]", b'{"until": "x"}', b"{}"):
        assert notice_until(value) == 0.0
    assert notice_token(notice_key("abc")) == "abc"
