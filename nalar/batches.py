"""What the body of a batch knows of its calls. It belongs to none of them, and makes no calls."""

import contextvars
from typing import Any, Final, NoReturn, TypeVar, cast

from nalar.context import Call, CallOptions, aside
from nalar.errors import UsageError

T = TypeVar("T")

#: The calls of the batch whose body runs, each with what its method would run on by itself.
_items: contextvars.ContextVar[tuple[tuple[Call, object], ...]] = contextvars.ContextVar(
    "nalar_batch", default=()
)


def batch_calls() -> list[Call]:
    """Return the calls of the running batch, in the order of its lists.

    Raises UsageError outside of one.
    """
    if not (items := _items.get()):
        raise UsageError(
            "nalar.batch_calls() says which calls a batch holds, and none runs: it is for the "
            "body of a method with batch=nalar.Batch(...)"
        )
    return [call for call, _ in items]


def batch_selves(agent: T) -> list[T]:
    """Return the agent of each call of the batch, with its own session, in the lists' order.

    Called on `self`; where no batch runs, as in a unit test, that is the only one.
    """
    return [cast("T", own) for _, own in _items.get()] or [agent]


class _NoCalls:
    """The runtime of a batch's body: whose call one made there would be, nobody could say."""

    def call(
        self,
        spec: Any,
        args: tuple[Any, ...],  # noqa: ARG002 -- a Runtime
        kwargs: dict[str, Any],  # noqa: ARG002
        options: CallOptions,  # noqa: ARG002
    ) -> NoReturn:
        raise UsageError(
            f"{spec.label} was called by the body of a batch, which belongs to no single call: "
            "make the call before or after, in the workflow"
        )


_NO_CALLS: Final = _NoCalls()


def in_batch(items: tuple[tuple[Call, object], ...]) -> contextvars.Context:
    """Return a context for the body of a batch of `items`."""
    inner = aside(_NO_CALLS)
    inner.run(_items.set, items)
    return inner
