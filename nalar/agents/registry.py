"""Every agent, tool and workflow that this process has declared, by name."""

import re
import sys
from typing import Final

from nalar.agents.spec import AgentSpec, MethodSpec
from nalar.errors import UnknownTarget, UsageError, suggest

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_name(name: str, *, declared_as: str) -> None:
    """Raise UsageError unless `name` may stand in a subject as it is."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{declared_as}: the name {name!r} cannot be served: names have 1 to 64 letters, "
            "digits, - or _; give another one with name=..."
        )


class Registry:
    """Specs by name. Declaring again in the same place renews; in another, the name is torn.

    Two modules may declare one name as long as nobody needs to know which is meant: a test
    suite imports many. Looking a torn name up is the error.
    """

    def __init__(self) -> None:
        self._specs: dict[str, list[AgentSpec]] = {}

    def register(self, spec: AgentSpec) -> None:
        """Add `spec`; a generated stub only where the real one is not known."""
        others = self._specs.get(spec.name, [])
        if others and is_elsewhere(spec):
            return
        kept = [old for old in others if not is_elsewhere(old) and not _same_place(old, spec)]
        self._specs[spec.name] = [*kept, spec]

    def get(self, name: str) -> AgentSpec:
        """Return the spec named `name`; raises UnknownTarget, and UsageError when there are two."""
        specs = self._specs.get(name)
        if not specs:
            known = sorted(self._specs)
            listed = f" Declared here: {', '.join(known)}." if known else " Nothing is declared."
            raise UnknownTarget(
                f"no agent, tool or workflow is named {name!r}.{suggest(name, known)}{listed}"
            )
        if len(specs) > 1:
            raise torn(specs[0], specs[1])
        return specs[0]

    def owner(self, method: MethodSpec) -> AgentSpec:
        """Return the spec that `method` belongs to, even where its name has been declared twice."""
        for spec in self._specs.get(method.agent, []):
            if spec.methods.get(method.name) is method:
                return spec
        return self.get(method.agent)

    def stands(self, spec: AgentSpec) -> bool:
        """Say whether `spec` is declared, and has not been renewed since."""
        return any(spec is known for known in self._specs.get(spec.name, []))

    def method(self, target: str) -> MethodSpec:
        """Return the method that `Agent.method`, or a tool's name, stands for."""
        agent, _, name = target.partition(".")
        return method_of(self.get(agent), name)

    def all(self) -> list[AgentSpec]:
        """Return every spec, by name."""
        return [spec for name in sorted(self._specs) for spec in self._specs[name]]

    def __contains__(self, name: object) -> bool:
        return name in self._specs

    def clear(self) -> None:
        """Forget everything: for tests."""
        self._specs.clear()


def method_of(spec: AgentSpec, name: str) -> MethodSpec:
    """Return a method of `spec`; a tool or workflow needs no name. Raises UnknownTarget."""
    if not name and spec.kind != "agent":
        return next(iter(spec.methods.values()))
    found = spec.methods.get(name)
    if found is not None:
        return found
    methods = ", ".join(spec.methods)
    if not name:
        raise UnknownTarget(f"{spec.name} is an agent: name a method too, one of {methods}")
    raise UnknownTarget(
        f"{spec.name} has no method {name!r}.{suggest(name, list(spec.methods))} It has {methods}"
    )


def torn(one: AgentSpec, other: AgentSpec) -> UsageError:
    """Return the error for two declarations of one name; it names both places."""
    return UsageError(
        f"two declarations are named {one.name!r}: {one.place} and {other.place}. Rename one, or "
        "give it another name with name=..."
    )


def is_elsewhere(spec: AgentSpec) -> bool:
    """Say whether `spec` is a generated stub: its code is not here, so it is not served here."""
    return hasattr(sys.modules.get(spec.module), "__nalar_stubs__")


def _same_place(old: AgentSpec, new: AgentSpec) -> bool:
    """Say whether `new` is `old` declared again: a reload, a notebook's cell, `__main__`.

    What is declared inside a function cannot be served from its module; the last one stands.
    """
    if "<locals>" in old.qualname or "<locals>" in new.qualname:
        return True
    return (old.qualname, old.file or old.module) == (new.qualname, new.file or new.module)


#: The one that decorators and `Agent` fill.
REGISTRY: Final = Registry()
