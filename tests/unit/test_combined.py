"""Several futures at once: values together, one by one as they end, or after a while."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Self

import pytest

from nalar.combined import as_completed, gather, wait
from nalar.errors import CallTimeout, FutureMisuse
from nalar.futures import Future


def resolved(value: int, revision: int = 0) -> Future[int]:
    future: Future[int] = Future()
    future.resolve(value, revision=revision)
    return future


def failed(error: Exception) -> Future[int]:
    future: Future[int] = Future()
    future.fail(error)
    return future


def later(future: Future[int], value: int) -> None:
    threading.Timer(0.02, future.resolve, [value]).start()


async def test_gather_keeps_the_order_and_fails_with_the_first_failure() -> None:
    slow: Future[int] = Future()
    both = gather(slow, resolved(2))
    later(slow, 1)
    assert await both == [1, 2]
    assert await gather() == []
    never: Future[int] = Future()
    with pytest.raises(KeyError):
        await gather(never, failed(KeyError("x")))


async def test_gather_waits_for_all_and_has_errors_among_the_values_if_it_is_told_to() -> None:
    slow, error = Future[int](), KeyError("x")
    all_three = gather(slow, failed(error), resolved(3), return_exceptions=True)
    assert not all_three.done()
    slow.resolve(1)
    assert await all_three == [1, error, 3]
    with pytest.raises(FutureMisuse, match="cannot be an argument"):
        all_three.as_json()


def test_as_completed_yields_what_has_ended_in_the_ledgers_order() -> None:
    pending: Future[int] = Future()
    futures = [pending, resolved(1, revision=30), resolved(2, revision=10)]
    later(pending, 3)
    assert [future.result() for future in as_completed(futures)] == [2, 1, 3]


async def test_as_completed_can_be_iterated_on_a_loop() -> None:
    pending: Future[int] = Future()
    later(pending, 2)
    seen = [await future async for future in as_completed([pending, resolved(1)])]
    assert seen == [1, 2]


async def test_wait_returns_at_the_first_end_or_the_first_failure_or_the_timeout() -> None:
    never: Future[int] = Future()
    one, error = resolved(1), failed(ValueError())
    assert await wait([never, one], return_when="FIRST_COMPLETED") == ({one}, {never})
    assert await wait([never, error], return_when="FIRST_EXCEPTION") == ({error}, {never})
    assert await wait([never], timeout=0.01) == (set(), {never})
    assert await wait([one, error]) == ({one, error}, set())
    empty: list[Future[int]] = []
    assert await wait(empty) == (set(), set())


async def test_as_completed_registers_once_with_each_future_however_many_there_are() -> None:
    registered: list[Future[int]] = []

    class Counting(Future[int]):
        def add_done_callback(self, notify: Callable[[Self], object]) -> None:
            registered.append(self)
            super().add_done_callback(notify)

    futures: list[Future[int]] = [Counting() for _ in range(100)]
    loop, ending = asyncio.get_running_loop(), iter(futures)
    loop.call_soon(lambda: next(ending).resolve(0))
    seen: list[Future[int]] = []
    async for future in as_completed(futures):
        seen.append(future)
        loop.call_soon(lambda: next(ending, futures[0]).resolve(0))
    assert seen == futures
    assert registered == futures


def test_as_completed_yields_an_older_record_first_that_ended_in_the_meantime() -> None:
    futures: list[Future[int]] = [Future() for _ in range(3)]
    futures[1].resolve(1, revision=10)
    futures[2].resolve(2, revision=30)
    seen: list[int] = []
    for future in as_completed(futures):
        seen.append(future.result())
        futures[0].resolve(0, revision=20)
    assert seen == [1, 0, 2]


def test_as_completed_yields_a_future_as_often_as_it_was_given() -> None:
    one = resolved(1)
    assert list(as_completed([one, one])) == [one, one]


def test_as_completed_says_when_the_next_one_takes_too_long() -> None:
    never: Future[int] = Future()
    with pytest.raises(CallTimeout, match=r"0\.01 s"):
        list(as_completed([never], timeout=0.01))


def test_what_wait_returns_tells_of_its_end_like_any_future() -> None:
    one, other = Future[int](), Future[int]()
    first = wait([one, other], return_when="FIRST_COMPLETED")
    heard: list[Future[Any]] = []
    first.add_done_callback(heard.append)
    assert not first.done()
    assert heard == []
    one.resolve(1)
    assert first.done()
    assert heard == [first]
    other.resolve(2)
    assert first.exception() is None
    assert first.result() == ({one}, {other})


def test_what_wait_returns_can_be_combined_further() -> None:
    one, other, never = Future[int](), Future[int](), Future[int]()
    both, first = wait([one, other]), wait([never, other], return_when="FIRST_COMPLETED")
    together, in_turn = gather(both, first), as_completed([both, first])
    other.resolve(2, revision=7)
    one.resolve(1, revision=8)
    assert together.result(0) == [({one, other}, set()), ({other}, {never})]
    assert list(in_turn) == [first, both]


def test_the_timeout_of_wait_ends_it_and_that_of_its_result_does_not() -> None:
    never = Future[int]()
    with pytest.raises(CallTimeout, match=r"0\.01 s"):
        wait([never], timeout=60).result(0.01)
    assert wait([never], timeout=0).done()
    heard = threading.Event()
    late = wait([never], timeout=0.01)
    late.add_done_callback(lambda _: heard.set())
    assert heard.wait(5)
    assert late.result() == (set(), {never})


async def test_the_timeout_of_wait_passes_on_the_loop_whether_or_not_it_is_awaited() -> None:
    never = Future[int]()
    heard = asyncio.Event()
    wait([never], timeout=0.01).add_done_callback(lambda _: heard.set())
    async with asyncio.timeout(5):
        await heard.wait()


def test_wait_leaves_no_thread_behind() -> None:
    one = Future[int]()
    before = set(threading.enumerate())
    waited = wait([one], timeout=60)
    one.resolve(1)
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
    assert set(threading.enumerate()) == before
    assert waited.result() == ({one}, set())


def test_a_combination_stands_in_the_ledger_where_the_last_of_its_parts_does() -> None:
    one, other, third = Future[int](), resolved(2, revision=40), resolved(3, revision=30)
    both: Future[Any] = gather(one, other)
    one.resolve(1, revision=20)
    futures: list[Future[Any]] = [both, third]
    assert list(as_completed(futures)) == [third, both]


def test_what_is_no_future_is_refused_by_name() -> None:
    some = [resolved(1), resolved(2)]
    with pytest.raises(FutureMisuse, match=r"write nalar.gather\(\*futures\)"):
        gather(some)  # type: ignore[arg-type]
    with pytest.raises(FutureMisuse, match=r"nalar.wait takes futures.*not 7"):
        wait([*some, 7])  # type: ignore[list-item]
    with pytest.raises(FutureMisuse, match=r"nalar.as_completed takes futures"):
        as_completed(["x"])  # type: ignore[list-item]
