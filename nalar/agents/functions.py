"""`@nalar.tool` and `@nalar.workflow`: functions that are called from anywhere."""

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from types import FunctionType
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, overload

from nalar.agents.registry import REGISTRY, check_name
from nalar.agents.spec import RUN, AgentSpec, MethodOptions, MethodSpec, OnOrphan, place_of
from nalar.agents.stub import Stub
from nalar.agents.typed import P, R_co
from nalar.call_policy import ONCE, Batch, Retry
from nalar.errors import UsageError
from nalar.ids import AgentName

R = TypeVar("R")
A = TypeVar("A")
B = TypeVar("B")
Lists = ParamSpec("Lists")
Plain_co = TypeVar("Plain_co", covariant=True)


class Function(Stub[P, R_co], Generic[P, R_co, Plain_co]):
    """A tool or workflow: calling it publishes a call; `.fn` is the plain function."""

    def __init__(self, agent: AgentSpec) -> None:
        super().__init__(agent.methods[RUN])
        #: What is served: an agent with this one method.
        self.agent = agent
        self.__module__ = agent.module
        self.__qualname__ = agent.qualname

    @property
    def __name__(self) -> str:
        return self.agent.qualname.rpartition(".")[2]

    @property
    def fn(self) -> Callable[P, Plain_co]:
        """The plain function, to be called without a runtime."""
        return self.spec.fn

    def __repr__(self) -> str:
        return f"<{self.agent.kind} {self.spec.signature}>"


def declare(
    fn: Any, kind: Literal["tool", "workflow"], name: str | None, options: MethodOptions
) -> Function[..., Any, Any]:
    """Register `fn` as a tool or workflow and return its stub."""
    if not isinstance(fn, FunctionType):
        raise UsageError(
            f"@nalar.{kind} goes on a function, not on {fn!r}; a class is an agent: "
            "class X(nalar.Agent), or nalar.serve_class(X)"
        )
    label = fn.__name__ if name is None else name
    check_name(label, declared_as=f"@nalar.{kind} on {fn.__qualname__}")
    agent = AgentName(label)
    file, line = place_of(fn)
    spec = AgentSpec(
        name=agent,
        kind=kind,
        methods={
            RUN: MethodSpec.of(
                fn, agent=agent, name=RUN, kind=kind, stateful=False, options=options
            )
        },
        doc=fn.__doc__ or "",
        module=fn.__module__,
        qualname=fn.__qualname__,
        file=file,
        line=line,
    )
    REGISTRY.register(spec)
    return Function(spec)


class BatchFunction(Function[P, R_co, Any], Generic[P, R_co, Lists, Plain_co]):
    """A tool whose body takes a batch, to a type-checker: calling it is one call."""

    @property
    def fn(self) -> Callable[Lists, Plain_co]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The plain function, with a list for each argument."""
        return self.spec.fn


class BatchDecorator(Protocol):
    """`@nalar.tool(batch=...)`, to a type-checker: one list or two, and a list of results."""

    @overload
    def __call__(
        self, fn: Callable[[list[A]], Coroutine[Any, Any, Sequence[R | Exception]]], /
    ) -> BatchFunction[[A], R, [list[A]], Coroutine[Any, Any, Sequence[R | Exception]]]: ...
    @overload
    def __call__(
        self, fn: Callable[[list[A], list[B]], Coroutine[Any, Any, Sequence[R | Exception]]], /
    ) -> BatchFunction[
        [A, B], R, [list[A], list[B]], Coroutine[Any, Any, Sequence[R | Exception]]
    ]: ...
    @overload
    def __call__(
        self, fn: Callable[[list[A]], Sequence[R | Exception]], /
    ) -> BatchFunction[[A], R, [list[A]], Sequence[R | Exception]]: ...
    @overload
    def __call__(
        self, fn: Callable[[list[A], list[B]], Sequence[R | Exception]], /
    ) -> BatchFunction[[A, B], R, [list[A], list[B]], Sequence[R | Exception]]: ...


class Decorator(Protocol):
    """`@nalar.tool(...)` and `@nalar.workflow(...)`, to a type-checker."""

    @overload
    def __call__(
        self, fn: Callable[P, Coroutine[Any, Any, R]], /
    ) -> Function[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(
        self, fn: Callable[P, AsyncIterator[R]], /
    ) -> Function[P, list[R], AsyncIterator[R]]: ...
    @overload
    def __call__(self, fn: Callable[P, Iterator[R]], /) -> Function[P, list[R], Iterator[R]]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Function[P, R, R]: ...


@overload
def tool(fn: Callable[P, Coroutine[Any, Any, R]], /) -> Function[P, R, Coroutine[Any, Any, R]]: ...
@overload
def tool(fn: Callable[P, AsyncIterator[R]], /) -> Function[P, list[R], AsyncIterator[R]]: ...
@overload
def tool(fn: Callable[P, Iterator[R]], /) -> Function[P, list[R], Iterator[R]]: ...
@overload
def tool(fn: Callable[P, R], /) -> Function[P, R, R]: ...
@overload
def tool(
    *,
    name: str | None = None,
    retry: Retry = ONCE,
    timeout_s: float | None = None,
    read_only: bool = False,
    on_orphan: OnOrphan = "hold",
    queue_timeout_s: float | None = None,
) -> Decorator: ...
@overload
def tool(
    *,
    batch: Batch,
    name: str | None = None,
    retry: Retry = ONCE,
    timeout_s: float | None = None,
    read_only: bool = False,
    on_orphan: OnOrphan = "hold",
    queue_timeout_s: float | None = None,
) -> BatchDecorator: ...
def tool(  # noqa: PLR0913 -- each is an option
    fn: Any = None,
    /,
    *,
    name: str | None = None,
    retry: Retry = ONCE,
    timeout_s: float | None = None,
    read_only: bool = False,
    on_orphan: OnOrphan = "hold",
    queue_timeout_s: float | None = None,
    batch: Batch | None = None,
) -> Any:
    """Serve a function: calling it publishes a call and returns its future."""
    options = MethodOptions(retry, timeout_s, read_only, on_orphan, queue_timeout_s, batch)
    wrap = functools.partial(declare, kind="tool", name=name, options=options)
    return wrap if fn is None else wrap(fn)


@overload
def workflow(
    fn: Callable[P, Coroutine[Any, Any, R]], /
) -> Function[P, R, Coroutine[Any, Any, R]]: ...
@overload
def workflow(fn: Callable[P, AsyncIterator[R]], /) -> Function[P, list[R], AsyncIterator[R]]: ...
@overload
def workflow(fn: Callable[P, Iterator[R]], /) -> Function[P, list[R], Iterator[R]]: ...
@overload
def workflow(fn: Callable[P, R], /) -> Function[P, R, R]: ...
@overload
def workflow(
    *,
    name: str | None = None,
    retry: Retry = ONCE,
    timeout_s: float | None = None,
    read_only: bool = False,
    on_orphan: OnOrphan = "hold",
    queue_timeout_s: float | None = None,
) -> Decorator: ...
def workflow(  # noqa: PLR0913 -- each is an option
    fn: Any = None,
    /,
    *,
    name: str | None = None,
    retry: Retry = ONCE,
    timeout_s: float | None = None,
    read_only: bool = False,
    on_orphan: OnOrphan = "hold",
    queue_timeout_s: float | None = None,
    batch: Batch | None = None,
) -> Any:
    """Serve a function that calls agents and tools: the entrance of a request."""
    options = MethodOptions(retry, timeout_s, read_only, on_orphan, queue_timeout_s, batch)
    wrap = functools.partial(declare, kind="workflow", name=name, options=options)
    return wrap if fn is None else wrap(fn)
