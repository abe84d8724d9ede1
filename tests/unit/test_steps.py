"""What names a step, and what its value is as data."""

import functools
import time
from dataclasses import dataclass
from typing import Any

import pytest

from nalar.calls.steps import Step, name_of
from nalar.errors import InvalidResult, UsageError
from nalar.futures import Future


@dataclass
class Page:
    title: str


class Client:
    def get(self, url: str) -> Page:
        return Page(url)

    async def fetch(self, url: str) -> Page:
        return Page(url)


def step(fn: Any, *args: Any, **kwargs: Any) -> Step:
    return Step.of(fn, args, kwargs)


def test_a_step_is_named_by_its_function_and_the_arguments_that_are_data() -> None:
    client = Client()
    assert step(client.get, "a").identity == step(Client().get, "a").identity
    assert step(client.get, "a").identity != step(client.get, "b").identity
    assert step(client.get, "a").identity != step(client.fetch, "a").identity
    assert step(Client.get, client, "a").identity == {
        "step": "Client.get", "args": [{"$type": "Client"}, "a"], "kwargs": {},
    }  # fmt: skip
    assert step(dict, b={1, 3, 2}).identity["kwargs"] == {"b": [1, 2, 3]}
    assert step(print, float("nan")).identity["args"] == [{"$type": "float"}]


def test_a_partial_is_the_function_with_its_arguments() -> None:
    whole = step(print, "a", end="").identity
    assert step(functools.partial(print, end=""), "a").identity == whole
    assert name_of(functools.partial(functools.partial(print))) == "print"
    assert step(functools.partial(Client().fetch, "a")).is_async
    assert not step(time.sleep).is_async


def test_values_come_back_as_the_annotation_says_else_as_plain_json() -> None:
    got = step(Client().get, "a")
    assert got.load(got.dump(Page("x"))) == Page("x")
    plain = step(time.sleep)
    assert plain.load(plain.dump({"a": (1, 2)})) == {"a": [1, 2]}
    later = step(functools.partial(Client().fetch, "a"))
    assert later.load(later.dump(Page("x"))) == Page("x")


def test_what_is_no_data_and_what_does_not_fit_is_said() -> None:
    with pytest.raises(InvalidResult, match=r"step sleep returned is kept as JSON"):
        step(time.sleep).dump(object())
    with pytest.raises(InvalidResult, match=r"Client\.get.*does not fit Page"):
        step(Client().get, "a").dump(7)
    with pytest.raises(InvalidResult, match=r"Client\.get is not a Page"):
        step(Client().get, "a").load(b"7")


def test_what_can_be_no_step_is_refused() -> None:
    with pytest.raises(UsageError, match="without calling f"):
        step(7)
    pending: Future[int] = Future()
    with pytest.raises(UsageError, match="await the futures"):
        step(print, [pending])
