"""What a type-checker knows of stubs. Read by basedpyright in test_types.py, never run.

Each error it must find is expected by name; one that it stopped finding is an error too.
"""

from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, assert_type

import nalar
from nalar import Future


@dataclass
class Study:
    ticker: str
    score: float


class Analyst(nalar.Agent, stateful=True):
    notes: nalar.ManagedList[str]
    prices: nalar.ManagedDict[str, float]

    @nalar.method(retry=nalar.Retry(max_attempts=5), timeout_s=60)
    async def study(self, ticker: str, news: list[str], depth: int = 1) -> Study:
        assert_type(self.notes[0], str)
        assert_type(self.prices["x"], float)
        return Study(ticker, len(news) / depth)

    @nalar.method
    def rank(self, studies: list[Study]) -> list[str]:
        return [study.ticker for study in studies]

    @nalar.method(read_only=True)
    async def many(
        self, one: int, two: str, three: float, four: bytes, five: bool, six: list[int]
    ) -> None: ...

    @nalar.method
    async def pages(self, count: int) -> AsyncIterator[str]:
        yield str(count)


class Trainee(Analyst):
    @nalar.method
    async def learn(self, lesson: str) -> bool:
        return bool(lesson)


class Embedder(nalar.Agent):
    @nalar.method(batch=nalar.Batch(size=8, linger_s=0.1))
    async def embed(self, texts: list[str]) -> list[list[float] | Exception]:
        return [[float(len(text))] for text in texts]

    @nalar.method(batch=nalar.Batch())
    def compare(self, texts: list[str], depths: list[int]) -> list[bool]:
        return [len(text) > depth for text, depth in zip(texts, depths, strict=True)]


@nalar.tool(batch=nalar.Batch())
def square(numbers: list[int]) -> list[int]:
    return [number * number for number in numbers]


@nalar.tool
async def search_news(ticker: str) -> list[str]:
    return [ticker]


@nalar.tool(name="count", read_only=True)
def count(items: list[str], *, at_least: int = 0) -> int:
    return max(at_least, len(items))


@nalar.workflow
async def report(tickers: list[str]) -> list[Study]:
    studies: list[Future[Study]] = []
    for ticker in tickers:
        news = search_news(ticker)
        assert_type(news, Future[list[str]])
        studies.append(Analyst.study(ticker, news))
    return assert_type(await nalar.gather(*studies), list[Study])


async def calls_are_futures_of_the_result() -> None:
    assert_type(Analyst.study("NVDA", ["a"]), Future[Study])
    assert_type(Analyst.study("NVDA", ["a"], 2), Future[Study])
    assert_type(Analyst.study(ticker="NVDA", news=["a"], depth=2), Future[Study])
    assert_type(await Analyst.study("NVDA", ["a"]), Study)
    assert_type(Analyst.rank([]), Future[list[str]])
    assert_type(Analyst.pages(3), Future[list[str]])
    async for page in Analyst.pages(3).stream(after=1):
        assert_type(page, str)
    Analyst.study("NVDA", ["a"]).stream()  # type: ignore[misc] -- one value
    assert_type(count(["a"], at_least=2), Future[int])
    assert_type(report(["a"]), Future[list[Study]])
    assert_type(Trainee.study("NVDA", []), Future[Study])
    assert_type(Trainee.learn("x"), Future[bool])


async def plain_code_is_plain() -> None:
    running = Analyst().study("NVDA", ["a"])
    await assert_type(running, Coroutine[Any, Any, Study])
    assert_type(await Analyst().study("NVDA", ["a"]), Study)
    assert_type(Analyst().rank([]), list[str])
    assert_type(await search_news.fn("NVDA"), list[str])
    assert_type(count.fn(["a"], at_least=1), int)
    plain: Callable[[list[str]], Coroutine[Any, Any, list[Study]]] = report.fn
    assert_type(await plain(["a"]), list[Study])


def options_keep_the_type() -> None:
    assert_type(Analyst.options(session="s1", priority=5).study("NVDA", []), Future[Study])
    assert_type(report.options(deadline_s=30, tenant="acme")(["a"]), Future[list[Study]])
    assert_type(search_news.options(key="k")("NVDA"), Future[list[str]])


def futures_stand_for_values() -> None:
    ticker = report(["a"])
    news = search_news("NVDA")
    number = count([])
    assert_type(Analyst.study("NVDA", news), Future[Study])
    assert_type(Analyst.study("NVDA", news, number), Future[Study])
    assert_type(Analyst.study("NVDA", news=news), Future[Study])
    assert_type(Analyst.study(ticker="NVDA", news=news, depth=number), Future[Study])
    assert_type(Analyst.study("NVDA", news, depth=3), Future[Study])
    assert_type(Analyst.rank(ticker), Future[list[str]])
    assert_type(Analyst.rank(nalar.gather(Analyst.study("a", news))), Future[list[str]])
    assert_type(count(news, at_least=3), Future[int])
    assert_type(Analyst.many(number, "b", 1.5, b"", five=True, six=[1]), Future[None])


def wrong_types_are_errors() -> None:
    number = count([])
    news = search_news("NVDA")
    # No parameter takes such a value:
    Analyst.study(b"NVDA", ["a"])  # pyright: ignore[reportCallIssue, reportArgumentType]
    Analyst.study("NVDA", [1])  # pyright: ignore[reportCallIssue, reportArgumentType]
    Analyst.study("NVDA", nalar.gather(number))  # pyright: ignore[reportCallIssue, reportArgumentType]
    Analyst.study("NVDA", news=search_news)  # pyright: ignore[reportCallIssue, reportArgumentType]
    # Another parameter does (depth is an int):
    Analyst.study(5, ["a"])  # pyright: ignore[reportDeprecated]
    Analyst.study("NVDA", "a")  # pyright: ignore[reportDeprecated]
    Analyst.study("NVDA", number)  # pyright: ignore[reportDeprecated]
    Analyst.study(number, news)  # pyright: ignore[reportDeprecated]
    count(number)  # pyright: ignore[reportCallIssue, reportArgumentType]
    count.fn(5)  # pyright: ignore[reportArgumentType]


def a_future_by_keyword_loosens_the_check() -> None:
    """Its place is not known to the checker, so any parameter's type will do. At run time it is."""
    assert_type(Analyst.study("NVDA", news=count([])), Future[Study])
    assert_type(Analyst.study(5, news=search_news("NVDA")), Future[Study])


def wrong_counts_and_names_are_errors() -> None:
    news = search_news("NVDA")
    Analyst.study("NVDA")  # pyright: ignore[reportDeprecated]
    Analyst.study(news)  # pyright: ignore[reportDeprecated]
    Analyst.study("NVDA", news, 1, 2)  # pyright: ignore[reportDeprecated]
    Analyst.study("NVDA", nws=["a"])  # pyright: ignore[reportDeprecated]
    search_news()  # pyright: ignore[reportDeprecated]
    Analyst.learn("x")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    Analyst.options(sesion="x")  # pyright: ignore[reportCallIssue]
    Analyst.options(session=5)  # pyright: ignore[reportArgumentType]
    nalar.tool(nme="x")  # pyright: ignore[reportCallIssue]


def an_argument_of_type_any_fits_and_the_result_is_known(anything: Any) -> None:
    assert_type(count(anything), Future[int])
    assert_type(Analyst.study(anything, anything), Future[Study])
    assert_type(Analyst.study("NVDA", news=anything), Future[Study])
    assert_type(Analyst.study(anything, ["a"], depth=2), Future[Study])


def read(path: str) -> bytes:
    return path.encode()


async def fetch(url: str, retries: int = 3) -> Study: ...


async def waits_know_what_they_bring() -> None:
    assert_type(nalar.sleep(5), Future[None])
    assert_type(nalar.wait_for("go"), Future[Any])
    assert_type(nalar.wait_for("go", Study, timeout_s=5), Future[Study])
    assert_type(await nalar.wait_for("go", int), int)
    assert_type(nalar.step(read, "path"), Future[bytes])
    assert_type(nalar.step(fetch, "url", retries=1), Future[Study])
    assert_type(await nalar.step(fetch, "url"), Study)
    nalar.step(read, 5)  # pyright: ignore[reportCallIssue, reportArgumentType]
    nalar.step(fetch, uri="x")  # pyright: ignore[reportCallIssue]
    nalar.sleep("5")  # pyright: ignore[reportArgumentType]
    assert_type(count([]).signal("go", 5), Future[None])


def a_batch_is_called_one_by_one(word: Future[str]) -> None:
    assert_type(Embedder.embed("a"), Future[list[float]])
    assert_type(Embedder.embed(word), Future[list[float]])
    assert_type(Embedder.options(session="s").compare("a", 1), Future[bool])
    assert_type(square(2), Future[int])
    square.fn([2])
    square.fn(2)  # pyright: ignore[reportArgumentType]
    square([2])  # pyright: ignore[reportCallIssue, reportArgumentType]
    Embedder.embed(5)  # pyright: ignore[reportCallIssue, reportArgumentType]
