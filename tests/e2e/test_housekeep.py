"""`nalar housekeep` removes what nobody can ask for any more."""

import signal

from tests.e2e.commands import Nalar, until


def test_housekeeping_tells_what_it_has_done_and_can_be_repeated(served: Nalar) -> None:
    told = served("housekeep").stdout
    assert told == "0 sessions looked at, 0 entries archived, 0 entries and 0 blobs removed\n"
    nothing = {"sessions": 0, "archived": 0, "entries": 0, "blobs": 0}
    assert served.json("housekeep", "-o", "json") == nothing


def test_a_keeper_that_stays_is_stopped_by_ctrl_c(served: Nalar) -> None:
    keeper = served.start("housekeep", "--every", "60")
    until(lambda: keeper.out.read_text() or None, "what it has done")
    keeper.signal(signal.SIGINT)
    assert keeper.ends() == 130
