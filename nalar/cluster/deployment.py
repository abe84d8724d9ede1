"""Which agents of a module share their workers, and how many they are to have. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from nalar.cluster.nodes import Group


@dataclass(frozen=True, slots=True)
class Deployment:
    """A group of agents, and the module that their workers load."""

    module: str
    group: Group
    #: Calls at a time in each worker; None leaves it to the settings.
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class Declared:
    """What a module declares of one agent, tool or workflow."""

    name: str
    #: It is a function: one that keeps nothing, and shares its workers with its neighbours.
    function: bool
    min: int = 0
    max: int | None = None
    resources: Mapping[str, float] = field(default_factory=dict[str, float])

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> "Declared":
        """Return it as `describe_agent` describes it."""
        hints = description["hints"]
        return cls(
            description["name"],
            description["kind"] != "agent",
            hints["min_instances"],
            hints["max_instances"],
            hints["resources"],
        )


def grouped(module: str, declared: Sequence[Declared]) -> list[Deployment]:
    """Return the groups that a module is served in unless somebody says otherwise.

    Each agent has workers of its own; tools and workflows, which are small, share theirs.
    """
    groups = [
        Group(it.name, (it.name,), max(1, it.min), it.min, it.max, dict(it.resources))
        for it in declared
        if not it.function
    ]
    if functions := tuple(it.name for it in declared if it.function):
        groups.append(Group(name_of_module(module), functions))
    return [Deployment(module, group) for group in groups]


def name_of_module(module: str) -> str:
    """Return what the workers of a module's functions are called."""
    return PurePath(module).stem if module.endswith(".py") else module.rpartition(".")[2]
