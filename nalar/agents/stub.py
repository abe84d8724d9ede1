"""Calls that go to the runtime instead of running here."""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

from nalar.agents.spec import MethodSpec
from nalar.agents.typed import P, R_co, Typed
from nalar.call_policy import LONGEST_S, SHORTEST_S, CallPolicy, Retry, check_number
from nalar.context import DEFAULT_OPTIONS, CallOptions, current_runtime
from nalar.errors import UsageError, suggest
from nalar.ids import encode_token
from nalar.values.signature import Bound

#: Beyond any use, and within what a message may say.
_PRIORITY_MAX = 1_000_000_000
_TEXTS = ("session", "tenant", "idempotency_key", "key")
_POLICIES = ("retry", "timeout_s", "queue_timeout_s")
#: The options there are, in the order in which messages list them.
_KNOWN = dict.fromkeys(field.name for field in dataclasses.fields(CallOptions))


class Stub(Typed[P, R_co]):
    """One method as its callers see it: calling it publishes, and returns a future at once."""

    def __init__(self, spec: MethodSpec, options: CallOptions = DEFAULT_OPTIONS) -> None:
        #: What is known of the method.
        self.spec = spec
        #: What each call carries beside its arguments.
        self.call_options = options
        self.__doc__ = spec.doc

    if not TYPE_CHECKING:  # Its type is the overloads' of Typed.

        def __call__(self, *args, **kwargs):  # noqa: ANN002, ANN003, ANN204
            return current_runtime().call(self.spec, args, kwargs, self.call_options)

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Bound:
        return self.spec.signature.bind(args, kwargs)

    def options(  # noqa: PLR0913 -- each is an option
        self,
        *,
        session: str | None = None,
        priority: int | None = None,
        deadline_s: float | None = None,
        tenant: str | None = None,
        idempotency_key: str | None = None,
        key: str | None = None,
        retry: Retry | None = None,
        timeout_s: float | None = None,
        queue_timeout_s: float | None = None,
    ) -> Self:
        """Return the same stub with what one call carries beside its arguments.

        What is left out is inherited from the caller. `key` names one call among identical ones
        under one caller; `idempotency_key` makes two submissions of one request the same.
        `retry`, `timeout_s` (one execution) and `queue_timeout_s` (the wait for the first) take the
        place of what the method declares.
        """
        given = {
            "session": session,
            "priority": priority,
            "deadline_s": deadline_s,
            "tenant": tenant,
            "idempotency_key": idempotency_key,
            "key": key,
            "retry": retry,
            "timeout_s": timeout_s,
            "queue_timeout_s": queue_timeout_s,
        }
        configured = copy.copy(self)
        configured.call_options = changed(self.call_options, given)
        return configured

    @property
    def fn(self) -> Callable[..., Any]:
        """The plain function; of a method, it takes the instance first."""
        return self.spec.fn

    @property
    def __name__(self) -> str:
        return self.spec.name

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        return self.spec.fn

    def __repr__(self) -> str:
        return f"<stub {self.spec.signature}>"


class Configured:
    """An agent's stubs with options of one call: what `Analyst.options(...)` returns."""

    __slots__ = ("_methods", "_name", "_options")

    def __init__(self, name: str, methods: Mapping[str, MethodSpec], options: CallOptions) -> None:
        self._name = name
        self._methods = methods
        self._options = options

    def options(self, **options: Any) -> "Configured":
        """Return the same stubs with further options; a later value wins."""
        return Configured(self._name, self._methods, changed(self._options, options))

    def __getattr__(self, name: str) -> Stub[..., Any]:
        if name in self._methods:
            return Stub(self._methods[name], self._options)
        raise AttributeError(no_such_method(self._name, name, self._methods))

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise UsageError(
            f"{self._name}.options(...) is for calls: {self._name}.options(...).method(...). An "
            f"instance, for plain code, is {self._name}()"
        )

    def __repr__(self) -> str:
        return f"<{self._name} with {self._options}>"


def no_such_method(agent: str, name: str, methods: Mapping[str, Any]) -> str:
    """Return the message for a method that `agent` does not have."""
    return f"{agent} serves no method {name!r}.{suggest(name, list(methods))}"


def changed(options: CallOptions, given: Mapping[str, Any]) -> CallOptions:
    """Return `options` with those in `given` that are not None; raises UsageError at once."""
    changes = {name: value for name, value in given.items() if value is not None}
    if not given.keys() <= _KNOWN.keys():
        name = next(name for name in given if name not in _KNOWN)
        raise UsageError(
            f"{name!r} is no option of a call.{suggest(name, list(_KNOWN))} There are "
            f"{', '.join(_KNOWN)}"
        )
    for name, value in changes.items():
        _check(name, value)
    if options is DEFAULT_OPTIONS:  # Most callers say all of it at once, for each call.
        return CallOptions(**changes)
    return dataclasses.replace(options, **changes)


def _check(name: str, value: object) -> None:
    if name in _TEXTS:
        if not isinstance(value, str):
            raise UsageError(f"{name} is text, not {value!r}")
        encode_token(value)
    elif name == "deadline_s":
        check_number("deadline_s", value, low=SHORTEST_S, high=LONGEST_S)
    elif name in _POLICIES:
        CallPolicy(**{name: value})  # type: ignore[arg-type]  -- it says what does not fit
    elif not isinstance(value, int) or isinstance(value, bool) or abs(value) > _PRIORITY_MAX:
        raise UsageError(
            f"priority is a whole number within {_PRIORITY_MAX:,} of 0, higher runs sooner; not "
            f"{value!r}"
        )
