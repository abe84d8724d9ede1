"""Futures: resolved from one thread, awaited or waited for anywhere."""

import asyncio
import copy
import threading
from multiprocessing.reduction import ForkingPickler

import pytest

from nalar.errors import CallTimeout, FutureMisuse
from nalar.futures import Future


def resolved(value: int, revision: int = 0) -> Future[int]:
    future: Future[int] = Future()
    future.resolve(value, revision=revision)
    return future


def later(future: Future[int], value: int) -> None:
    threading.Timer(0.02, future.resolve, [value]).start()


def test_only_the_first_end_counts() -> None:
    future = resolved(1)
    future.resolve(2)
    future.fail(ValueError())
    assert future.result() == 1
    assert future.exception() is None


def test_result_waits_in_a_thread_and_says_when_it_took_too_long() -> None:
    future: Future[int] = Future()
    with pytest.raises(CallTimeout, match=r"0\.01 s"):
        future.result(0.01)
    later(future, 7)
    assert future.result(5) == 7
    assert future.value() == 7
    assert future.available()


def test_a_future_has_no_truth_of_its_own() -> None:
    with pytest.raises(FutureMisuse, match="done"):
        bool(resolved(1))


def test_synchronous_code_may_treat_a_future_as_its_value() -> None:
    future: Future[list[int]] = Future()
    future.resolve([1, 2, 3])
    assert len(future) == 3
    assert list(future) == [1, 2, 3]
    assert future[-1] == 3


async def test_on_a_loop_waiting_names_await_even_if_the_value_is_there() -> None:
    future: Future[list[int]] = Future()
    with pytest.raises(FutureMisuse, match="await"):
        future.result()
    future.resolve([1])
    with pytest.raises(FutureMisuse, match="await"):
        len(future)
    assert future.result() == [1]


async def test_it_can_be_awaited_from_a_loop_that_did_not_make_it() -> None:
    future: Future[int] = Future()
    later(future, 3)
    assert await future == 3
    assert await future == 3


async def test_a_cancelled_waiter_leaves_the_future_to_the_others() -> None:
    future: Future[int] = Future()

    async def waiter() -> int:
        return await future

    async with asyncio.TaskGroup() as tasks:
        gone, stays = tasks.create_task(waiter()), tasks.create_task(waiter())
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        future.resolve(5)
    assert stays.result() == 5
    assert gone.cancelled()


async def test_asyncio_gather_works_too() -> None:
    assert await asyncio.gather(resolved(1), resolved(2)) == [1, 2]


def test_a_callback_added_late_is_called_at_once_and_one_added_early_once() -> None:
    seen: list[Future[int]] = []
    future: Future[int] = Future()
    future.add_done_callback(seen.append)
    assert seen == []
    future.resolve(1)
    future.add_done_callback(seen.append)
    assert seen == [future, future]


def test_a_future_without_a_runtime_behind_it_cannot_be_cancelled() -> None:
    assert not resolved(1).cancel()
    assert not Future[int]().cancel()


def test_a_callback_that_raises_keeps_nobody_else_from_hearing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    future: Future[int] = Future()
    seen: list[Future[int]] = []
    future.add_done_callback(lambda _: 1 // 0)
    future.add_done_callback(seen.append)
    future.resolve(1)
    future.add_done_callback(lambda _: 1 // 0)
    assert seen == [future]
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


def test_a_copy_of_a_future_is_the_future_itself() -> None:
    future: Future[int] = Future()
    inside = copy.deepcopy({"x": [future]})
    shallow = copy.copy(future)
    future.resolve(1)
    assert inside["x"][0].result(0) == shallow.result(0) == 1


def test_a_future_refuses_to_be_pickled_and_says_what_to_do_instead() -> None:
    with pytest.raises(FutureMisuse, match="argument of a call"):
        ForkingPickler.dumps([Future[int]()])
