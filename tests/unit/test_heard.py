"""What counts as news of a bucket, of notices and of listings."""

from nalar.statestore.heard import Heard
from nalar.statestore.port import KeyValueEntry


def entry(key: str, revision: int, value: bytes | None = b"x") -> KeyValueEntry:
    return KeyValueEntry(key, revision, value)


def test_a_notice_that_comes_late_or_twice_is_no_news() -> None:
    heard = Heard()
    assert heard.note("a.1", 5)
    assert not heard.note("a.1", 5)
    assert not heard.note("a.1", 4)
    assert heard.note("a.1", 6)
    assert heard.newest == 6


def test_a_listing_tells_what_was_not_heard_and_what_is_gone() -> None:
    heard = Heard()
    for key, revision in (("a.1", 1), ("a.2", 2), ("b.1", 3)):
        heard.note(key, revision)
    news = list(heard.news("a", [entry("a.1", 1), entry("a.3", 4)], since=3))
    assert news == [entry("a.3", 4), entry("a.2", 2, None)]
    assert list(heard.news("a", [entry("a.1", 1), entry("a.3", 4)], since=4)) == []


def test_what_was_stored_while_it_was_listed_is_not_gone() -> None:
    heard = Heard()
    since = heard.newest
    heard.note("a.1", 1)
    assert list(heard.news("a", [], since=since)) == []
    assert list(heard.news("a", [], since=heard.newest)) == [entry("a.1", 1, None)]


def test_keys_that_are_gone_are_not_remembered_for_ever() -> None:
    heard = Heard()
    for number in range(100):
        heard.note(f"a.{number}", number + 1)
    list(heard.news("a", [], since=heard.newest))
    assert not heard._revisions
