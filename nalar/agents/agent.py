"""`nalar.Agent`: a class whose public methods are called from anywhere."""

import inspect
from collections.abc import Mapping
from types import FunctionType
from typing import Any, ClassVar, Self, cast

from nalar.agents.method import SPEC, Method
from nalar.agents.registry import REGISTRY, check_name
from nalar.agents.spec import AgentSpec, Hints, MethodOptions, MethodSpec, place_of
from nalar.agents.stub import Configured, changed
from nalar.call_policy import Retry
from nalar.context import DEFAULT_OPTIONS
from nalar.errors import UsageError
from nalar.ids import AgentName, MethodName
from nalar.statestore.managed import install, managed_kind

#: What `Agent` itself offers: no method may take its place.
_RESERVED = frozenset({"options"})


class Agent:
    """Inherit from it, and every public method is served.

    On the class a method is the stub: `Analyst.study(...)` publishes a call and returns a
    `Future`. On an instance it is plain code: `Analyst().study(...)` runs here. Methods whose
    name begins with an underscore, class methods, static methods and properties are not served.

    A type-checker knows the stub's exact type where the method carries `@nalar.method`; an
    undecorated public method is served all the same, and looks like a plain function to it.

    Class keywords: `name`, and the hints `stateful`, `batchable`, `preemptable`,
    `min_instances`, `max_instances`, `resources`.
    """

    __nalar_spec__: ClassVar[AgentSpec]

    def __init_subclass__(cls, *, name: str | None = None, **hints: Any) -> None:
        super().__init_subclass__()
        label = cls.__qualname__
        agent = cls.__name__ if name is None else name
        check_name(agent, declared_as=f"class {label}")
        inherited = getattr(cls, SPEC, None)
        if inherited is not None:
            hints = _given(inherited.hints) | hints
        spec = spec_of_class(
            cls, agent=agent, hints=Hints.named(f"class {label}", hints), methods=_served(cls)
        )
        setattr(cls, SPEC, spec)
        if spec.methods and not inspect.isabstract(cls):
            REGISTRY.register(spec)

    @classmethod
    def options(  # noqa: PLR0913 -- each is an option
        cls,
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
    ) -> type[Self]:
        """Return the same stubs with what one call carries beside its arguments.

        `Analyst.options(session="s1", priority=5).study(...)`. What is left out is inherited
        from the caller. `key` names one call among identical ones under one caller;
        `idempotency_key` makes two submissions of one request the same.
        `retry`, `timeout_s` (one execution) and `queue_timeout_s` (the wait for the first) take the
        place of what the method declares.
        """
        options = changed(
            DEFAULT_OPTIONS,
            {
                "session": session,
                "priority": priority,
                "deadline_s": deadline_s,
                "tenant": tenant,
                "idempotency_key": idempotency_key,
                "key": key,
                "retry": retry,
                "timeout_s": timeout_s,
                "queue_timeout_s": queue_timeout_s,
            },
        )
        spec: AgentSpec = getattr(cls, SPEC)
        return cast("type[Self]", Configured(spec.name, spec.methods, options))


def _given(hints: Hints) -> dict[str, Any]:
    """Return the hints of a base class that differ from the defaults."""
    default = Hints()
    named = {name: getattr(hints, name) for name in Hints.__dataclass_fields__}
    named.pop("batchable")  # It follows from the methods that are left.
    return {name: value for name, value in named.items() if value != getattr(default, name)}


def _served(cls: type) -> dict[str, Method[..., Any, Any]]:
    """Make descriptors of the public functions of `cls`, and return all it serves."""
    for name, member in list(vars(cls).items()):
        if name in _RESERVED:
            raise UsageError(
                f"{cls.__qualname__}.{name} hides nalar's own {cls.__name__}.{name}(...): rename it"
            )
        if isinstance(member, FunctionType) and not name.startswith("_"):
            wrapped: Method[..., Any, Any] = Method(member, MethodOptions())
            wrapped.__set_name__(cls, name)
            setattr(cls, name, wrapped)
    found: dict[str, Method[..., Any, Any]] = {}
    for base in reversed(cls.__mro__):
        for name, member in vars(base).items():
            if isinstance(member, Method) and not name.startswith("_"):
                found[name] = cast("Method[..., Any, Any]", member)
            elif base is not Agent:
                found.pop(name, None)  # A subclass put something else in its place.
    return {name: found[name] for name in found}


def spec_of_class(
    cls: type,
    *,
    agent: str,
    hints: Hints,
    methods: Mapping[str, Method[..., Any, Any]],
    factory: Any = None,
) -> AgentSpec:
    """Return the spec of a class that serves `methods`, with its session fields installed."""
    fields = _fields(cls)
    if fields and not hints.stateful:
        raise UsageError(
            f"{cls.__qualname__}.{next(iter(fields))} is session state, and {agent} is not "
            f"stateful: write class {cls.__name__}(nalar.Agent, stateful=True)"
        )
    if hints.batchable and not any(served.declared.batch for served in methods.values()):
        raise UsageError(
            f"{cls.__qualname__} is batchable, and none of its methods says how: write "
            "@nalar.method(batch=nalar.Batch(size=16, linger_s=0.01)) on those that take lists"
        )
    if factory is None:
        _check_constructor(cls)
    file, line = place_of_class(cls)
    return AgentSpec(
        name=AgentName(agent),
        kind="agent",
        methods={
            name: MethodSpec.of(
                served.fn,
                agent=AgentName(agent),
                name=MethodName(name),
                kind="agent",
                stateful=hints.stateful,
                options=served.declared,
            )
            for name, served in methods.items()
        },
        hints=hints,
        fields=fields,
        doc=inspect.getdoc(cls) or "" if cls.__doc__ else "",
        module=cls.__module__,
        factory=factory or cls,
        qualname=cls.__qualname__,
        file=file,
        line=line,
    )


def place_of_class(cls: type) -> tuple[str, int]:
    """Return a class's file and about its line: that of its first function, which is cheap."""
    for member in vars(cls).values():
        fn: object = getattr(member, "fn", member)
        if isinstance(fn, FunctionType) and fn.__module__ == cls.__module__:
            return place_of(fn)
    return "", 0


def _fields(cls: type) -> dict[str, object]:
    """Install the managed fields of `cls`; classes without any pay nothing."""
    for base in cls.__mro__:
        for annotation in vars(base).get("__annotations__", {}).values():
            text = isinstance(annotation, str) and "Managed" in annotation
            if text or managed_kind(annotation) is not None:
                return install(cls)
    return {}


def _check_constructor(cls: type) -> None:
    """Raise UsageError when instances cannot be made without arguments, as workers do."""
    try:
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    except (TypeError, ValueError):
        return
    for parameter in parameters:
        variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if parameter.default is parameter.empty and not variadic:
            raise UsageError(
                f"{cls.__qualname__}.__init__ needs {parameter.name!r}, and a worker makes agents "
                "with no arguments: give it a default"
            )
