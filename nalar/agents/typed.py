# ruff: noqa: D101 -- the protocols are one family, and this says what they are for
# Each deprecated overload is meant to overlap, and so to shield, the loose one after it.
# pyright: reportOverlappingOverload=false
"""How a stub's call looks to a type-checker: the method's own signature, with futures accepted.

No code of ours runs here. `Typed.__call__` has an overload for the plain signature; one per
number of leading positional arguments that may be futures; and, because a type-checker cannot
carry a parameter's name over to another type, loose ones for futures passed by keyword: those
check the count and that each value fits some parameter. What fits nothing else is "deprecated": an
error in a strict checker. Its result has the type of any other call, since an argument of type Any
matches every overload, and a checker that finds them to disagree calls the result unknown.
Six arguments may be futures; what comes after them is checked as it was declared.
"""

from __future__ import annotations  # A hundred annotations that nobody reads at run time.

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, overload

from nalar.futures import Future

if TYPE_CHECKING:
    from typing_extensions import deprecated
else:

    def deprecated(_: str) -> Callable[[Any], Any]:
        """Stand in for the real one, which is slow to import and says nothing at run time."""
        return lambda overloaded: overloaded


P = ParamSpec("P")
Rest = ParamSpec("Rest")
R_co = TypeVar("R_co", covariant=True)
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")
A_contra = TypeVar("A_contra", contravariant=True)
B_contra = TypeVar("B_contra", contravariant=True)
C_contra = TypeVar("C_contra", contravariant=True)
D_contra = TypeVar("D_contra", contravariant=True)
E_contra = TypeVar("E_contra", contravariant=True)
F_contra = TypeVar("F_contra", contravariant=True)

_MISFIT = "the arguments do not fit: one is missing, too many, misnamed or of a wrong type"


class Leads1(Protocol[A_contra, Rest]):
    def bind(self, a: A_contra, /, *args: Rest.args, **kwargs: Rest.kwargs) -> Any: ...


class Takes1(Protocol[A_contra]):
    def bind(self, a: A_contra, /) -> Any: ...


class Leads2(Protocol[A_contra, B_contra, Rest]):
    def bind(self, a: A_contra, b: B_contra, /, *args: Rest.args, **kwargs: Rest.kwargs) -> Any: ...


class Takes2(Protocol[A_contra, B_contra]):
    def bind(self, a: A_contra, b: B_contra, /) -> Any: ...


class Leads3(Protocol[A_contra, B_contra, C_contra, Rest]):
    def bind(
        self, a: A_contra, b: B_contra, c: C_contra, /, *args: Rest.args, **kwargs: Rest.kwargs
    ) -> Any: ...


class Takes3(Protocol[A_contra, B_contra, C_contra]):
    def bind(self, a: A_contra, b: B_contra, c: C_contra, /) -> Any: ...


class Leads4(Protocol[A_contra, B_contra, C_contra, D_contra, Rest]):
    def bind(
        self,
        a: A_contra,
        b: B_contra,
        c: C_contra,
        d: D_contra,
        /,
        *args: Rest.args,
        **kwargs: Rest.kwargs,
    ) -> Any: ...


class Takes4(Protocol[A_contra, B_contra, C_contra, D_contra]):
    def bind(self, a: A_contra, b: B_contra, c: C_contra, d: D_contra, /) -> Any: ...


class Leads5(Protocol[A_contra, B_contra, C_contra, D_contra, E_contra, Rest]):
    def bind(
        self,
        a: A_contra,
        b: B_contra,
        c: C_contra,
        d: D_contra,
        e: E_contra,
        /,
        *args: Rest.args,
        **kwargs: Rest.kwargs,
    ) -> Any: ...


class Takes5(Protocol[A_contra, B_contra, C_contra, D_contra, E_contra]):
    def bind(self, a: A_contra, b: B_contra, c: C_contra, d: D_contra, e: E_contra, /) -> Any: ...


class Leads6(Protocol[A_contra, B_contra, C_contra, D_contra, E_contra, F_contra, Rest]):
    def bind(
        self,
        a: A_contra,
        b: B_contra,
        c: C_contra,
        d: D_contra,
        e: E_contra,
        f: F_contra,
        /,
        *args: Rest.args,
        **kwargs: Rest.kwargs,
    ) -> Any: ...


class Takes6(Protocol[A_contra, B_contra, C_contra, D_contra, E_contra, F_contra]):
    def bind(
        self, a: A_contra, b: B_contra, c: C_contra, d: D_contra, e: E_contra, f: F_contra, /
    ) -> Any: ...


class Typed(Generic[P, R_co]):
    """A stub of a method that takes `P` and returns `R_co`."""

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Return the arguments as they would be sent, or raise ArgumentError; calls nothing."""
        raise NotImplementedError

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Future[R_co]: ...
    @overload
    def __call__(
        self: Leads6[A, B, C, D, E, F, Rest],
        a: A | Future[A],
        b: B | Future[B],
        c: C | Future[C],
        d: D | Future[D],
        e: E | Future[E],
        f: F | Future[F],
        /,
        *args: Rest.args,
        **kwargs: Rest.kwargs,
    ) -> Future[R_co]: ...
    @overload
    def __call__(
        self: Leads5[A, B, C, D, E, Rest],
        a: A | Future[A],
        b: B | Future[B],
        c: C | Future[C],
        d: D | Future[D],
        e: E | Future[E],
        /,
        *args: Rest.args,
        **kwargs: Rest.kwargs,
    ) -> Future[R_co]: ...
    @overload
    def __call__(
        self: Leads4[A, B, C, D, Rest],
        a: A | Future[A],
        b: B | Future[B],
        c: C | Future[C],
        d: D | Future[D],
        /,
        *args: Rest.args,
        **kwargs: Rest.kwargs,
    ) -> Future[R_co]: ...
    @overload
    def __call__(
        self: Leads3[A, B, C, Rest],
        a: A | Future[A],
        b: B | Future[B],
        c: C | Future[C],
        /,
        *args: Rest.args,
        **kwargs: Rest.kwargs,
    ) -> Future[R_co]: ...
    @overload
    def __call__(
        self: Leads2[A, B, Rest],
        a: A | Future[A],
        b: B | Future[B],
        /,
        *args: Rest.args,
        **kwargs: Rest.kwargs,
    ) -> Future[R_co]: ...
    @overload
    def __call__(
        self: Leads1[A, Rest], a: A | Future[A], /, *args: Rest.args, **kwargs: Rest.kwargs
    ) -> Future[R_co]: ...
    @overload
    @deprecated(_MISFIT)
    def __call__(
        self: Takes6[A, B, C, D, E, F],
        *args: A
        | B
        | C
        | D
        | E
        | F
        | Future[A]
        | Future[B]
        | Future[C]
        | Future[D]
        | Future[E]
        | Future[F],
        **kwargs: A | B | C | D | E | F,
    ) -> Future[R_co]: ...
    @overload
    def __call__(
        self: Takes6[A, B, C, D, E, F],
        *args: A
        | B
        | C
        | D
        | E
        | F
        | Future[A]
        | Future[B]
        | Future[C]
        | Future[D]
        | Future[E]
        | Future[F],
        **kwargs: A
        | B
        | C
        | D
        | E
        | F
        | Future[A]
        | Future[B]
        | Future[C]
        | Future[D]
        | Future[E]
        | Future[F],
    ) -> Future[R_co]: ...
    @overload
    @deprecated(_MISFIT)
    def __call__(
        self: Takes5[A, B, C, D, E],
        *args: A | B | C | D | E | Future[A] | Future[B] | Future[C] | Future[D] | Future[E],
        **kwargs: A | B | C | D | E,
    ) -> Future[R_co]: ...
    @overload
    def __call__(
        self: Takes5[A, B, C, D, E],
        *args: A | B | C | D | E | Future[A] | Future[B] | Future[C] | Future[D] | Future[E],
        **kwargs: A | B | C | D | E | Future[A] | Future[B] | Future[C] | Future[D] | Future[E],
    ) -> Future[R_co]: ...
    @overload
    @deprecated(_MISFIT)
    def __call__(
        self: Takes4[A, B, C, D],
        *args: A | B | C | D | Future[A] | Future[B] | Future[C] | Future[D],
        **kwargs: A | B | C | D,
    ) -> Future[R_co]: ...
    @overload
    def __call__(
        self: Takes4[A, B, C, D],
        *args: A | B | C | D | Future[A] | Future[B] | Future[C] | Future[D],
        **kwargs: A | B | C | D | Future[A] | Future[B] | Future[C] | Future[D],
    ) -> Future[R_co]: ...
    @overload
    @deprecated(_MISFIT)
    def __call__(
        self: Takes3[A, B, C],
        *args: A | B | C | Future[A] | Future[B] | Future[C],
        **kwargs: A | B | C,
    ) -> Future[R_co]: ...
    @overload
    def __call__(
        self: Takes3[A, B, C],
        *args: A | B | C | Future[A] | Future[B] | Future[C],
        **kwargs: A | B | C | Future[A] | Future[B] | Future[C],
    ) -> Future[R_co]: ...
    @overload
    @deprecated(_MISFIT)
    def __call__(
        self: Takes2[A, B], *args: A | B | Future[A] | Future[B], **kwargs: A | B
    ) -> Future[R_co]: ...
    @overload
    def __call__(
        self: Takes2[A, B],
        *args: A | B | Future[A] | Future[B],
        **kwargs: A | B | Future[A] | Future[B],
    ) -> Future[R_co]: ...
    @overload
    @deprecated(_MISFIT)
    def __call__(self: Takes1[A], *args: A | Future[A], **kwargs: A) -> Future[R_co]: ...
    @overload
    def __call__(
        self: Takes1[A], *args: A | Future[A], **kwargs: A | Future[A]
    ) -> Future[R_co]: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError
