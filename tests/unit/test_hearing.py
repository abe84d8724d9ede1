"""When a server that answers, but stores nothing, is given up."""

from nalar.bus.hearing import MUTE_MAX_S, MUTE_S, SERVERS, Hearing


def test_a_server_that_stores_nothing_for_a_while_is_given_up() -> None:
    hearing = Hearing()
    hearing.asked(0.0)
    hearing.asked(MUTE_S)  # It is the first that counts.
    assert not hearing.gives_up(MUTE_S)
    assert hearing.gives_up(MUTE_S + 0.1)


def test_whoever_asks_nothing_gives_nobody_up() -> None:
    hearing = Hearing()
    assert not hearing.gives_up(1e9)
    hearing.asked(0.0)
    hearing.heard()
    assert not hearing.gives_up(1e9)


def test_where_giving_up_does_not_help_it_is_done_more_and_more_rarely() -> None:
    hearing, now_s, waits = Hearing(), 0.0, list[float]()
    for _ in range(6):
        hearing.asked(now_s)
        begun_s = now_s
        while not hearing.gives_up(now_s):
            now_s += 0.25
        waits.append(now_s - begun_s)
    assert waits == sorted(waits)
    assert waits[0] < 2 * MUTE_S
    assert waits[-1] <= MUTE_MAX_S + 0.25
    hearing.heard()
    hearing.asked(now_s)
    assert hearing.gives_up(now_s + MUTE_S + 0.25)


def test_a_server_that_says_itself_that_it_is_cut_off_is_left_at_once_but_not_for_ever() -> None:
    hearing = Hearing()
    for _ in range(SERVERS):
        hearing.cut_off()
        assert hearing.gives_up(1.0)
        assert not hearing.well
    hearing.cut_off()
    assert not hearing.gives_up(1.0)  # None of them has a majority: there is nowhere to go.
    hearing.heard()
    assert hearing.well
    assert not hearing.gives_up(1.0)
