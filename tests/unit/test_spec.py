from typing import Any

import pytest

from nalar.agents.spec import RUN, Hints, MethodOptions, MethodSpec, Retry
from nalar.errors import UsageError
from nalar.ids import AgentName


def make_method(fn: Any, *, read_only: bool = False, stateful: bool = True) -> MethodSpec:
    options = MethodOptions(read_only=read_only)
    return MethodSpec.of(
        fn, agent=AgentName("f"), name=RUN, kind="tool", stateful=stateful, options=options
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 2.5}, "max_attempts"),
        ({"max_attempts": True}, "max_attempts"),
        ({"initial_s": -1}, "initial_s"),
        ({"multiplier": 0.5}, "multiplier"),
        ({"cap_s": float("inf")}, "cap_s"),
        ({"jitter": 2}, "jitter.* from 0 to 1"),
        ({"non_retryable": ["ValueError"]}, "exception classes"),
    ],
)
def test_a_retry_that_cannot_be_meant_is_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Retry(**arguments)


def test_one_exception_class_will_do() -> None:
    assert Retry(non_retryable=ValueError).non_retryable == (ValueError,)  # type: ignore[arg-type]


def test_only_a_stateful_method_that_is_not_read_only_changes_state() -> None:
    def fn() -> None: ...

    assert make_method(fn).effect == "s"
    assert make_method(fn, read_only=True).effect == "r"
    assert make_method(fn, stateful=False).effect == "r"


def test_the_code_digest_follows_the_source_and_not_its_place() -> None:
    def one(x: int) -> int:
        return x + 1

    two_specs = [make_method(one), make_method(one)]

    def changed(x: int) -> int:
        return x + 2

    assert two_specs[0].code == two_specs[1].code != make_method(changed).code
    assert len(two_specs[0].code) == 12


def test_generators_and_coroutines_are_told_apart() -> None:
    async def pages() -> Any:
        yield 1

    def lines() -> Any:
        yield 1

    async def page() -> None: ...

    assert (make_method(pages).is_generator, make_method(pages).is_async) == (True, True)
    assert (make_method(lines).is_generator, make_method(lines).is_async) == (True, False)
    assert (make_method(page).is_generator, make_method(page).is_async) == (False, True)


def test_hints_name_the_owner_in_their_errors() -> None:
    with pytest.raises(UsageError, match=r"class X: 'batchabel' is no hint. Did you mean 'batch"):
        Hints.named("class X", {"batchabel": True})
