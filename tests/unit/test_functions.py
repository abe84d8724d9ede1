import asyncio
from collections.abc import Iterator
from typing import Any, cast

import pytest

import nalar
from nalar.agents.registry import REGISTRY
from nalar.agents.spec import MethodSpec
from nalar.context import CallOptions, connect_runtime, disconnect_runtime
from nalar.errors import UsageError
from nalar.futures import Future


class Recorder:
    def __init__(self) -> None:
        self.calls: list[tuple[str, bytes, CallOptions]] = []

    def call(
        self, spec: MethodSpec, args: tuple[Any, ...], kwargs: dict[str, Any], options: CallOptions
    ) -> Future[Any]:
        self.calls.append((spec.target, spec.signature.bind(args, kwargs).text, options))
        return Future()


@pytest.fixture
def runtime() -> Iterator[Recorder]:
    recorder = Recorder()
    connect_runtime(recorder)
    yield recorder
    disconnect_runtime(recorder)


@nalar.tool
async def search(ticker: str) -> list[str]:
    """Search."""
    return [ticker]


@nalar.workflow(name="daily-report", retry=nalar.Retry(max_attempts=2), timeout_s=5)
def report(tickers: list[str], limit: int = 3) -> int:
    return len(tickers) + limit


def test_calling_is_the_stub_and_fn_the_plain_function(runtime: Recorder) -> None:
    assert isinstance(search("x"), Future)
    assert isinstance(report(["a"], limit=1), Future)
    assert [(target, text) for target, text, _ in runtime.calls] == [
        ("search.run", b'{"ticker":"x"}'),
        ("daily-report.run", b'{"tickers":["a"],"limit":1}'),
    ]
    assert asyncio.run(search.fn("x")) == ["x"]
    assert report.fn(["a"]) == 4


def test_options_are_those_of_one_call(runtime: Recorder) -> None:
    quick = report.options(priority=9)
    quick.options(session="s")([])
    report([])
    assert [options for _, _, options in runtime.calls] == [
        CallOptions(session="s", priority=9),
        CallOptions(),
    ]
    assert isinstance(quick, type(report))


def test_the_spec_is_that_of_an_agent_with_one_stateless_method() -> None:
    agent = REGISTRY.get("daily-report")
    run = agent.methods["run"]
    assert report.agent is agent
    assert report.spec is run
    assert (agent.kind, agent.stateful, agent.make()) == ("workflow", False, None)
    assert (run.label, run.effect, run.timeout_s, run.retry.max_attempts) == (
        "daily-report", "r", 5, 2,
    )  # fmt: skip
    assert (search.__name__, search.__doc__, search.__module__) == ("search", "Search.", __name__)
    assert repr(search) == "<tool search(ticker)>"


@pytest.mark.parametrize(
    ("declare", "says"),
    [
        (lambda: nalar.tool(print), "@nalar.tool goes on a function"),
        (lambda: nalar.workflow(object), "@nalar.workflow goes on a function"),
        (lambda: nalar.tool(lambda: None), "'<lambda>' cannot be served"),
        (lambda: nalar.tool(name="a b")(lambda: None), "'a b' cannot be served"),
        (lambda: nalar.tool(timeout_s=-1), "timeout_s is a number"),
        (lambda: nalar.tool(on_orphan=cast("Any", "never")), "on_orphan is 'hold' or 'ignore'"),
        (lambda: nalar.tool(retry=cast("Any", 3)), r"retry=nalar\.Retry"),
    ],
)
def test_a_declaration_that_cannot_be_meant_is_refused(declare: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        declare()
