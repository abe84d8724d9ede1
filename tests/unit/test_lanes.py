"""What a worker asks for never exceeds what it may hold, and starves no lane."""

from hypothesis import given
from hypothesis import strategies as st

from nalar.controllers.lanes import LOWEST_EVERY, Ask, Credits


def opened(capacity: int, **lanes: int) -> Credits:
    given = Credits(capacity)
    for name, rank in lanes.items():
        given.open(name, rank)
    return given


def test_every_idle_lane_is_listened_to_with_one_ask() -> None:
    given = opened(8, high=2, normal=1, low=0)
    assert given.asks(load=0) == [Ask("high", 1), Ask("normal", 1), Ask("low", 1)]
    assert given.asks(load=0) == []


def test_a_private_lane_is_listened_to_with_a_few_asks_renewed_at_half() -> None:
    given = Credits(64)
    given.open("slot", 1, private=True)
    assert given.asks(load=0) == [Ask("slot", 8)]
    for _ in range(3):
        given.delivered("slot", backlog=0)
        assert given.asks(load=3) == []
    given.delivered("slot", backlog=0)
    assert given.asks(load=4) == [Ask("slot", 4)]


def test_a_worker_that_is_idler_again_asks_nothing_more_of_its_private_lanes() -> None:
    given = Credits(64)
    given.open("slot", 1, private=True)
    given.asks(load=0)
    given.delivered("slot", backlog=0)
    assert given.asks(load=40) == []
    assert given.asks(load=0) == []


def test_a_private_lane_of_a_small_worker_is_listened_to_with_one_ask() -> None:
    given = Credits(3)
    given.open("slot", 1, private=True)
    assert given.asks(load=0) == [Ask("slot", 1)]


def test_spare_credits_go_to_the_highest_lane_with_a_backlog() -> None:
    given = opened(16, high=2, normal=1, low=0)
    given.asks(load=0)
    given.delivered("normal", backlog=50)
    asks = given.asks(load=1)
    assert {ask.lane for ask in asks} == {"normal"}
    assert sum(ask.count for ask in asks) == 16
    assert [ask.level for ask in asks] == [0, *range(1, 8), 9], "as those before it make it"
    given.delivered("low", backlog=50)
    given.delivered("high", backlog=50)
    given.lapsed("normal", 15)
    assert given.asks(load=3)[-1].lane == "high"


def test_nothing_is_asked_while_the_worker_is_full() -> None:
    given = opened(4, normal=0)
    assert given.asks(load=4) == []
    assert given.asks(load=3) == [Ask("normal", 1, 6)]


def test_what_lapsed_is_asked_for_again() -> None:
    given = opened(4, normal=0)
    given.asks(load=0)
    given.lapsed("normal", 1)
    assert given.asks(load=0) == [Ask("normal", 1)]


def test_an_ask_says_how_busy_the_worker_is() -> None:
    given = Credits(16, 8)
    given.open("normal", 0)
    asks: list[Ask] = []
    for load in range(24):
        asks += given.asks(load)
        given.delivered("normal", backlog=0)
    # Where calls come, it asks for as many as leave it at its level: an ask is a message.
    assert [(ask.count, ask.level) for ask in asks] == [
        (1, 0), (1, 0), *[(2, level) for level in range(1, 8)], *[(1, 8)] * 4, *[(1, 9)] * 4
    ]  # fmt: skip


def test_a_worker_whose_calls_end_says_that_it_is_idler_than_it_said() -> None:
    given = Credits(4)
    given.open("normal", 0)
    for load in range(3):
        assert given.asks(load) == [Ask("normal", 1, 2 * load)]
        given.delivered("normal", backlog=0)
    assert given.asks(3) == [Ask("normal", 1, 6)]
    assert given.asks(3) == []
    assert given.asks(2) == [Ask("normal", 1, 4)]
    assert given.asks(1) == [Ask("normal", 1, 2)]
    given.delivered("normal", backlog=0)  # Its idlest ask was answered: the others still stand.
    assert given.asks(2) == []


def test_a_worker_of_a_smaller_share_says_how_busy_the_next_call_would_make_it_feel() -> None:
    whole, quarter = Credits(8), Credits(8)
    whole.open("normal", 0)
    quarter.open("normal", 0, share=0.25)

    def said(given: Credits) -> list[tuple[int, int]]:
        asks: list[Ask] = []
        for load in range(8):
            asks += given.asks(load)
            given.delivered("normal", backlog=0)
        return [(ask.count, ask.level) for ask in asks]

    assert said(whole) == [(1, level) for level in range(8)]
    # Its first is as the fourth of the other, its second as the eighth; while a slot is free here
    # no call is to wait there.
    assert said(quarter) == [(1, 3), (7, 7)]


def test_a_small_share_keeps_nothing_waiting_that_there_is_room_for() -> None:
    given = Credits(8)
    given.open("normal", 0, share=0.01)
    assert given.asks(load=0) == [Ask("normal", 1, 7)]
    given.delivered("normal", backlog=50)
    assert sum(ask.count for ask in given.asks(load=1)) >= 7


def test_a_worker_of_a_smaller_share_that_has_become_idler_says_so() -> None:
    given = Credits(64)
    given.open("normal", 0, share=0.25)
    assert given.asks(1) == [Ask("normal", 1, 0)]
    given.delivered("normal", backlog=0)
    [busy] = given.asks(5)
    assert busy.level == 2
    assert [ask.level for ask in given.asks(1)] == [0], "load 1 and 5 are one level at share 1"


def test_each_lane_goes_by_its_own_share() -> None:
    given = Credits(8)
    given.open("a", 0)
    given.open("b", 0, share=0.5)
    assert given.asks(0) == [Ask("a", 1, 0), Ask("b", 1, 1)]
    given.close("b")
    given.open("b", 0)
    assert given.asks(0) == [Ask("b", 1, 0)]


def test_what_nobody_else_serves_is_asked_for_at_one_level() -> None:
    given = Credits(4)
    given.open("slot", 1, private=True)
    assert given.asks(3) == [Ask("slot", 1, 0)]
    assert given.asks(0) == []


def test_one_ask_in_eight_goes_to_the_lowest_lane_that_has_work() -> None:
    given = opened(4, high=1, low=0)
    served: list[str] = []
    for _ in range(2 * LOWEST_EVERY):
        for lane in ("high", "low"):
            given.lapsed(lane, 100)
            given.delivered(lane, backlog=1000)
        served.append(given.asks(load=0)[-1].lane)
    assert served.count("low") == 2


def test_lanes_of_one_rank_take_turns() -> None:
    given = opened(100, a=0, b=0, c=0)
    served: set[str] = set()
    for _ in range(3):
        for lane in "abc":
            given.lapsed(lane, 1000)
            given.delivered(lane, backlog=1000)
        served.add(given.asks(load=0)[-1].lane)
    assert served == {"a", "b", "c"}


def test_a_closed_lane_gives_its_credits_back() -> None:
    given = opened(16, a=0, b=0)
    given.asks(load=0)
    given.delivered("a", backlog=100)
    given.asks(load=0)
    given.close("a")
    given.delivered("b", backlog=100)
    assert sum(ask.count for ask in given.asks(load=0) if ask.lane == "b") == 17


def test_asks_left_open_on_a_lane_that_has_run_dry_leave_the_others_theirs() -> None:
    given = opened(16, a=0, b=0)
    given.asks(load=0)
    given.delivered("a", backlog=100)
    assert sum(ask.count for ask in given.asks(load=0) if ask.lane == "a") >= 16
    given.delivered("a", backlog=0)
    given.delivered("b", backlog=100)
    assert sum(ask.count for ask in given.asks(load=0) if ask.lane == "b") > 8


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 100), st.integers(0, 20)), max_size=60
    )
)
def test_what_is_asked_for_and_what_is_held_share_the_capacity(
    events: list[tuple[str, int, int]],
) -> None:
    capacity = 12
    given = opened(capacity, a=2, b=1, c=0)
    asked, waiting = dict.fromkeys("abc", 0), dict.fromkeys("abc", 0)
    for lane, backlog, load in events:
        for ask in given.asks(load):
            asked[ask.lane] += ask.count
            assert load < capacity, "a full worker asks for nothing"
            if ask.count > 1:  # A single ask may only be listening to an idle lane.
                charged = (min(max(0, asked[x] - 1), waiting[x]) for x in "abc")
                assert sum(charged) + load <= capacity
        if asked[lane]:
            asked[lane] -= 1
            waiting[lane] = backlog
            given.delivered(lane, backlog)
