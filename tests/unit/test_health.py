"""What a worker's sign of life says of its readiness."""

import pytest

from nalar.health import judge

TOLD = {
    "worker": "w1", "agents": ["A"], "slots": 8, "running": 3, "queued": 2, "reconnects": 1,
    "away_s": 2.5, "lapses": 0, "draining": False,
}  # fmt: skip


def test_a_worker_is_ready_and_says_what_it_holds_and_how_it_was_cut_off() -> None:
    found = judge(TOLD)
    assert (found.worker, found.state, found.why) == ("w1", "ready", "")
    assert (found.slots, found.running, found.queued) == (8, 3, 2)
    assert (found.reconnects, found.away_s) == (1, 2.5)


@pytest.mark.parametrize(
    ("more", "state", "why"),
    [
        ({"draining": True}, "draining", "takes no new calls"),
        ({"blocked_s": 3.1, "blocked_in": "f (a.py:7)"}, "blocked", "f (a.py:7) blocks"),
        (
            {"draining": True, "blocked_s": 3.1, "blocked_in": "f (a.py:7)"},
            "blocked",
            "for 3.1 s by now",
        ),
    ],
)
def test_a_worker_that_drains_or_is_blocked_is_not_ready(
    more: dict[str, object], state: str, why: str
) -> None:
    found = judge(TOLD | more)
    assert found.state == state
    assert why in found.why


def test_what_a_strange_hand_or_an_older_worker_tells_is_no_error() -> None:
    found = judge({"worker": "w1", "slots": "many", "away_s": None})
    assert (found.state, found.slots, found.away_s) == ("ready", 0, 0.0)
