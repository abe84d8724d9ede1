"""The ids that a session's snapshot remembers, and the pages they are kept in."""

import orjson
import pytest

from nalar.errors import MalformedMessage
from nalar.ids import FutureId
from nalar.statestore.committed import PAGE_IDS, Committed, decode_page


def filled(count: int) -> Committed:
    committed = Committed()
    for n in range(count):
        committed.add(FutureId(f"f{n}"), n + 1, float(n))
    return committed


def test_few_ids_stand_in_the_snapshot_itself() -> None:
    assert filled(2 * PAGE_IDS - 1).full_page() is None
    assert "pages" not in filled(3).as_json()


def test_a_full_page_holds_the_oldest_ids_and_leaves_the_snapshot_small() -> None:
    committed = filled(2 * PAGE_IDS)
    page = committed.full_page()
    assert page is not None
    assert (page.upto, page.count, page.at_s) == (PAGE_IDS, PAGE_IDS, PAGE_IDS - 1.0)
    committed.turn(page)
    assert len(orjson.loads(orjson.dumps(committed.as_json()))["ids"]) == PAGE_IDS
    assert len(committed) == 2 * PAGE_IDS
    assert all(f"f{n}" in committed for n in range(2 * PAGE_IDS))
    assert "f-1" not in committed


def test_pages_named_by_a_snapshot_are_known_again_once_they_were_read() -> None:
    committed = filled(2 * PAGE_IDS)
    page = committed.full_page()
    assert page is not None
    committed.turn(page)
    told = orjson.loads(orjson.dumps(committed.as_json()))
    again = Committed.load(told["ids"], told["pages"])
    assert "f0" not in again
    assert [unread.name for unread in again.unread] == [page.name]
    again.read({page.name: decode_page(orjson.dumps({"v": 1, "ids": sorted(page.ids)}))})
    assert "f0" in again
    assert again.unread == ()
    assert again == committed


def test_a_page_is_forgotten_with_its_newest_id() -> None:
    committed = filled(2 * PAGE_IDS)
    page = committed.full_page()
    assert page is not None
    committed.turn(page)
    committed.forget_before(page.at_s)
    assert "f0" in committed
    committed.forget_before(page.at_s + 1)
    assert "f0" not in committed
    assert len(committed) == PAGE_IDS


@pytest.mark.parametrize("told", [None, [], {"v": 2, "ids": []}, {"v": 1}, {"v": 1, "ids": [1]}])
def test_what_is_no_page_is_refused(told: object) -> None:
    with pytest.raises(MalformedMessage, match="page"):
        decode_page(orjson.dumps(told))


def test_a_snapshot_with_a_malformed_page_is_refused() -> None:
    with pytest.raises(MalformedMessage, match="page"):
        Committed.load({}, [["7", 1, 1.0]])
