"""A step: a function with its arguments, what names it, and its value as data. Pure."""

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from nalar.errors import InvalidResult, NotData, UsageError
from nalar.settings import Settings
from nalar.values.nested import find_futures
from nalar.values.wire import WireType, canonical, describe, encode, reasons

_ANYTHING = WireType.of(Any)
_DEPTH_MAX = Settings().depth_max


@dataclass(frozen=True, slots=True)
class Step:
    """What `nalar.step` was given."""

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    #: Name of the function, for people and for the step's id.
    name: str
    wire: WireType

    @classmethod
    def of(cls, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> "Step":
        """Describe `fn(*args, **kwargs)`; raises UsageError for what cannot be a step."""
        if not callable(fn):
            raise UsageError(
                f"nalar.step takes a function and its arguments, not {fn!r}: write "
                "nalar.step(f, x), without calling f"
            )
        if find_futures([*args, *kwargs.values()], _DEPTH_MAX):
            raise UsageError("a step runs at once: await the futures among its arguments first")
        return cls(fn, args, kwargs, name_of(fn), WireType.of(_result_of(fn)))

    @property
    def identity(self) -> dict[str, Any]:
        """What tells it from other steps: the function's name, and arguments that are data."""
        inner = self.fn
        args, kwargs = list(self.args), dict(self.kwargs)
        while isinstance(inner, functools.partial):
            args, kwargs = [*inner.args, *args], {**inner.keywords, **kwargs}
            inner = inner.func
        return {
            "step": self.name,
            "args": [_data(arg) for arg in args],
            "kwargs": {name: _data(arg) for name, arg in kwargs.items()},
        }

    @property
    def is_async(self) -> bool:
        """Whether it may be called on an event loop: it returns a coroutine at once."""
        inner = self.fn
        while isinstance(inner, functools.partial):
            inner = inner.func
        return inspect.iscoroutinefunction(inner)

    def dump(self, value: Any) -> bytes:
        """Return what the step returned as JSON text; raises InvalidResult."""
        try:
            if not self.wire.is_plain(value):
                value = self.wire.dump(self.wire.validate(value))
            return encode(value, _DEPTH_MAX)
        except (NotData, ValueError, TypeError, RecursionError) as error:
            raise InvalidResult(
                f"what step {self.name} returned is kept as JSON, and does not fit "
                f"{describe(self.wire.annotation)}: {reasons(error)}"
            ) from error

    def load(self, text: bytes) -> Any:
        """Return the value that `dump` was given; raises InvalidResult."""
        try:
            return self.wire.read(text)
        except ValueError as error:
            raise InvalidResult(
                f"the value kept of step {self.name} is not a "
                f"{describe(self.wire.annotation)}: {reasons(error)}"
            ) from error


def name_of(fn: Callable[..., Any]) -> str:
    """Return the name of a function, without its module: it may be moved."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return str(getattr(fn, "__qualname__", type(fn).__qualname__))


def _result_of(fn: Callable[..., Any]) -> Any:
    while isinstance(fn, functools.partial):
        fn = fn.func
    try:
        return typing.get_type_hints(fn, include_extras=True).get("return", Any)
    except (NameError, TypeError, AttributeError):
        return Any  # A builtin, or annotations that only a type-checker understands.


def _data(value: Any) -> Any:
    """Return an argument as JSON; one that is no data, such as a client, as its type's name."""
    try:
        tree = _ANYTHING.dump(value)
        canonical(tree)
    except (NotData, ValueError, TypeError, RecursionError):
        return {"$type": type(value).__qualname__}
    return tree


class NoCalls:
    """The runtime of a step's code."""

    def __init__(self, step: str) -> None:
        self._step = step

    def call(self, spec: Any, args: object, kwargs: object, options: object = None) -> NoReturn:
        """Refuse: whether the call was made could not be told when the step runs again."""
        del args, kwargs, options
        raise UsageError(
            f"step {self._step} calls {spec.label}: a step is for work of its own. Make the call "
            "in the workflow, which remembers it by itself"
        )


def kept_in(run: Callable[[], Any]) -> Callable[[], Any]:
    """Return `run` with what no coroutine lets out raised as a RuntimeError."""

    def in_thread() -> Any:
        try:
            return run()
        except (StopIteration, GeneratorExit) as error:
            # They mean something else to whoever awaits this; no coroutine lets one out.
            raise RuntimeError(f"the step raised {type(error).__name__}") from error

    return in_thread
