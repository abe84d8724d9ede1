"""Several things at once, of which the first failure is the failure of all."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def together(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all at once and return their results in order.

    When one fails the others are cancelled and its own error is raised: ports promise plain
    exceptions, not the groups that a TaskGroup makes of them.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(coroutine) for coroutine in coroutines]
    except BaseExceptionGroup as group:
        first: BaseException = group.exceptions[0]
        raise first from None
    return [task.result() for task in running]
