"""What is known of an agent and its methods: plain facts, made once when they are declared."""

import hashlib
import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

from nalar.agents.batched import batch_signature
from nalar.call_policy import ONCE, Batch, CallPolicy, Retry, check_number
from nalar.errors import UsageError, suggest
from nalar.ids import AgentName, Effect, MethodName
from nalar.values.signature import Signature

Kind = Literal["agent", "tool", "workflow"]
#: What happens to a recorded call that a resumed workflow does not make again.
OnOrphan = Literal["hold", "ignore"]
#: The method's name of a tool or workflow.
RUN = MethodName("run")


@dataclass(frozen=True, slots=True)
class MethodOptions:
    """What `@nalar.method`, `@nalar.tool` and `@nalar.workflow` declare."""

    retry: Retry = ONCE
    #: Seconds one execution may take; None is for ever (the request's deadline still holds). A
    #: `def` that does not look ends with its process (setting stop_grace_s); an `async def` that
    #: never waits cannot be timed, and ends with its process too (setting block_max_s).
    timeout_s: float | None = None
    #: The method changes no session state: it runs beside others and sees committed state.
    read_only: bool = False
    on_orphan: OnOrphan = "hold"
    #: Seconds a call may wait before it is started for the first time, its inputs included.
    queue_timeout_s: float | None = None
    #: Its body runs once for several calls: it takes lists, and returns one.
    batch: Batch | None = None

    def __post_init__(self) -> None:
        retry = cast("object", self.retry)
        if not isinstance(retry, Retry):
            raise UsageError(f"retry=nalar.Retry(max_attempts=...) is expected, not {retry!r}")
        batch = cast("object", self.batch)
        if batch is not None and not isinstance(batch, Batch):
            raise UsageError(f"batch=nalar.Batch(size=...) is expected, not {batch!r}")
        CallPolicy(retry, self.timeout_s, self.queue_timeout_s)
        if self.on_orphan not in ("hold", "ignore"):
            raise UsageError(f"on_orphan is 'hold' or 'ignore', not {self.on_orphan!r}")


@dataclass(frozen=True)
class MethodSpec:
    """One method that can be called from anywhere."""

    agent: AgentName
    name: MethodName
    kind: Kind
    #: The plain function; for a method its first parameter is the instance.
    fn: Callable[..., Any] = field(repr=False)
    signature: Signature = field(repr=False)
    #: Whether the agent has session state; fences this call unless it is read-only.
    stateful: bool = False
    is_async: bool = False
    #: Its result is the list of what it yields.
    is_generator: bool = False
    options: MethodOptions = MethodOptions()
    doc: str = field(default="", repr=False)
    #: `Agent.method`, as it goes over the wire and into ids.
    target: str = field(init=False)
    #: As people write it: a tool or workflow has no method.
    label: str = field(init=False)

    def __post_init__(self) -> None:
        target = f"{self.agent}.{self.name}"
        object.__setattr__(self, "target", target)
        object.__setattr__(self, "label", target if self.kind == "agent" else str(self.agent))

    @property
    def read_only(self) -> bool:
        return self.options.read_only

    @property
    def retry(self) -> Retry:
        return self.options.retry

    @property
    def timeout_s(self) -> float | None:
        return self.options.timeout_s

    @property
    def on_orphan(self) -> OnOrphan:
        return self.options.on_orphan

    @property
    def effect(self) -> Effect:
        """Whether the call may change its session's state ("s") or only reads ("r")."""
        return "s" if self.stateful and not self.read_only else "r"

    @cached_property
    def code(self) -> str:
        """Short digest of the method's own source: two versions of the code differ in it."""
        try:
            source = textwrap.dedent(inspect.getsource(self.fn))
        except (OSError, TypeError):
            compiled = getattr(self.fn, "__code__", None)
            source = repr((compiled.co_code, compiled.co_names)) if compiled else self.target
        return hashlib.blake2b(source.encode("utf-8", "replace"), digest_size=6).hexdigest()

    @classmethod
    def of(
        cls,
        fn: Callable[..., Any],
        *,
        agent: AgentName,
        name: MethodName,
        kind: Kind,
        stateful: bool,
        options: MethodOptions,
    ) -> "MethodSpec":
        """Return the spec of `fn` as a method of `agent`, or as a tool or workflow."""
        is_agent = kind == "agent"
        label = f"{agent}.{name}" if is_agent else str(agent)
        if options.batch is None:
            signature = Signature.of(fn, label, method=is_agent)
        else:
            signature = batch_signature(fn, label, kind=kind)
        return cls(
            agent=agent,
            name=name,
            kind=kind,
            fn=fn,
            signature=signature,
            stateful=stateful,
            is_async=inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn),
            is_generator=inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn),
            options=options,
            doc=inspect.getdoc(fn) or "",
        )


@dataclass(frozen=True)
class Hints:
    """What the declaration says about serving an agent (the paper's hints)."""

    stateful: bool = False
    #: Calls may be handed over several at a time; follows from the methods that have `batch`.
    batchable: bool = False
    #: A call that runs may be stopped, so that it begins again elsewhere: its session is moved, or
    #: its worker drains. The name of a method (a private one, else it is served): it is called,
    #: without arguments, to make the code end, and must return at once.
    preemptable: bool | str = False
    min_instances: int = 0
    #: None is as many as the cluster allows.
    max_instances: int | None = None
    #: What one instance needs, for instance {"GPU": 1}.
    resources: Mapping[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        for name in ("stateful", "batchable"):
            value: object = getattr(self, name)
            if not isinstance(value, bool):
                raise UsageError(f"{name} is True or False, not {value!r}")
        preemptable = cast("object", self.preemptable)
        if not isinstance(preemptable, bool | str) or preemptable == "":
            raise UsageError(f"preemptable is True or the name of a method, not {preemptable!r}")
        low = cast("object", self.min_instances)
        if not isinstance(low, int) or low < 0:
            raise UsageError(f"min_instances is a count from 0 up, not {low!r}")
        high = cast("object", self.max_instances)
        if high is not None and (not isinstance(high, int) or high < max(1, low)):
            raise UsageError(f"max_instances is a count from {max(1, low)} up, not {high!r}")
        if not isinstance(cast("object", self.resources), Mapping):
            raise UsageError(f"resources is a dict of names to amounts, not {self.resources!r}")
        for name, amount in self.resources.items():
            check_number(f"resources[{name!r}]", amount, low=0)

    @classmethod
    def named(cls, owner: str, given: Mapping[str, Any]) -> "Hints":
        """Return the hints that `given` names; raises UsageError for one that is unknown."""
        known = list(cls.__dataclass_fields__)
        for name in given:
            if name not in known:
                raise UsageError(
                    f"{owner}: {name!r} is no hint.{suggest(name, known)} There are "
                    f"{', '.join(known)} and name"
                )
        return cls(**given)


@dataclass(frozen=True)
class AgentSpec:
    """One kind of agent, tool or workflow: what a worker serves."""

    name: AgentName
    kind: Kind
    methods: Mapping[str, MethodSpec]
    hints: Hints = Hints()
    #: Session state: attribute name -> its annotation, such as ManagedList[str].
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    doc: str = field(default="", repr=False)
    module: str = ""
    #: Makes the instance that methods run on; None for a tool or workflow.
    factory: Callable[[], object] | None = field(default=None, repr=False)
    #: Where it was declared: qualified name, file and line.
    qualname: str = ""
    file: str = ""
    line: int = 0

    def __post_init__(self) -> None:
        if any(method.options.batch for method in self.methods.values()):
            object.__setattr__(self, "hints", replace(self.hints, batchable=True))

    def __getattr__(self, name: str) -> Any:
        if name in Hints.__dataclass_fields__:  # spec.stateful reads as spec.hints.stateful
            return getattr(self.hints, name)
        raise AttributeError(name)

    @property
    def place(self) -> str:
        """Where it was declared, for people."""
        return f"{self.file}:{self.line} ({self.qualname})" if self.file else self.qualname

    def check(self) -> None:
        """Raise UsageError for what would fail at the first call: before it is served."""
        for method in self.methods.values():
            method.signature.check()
        name, owner = self.hints.preemptable, self.factory
        if isinstance(name, str) and not (
            callable(getattr(owner, name, None)) or (owner and not isinstance(owner, type))
        ):
            raise UsageError(f"{self.name} has no method {name!r}, which preemptable names")

    def make(self) -> object | None:
        """Return a fresh instance to run methods on; None for a tool or workflow."""
        return None if self.factory is None else self.factory()


def place_of(thing: Any) -> tuple[str, int]:
    """Return the file and line where a function or class is written; ("", 0) when unknown."""
    code = getattr(inspect.unwrap(thing), "__code__", None) if callable(thing) else None
    if code is not None:
        return _resolved(code.co_filename), code.co_firstlineno
    try:
        return _resolved(inspect.getfile(thing)), inspect.getsourcelines(thing)[1]
    except (OSError, TypeError):
        return "", 0


def _resolved(path: str) -> str:
    return path if path.startswith("<") else str(Path(path).resolve())
