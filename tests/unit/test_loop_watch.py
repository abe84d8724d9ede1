"""What blocks a worker's event loop is named by the user's own line."""

import functools
import inspect

from nalar.controllers.loop_watch import LoopWatch


def users_code(watch: LoopWatch) -> str:
    """Be in the standard library, as most code that blocks is, when the watch looks."""
    within_functools = functools.singledispatch(LoopWatch.where)
    return within_functools(watch)


async def test_the_users_line_is_named_not_the_one_of_the_standard_library_that_it_called() -> None:
    source, start = inspect.getsourcelines(users_code)
    line = start + len(source) - 1
    assert users_code(LoopWatch(dict)) == f"users_code ({__file__}:{line})"
