from typing import Any

import pytest

from nalar.agents.spec import RUN, Hints, MethodOptions, MethodSpec
from nalar.errors import UsageError
from nalar.ids import AgentName


def make_method(fn: Any, *, read_only: bool = False, stateful: bool = True) -> MethodSpec:
    options = MethodOptions(read_only=read_only)
    return MethodSpec.of(
        fn, agent=AgentName("f"), name=RUN, kind="tool", stateful=stateful, options=options
    )


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
