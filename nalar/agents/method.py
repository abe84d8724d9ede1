"""`@nalar.method`: on the class a stub, on an instance the plain method."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from types import FunctionType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from nalar.agents.spec import MethodOptions, OnOrphan
from nalar.agents.stub import Stub
from nalar.agents.typed import P, R_co
from nalar.call_policy import ONCE, Batch, Retry
from nalar.errors import UsageError

R = TypeVar("R")
A = TypeVar("A")
B = TypeVar("B")
Args = ParamSpec("Args")
Lists = ParamSpec("Lists")
Plain_co = TypeVar("Plain_co", covariant=True)

#: Where a served class keeps its AgentSpec.
SPEC = "__nalar_spec__"


class Method(Generic[P, R_co, Plain_co]):
    """A served method, as it stands in the class.

    `P` are its arguments without the instance, `R_co` is its result, and `Plain_co` what
    the plain function returns: a coroutine where it is `async def`.
    """

    def __init__(self, fn: Callable[..., Any], options: MethodOptions) -> None:
        self.fn = fn
        #: What the decorator declared.
        self.declared = options
        self.name = getattr(fn, "__name__", "")
        self.__doc__ = fn.__doc__
        self.__wrapped__ = fn

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Stub[P, R_co]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Callable[P, Plain_co]: ...
    def __get__(self, instance: object | None, owner: type) -> Any:
        if instance is not None:
            return self.fn.__get__(instance, owner)
        spec = getattr(owner, SPEC, None)
        if spec is None:
            raise UsageError(
                f"{owner.__qualname__} has @nalar.method and is no agent: write "
                f"class {owner.__name__}(nalar.Agent)"
            )
        stub: Stub[..., Any] = Stub(spec.methods[self.name])
        return stub

    def __repr__(self) -> str:
        return f"<method {self.fn.__qualname__}>"


class BatchMethod(Protocol[Args, R_co, Lists, Plain_co]):
    """A method whose body takes a batch, to a type-checker: the stub is for one call."""

    @overload
    def __get__(self, instance: None, owner: type) -> Stub[Args, R_co]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Callable[Lists, Plain_co]: ...


class BatchDecorator(Protocol):
    """`@nalar.method(batch=...)`, to a type-checker: one list or two, and a list of results."""

    @overload
    def __call__(
        self, fn: Callable[[Any, list[A]], Coroutine[Any, Any, Sequence[R | Exception]]], /
    ) -> BatchMethod[[A], R, [list[A]], Coroutine[Any, Any, Sequence[R | Exception]]]: ...
    @overload
    def __call__(
        self, fn: Callable[[Any, list[A], list[B]], Coroutine[Any, Any, Sequence[R | Exception]]], /
    ) -> BatchMethod[
        [A, B], R, [list[A], list[B]], Coroutine[Any, Any, Sequence[R | Exception]]
    ]: ...
    @overload
    def __call__(
        self, fn: Callable[[Any, list[A]], Sequence[R | Exception]], /
    ) -> BatchMethod[[A], R, [list[A]], Sequence[R | Exception]]: ...
    @overload
    def __call__(
        self, fn: Callable[[Any, list[A], list[B]], Sequence[R | Exception]], /
    ) -> BatchMethod[[A, B], R, [list[A], list[B]], Sequence[R | Exception]]: ...


class Decorator(Protocol):
    """`@nalar.method(...)`, to a type-checker."""

    @overload
    def __call__(
        self, fn: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
    ) -> Method[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(
        self, fn: Callable[Concatenate[Any, P], AsyncIterator[R]], /
    ) -> Method[P, list[R], AsyncIterator[R]]: ...
    @overload
    def __call__(
        self, fn: Callable[Concatenate[Any, P], Iterator[R]], /
    ) -> Method[P, list[R], Iterator[R]]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[Any, P], R], /) -> Method[P, R, R]: ...


@overload
def method(
    fn: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
) -> Method[P, R, Coroutine[Any, Any, R]]: ...
@overload
def method(
    fn: Callable[Concatenate[Any, P], AsyncIterator[R]], /
) -> Method[P, list[R], AsyncIterator[R]]: ...
@overload
def method(
    fn: Callable[Concatenate[Any, P], Iterator[R]], /
) -> Method[P, list[R], Iterator[R]]: ...
@overload
def method(fn: Callable[Concatenate[Any, P], R], /) -> Method[P, R, R]: ...
@overload
def method(
    *,
    retry: Retry = ONCE,
    timeout_s: float | None = None,
    read_only: bool = False,
    on_orphan: OnOrphan = "hold",
    queue_timeout_s: float | None = None,
) -> Decorator: ...
@overload
def method(
    *,
    batch: Batch,
    retry: Retry = ONCE,
    timeout_s: float | None = None,
    read_only: bool = False,
    on_orphan: OnOrphan = "hold",
    queue_timeout_s: float | None = None,
) -> BatchDecorator: ...
def method(  # noqa: PLR0913 -- each is an option
    fn: Any = None,
    /,
    *,
    retry: Retry = ONCE,
    timeout_s: float | None = None,
    read_only: bool = False,
    on_orphan: OnOrphan = "hold",
    queue_timeout_s: float | None = None,
    batch: Batch | None = None,
) -> Any:
    """Declare how a public method of an agent is served; its type is then known exactly.

    `timeout_s` is what one execution may take: without it only the request's deadline (seven days
    unless set) ends a loop, and what never waits ends with its worker's process (`block_max_s`).
    """
    options = MethodOptions(retry, timeout_s, read_only, on_orphan, queue_timeout_s, batch)

    def wrap(fn: Any) -> Method[..., Any, Any]:
        if not isinstance(fn, FunctionType):
            raise UsageError(
                f"@nalar.method goes on a function of an agent's class, not on {fn!r}: class "
                "and static methods and properties are not served"
            )
        return Method(fn, options)

    return wrap if fn is None else wrap(fn)
