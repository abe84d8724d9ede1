"""The flag that tells running code to stop."""

import threading

import pytest

from nalar.errors import Cancelled, Expired
from nalar.stopping import StopFlag


def test_code_that_looks_finds_nothing_until_it_is_told_and_the_first_reason_stays() -> None:
    told: list[StopFlag] = []
    flag = StopFlag(told.append)
    flag.check()
    flag.set("expired")
    flag.set("cancelled")
    assert told == [flag]
    with pytest.raises(Expired):
        flag.check()


def test_what_is_raised_names_the_path_of_the_call() -> None:
    flag = StopFlag()
    flag.set("cancelled")
    with pytest.raises(Cancelled) as caught:
        flag.check("report > study")
    assert caught.value.path == "report > study"


def test_a_wait_is_woken_by_the_flag_from_another_thread_and_by_one_that_was_set_before() -> None:
    flag, ended = StopFlag(), threading.Event()
    setter = threading.Thread(target=flag.set, args=("cancelled",))
    with flag.waking(ended.set):
        assert not ended.is_set()
        setter.start()
        assert ended.wait(5)
    setter.join()
    late = threading.Event()
    with flag.waking(late.set):
        assert late.is_set()


def test_a_wait_that_is_over_is_not_woken() -> None:
    flag, ended = StopFlag(), threading.Event()
    with flag.waking(ended.set):
        pass
    flag.set("cancelled")
    assert not ended.is_set()
