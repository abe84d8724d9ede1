"""`nalar.serve_class`: an existing class as an agent, unchanged."""

import inspect
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from nalar.agents.agent import spec_of_class
from nalar.agents.method import SPEC, Method
from nalar.agents.registry import REGISTRY, check_name
from nalar.agents.spec import AgentSpec, Hints, MethodOptions
from nalar.agents.stub import Configured, Stub, changed, no_such_method
from nalar.context import DEFAULT_OPTIONS
from nalar.errors import UsageError, suggest


class ServedClass:
    """The stubs of a class that knows nothing of Nalar: `Served.method(...)` is a future."""

    def __init__(self, spec: AgentSpec) -> None:
        self.__nalar_spec__ = spec

    def __getattr__(self, name: str) -> Stub[..., Any]:
        spec: AgentSpec = self.__dict__[SPEC]
        if name in spec.methods:
            stub: Stub[..., Any] = Stub(spec.methods[name])
            return stub
        raise AttributeError(no_such_method(spec.name, name, spec.methods))

    def options(self, **options: Any) -> Configured:
        """Return the same stubs with what one call carries beside its arguments."""
        spec = self.__nalar_spec__
        return Configured(spec.name, spec.methods, changed(DEFAULT_OPTIONS, options))

    def __repr__(self) -> str:
        return f"<served class {self.__nalar_spec__.qualname} as {self.__nalar_spec__.name}>"


def serve_class(
    cls: type,
    methods: Sequence[str] | None = None,
    *,
    name: str | None = None,
    factory: Callable[[], object] | None = None,
    read_only: Sequence[str] = (),
    **hints: Any,
) -> ServedClass:
    """Serve `cls` as it is and return its stubs; the class itself stays plain code.

    `methods` are those to serve, by name; all public ones unless given. `factory` makes the
    instance when `cls()` would not do. `read_only` names methods that change no session state.
    The hints are those of an agent: `stateful=True`, `max_instances=2`, ...
    """
    if not inspect.isclass(cls):
        raise UsageError(f"nalar.serve_class takes a class, not {cls!r}")
    agent = cls.__name__ if name is None else name
    check_name(agent, declared_as=f"serve_class({cls.__qualname__})")
    public = _public(cls)
    chosen = list(public) if methods is None else list(methods)
    for wanted in (*chosen, *read_only):
        if wanted not in public:
            raise UsageError(
                f"{cls.__qualname__} has no public method {wanted!r}."
                f"{suggest(wanted, list(public))}"
            )
    if not chosen:
        raise UsageError(f"{cls.__qualname__} has no public method to serve")
    spec = spec_of_class(
        cls,
        agent=agent,
        hints=Hints.named(f"serve_class({cls.__qualname__})", hints),
        methods={
            wanted: Method(public[wanted], MethodOptions(read_only=wanted in read_only))
            for wanted in chosen
        },
        factory=factory,
    )
    REGISTRY.register(spec)
    return ServedClass(spec)


def _public(cls: type) -> dict[str, FunctionType]:
    """Return the public functions of `cls` and its bases, in the order they were written."""
    found: dict[str, FunctionType] = {}
    for base in reversed(cls.__mro__):
        for name, member in vars(base).items():
            if isinstance(member, FunctionType) and not name.startswith("_"):
                found[name] = member
            else:
                found.pop(name, None)
    return found
