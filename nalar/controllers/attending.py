"""Knowing what each call's code has under way: an event loop that tells a call of its tasks.

asyncio tells nobody which tasks and timers belong together, but whatever code starts on a loop goes
through three of the loop's methods, in the context of the call it belongs to. They are wrapped on
the loop that a worker runs on, whichever kind it is.
"""

import asyncio
import weakref
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from nalar.context import call_in

_attended: "weakref.WeakSet[asyncio.AbstractEventLoop]" = weakref.WeakSet()


def attend(loop: asyncio.AbstractEventLoop) -> None:
    """Have each call told of the tasks and timers that its code makes on `loop`."""
    if loop in _attended:
        return
    _attended.add(loop)
    create_task = loop.create_task

    def telling_create_task(
        coroutine: Coroutine[Any, Any, Any], *, context: Context | None = None, **options: Any
    ) -> asyncio.Task[Any]:
        call = call_in(context)
        if context is not None:
            options["context"] = context
        task = create_task(coroutine, **options)
        if call is not None:
            call.activity.began(task)
        return task

    loop.create_task = telling_create_task  # type: ignore[method-assign, assignment]
    loop.call_at = _telling(loop.call_at)  # type: ignore[method-assign, assignment]
    loop.call_later = _telling(loop.call_later)  # type: ignore[method-assign, assignment]


def _telling(set_timer: Callable[..., asyncio.TimerHandle]) -> Callable[..., asyncio.TimerHandle]:
    def telling(
        when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = set_timer(when, callback, *args, context=context)
        call = call_in(context)
        # What is due at once is no timer to uvloop: its handle has no time.
        if call is not None and not _is_runtime(callback) and hasattr(timer, "when"):
            call.activity.timed(timer)
        return timer

    return telling


def _is_runtime(callback: Callable[..., object]) -> bool:
    module: str = getattr(callback, "__module__", None) or ""
    # `nalar.wait` sets a timer of the call's own: it must not be lost.
    return module.startswith("nalar.") and module != "nalar.combined"
