"""What methods run on: made once a process, copied for each call of a session."""

import copy
from functools import cache
from typing import Final

from nalar.agents.spec import AgentSpec
from nalar.ids import AgentName
from nalar.statestore.managed import ManagedFields

#: How a class says that its objects are copied otherwise than by their `__dict__`.
_COPIED_OTHERWISE: Final = {"__copy__", "__reduce__", "__reduce_ex__", "__getstate__"}
#: Of classes that are written in Python.
_HEAP_TYPE: Final = 1 << 9


class Instances:
    """The agents' instances in one worker."""

    def __init__(self) -> None:
        self._made: dict[AgentName, object | None] = {}

    def of(self, agent: AgentSpec, fields: ManagedFields | None) -> object | None:
        """Return what a call runs on; None for tools and workflows.

        What a constructor loads is shared. What a call of a session sets on `self` beside its
        managed fields is gone after it, rather than seen by another session.
        """
        if agent.name not in self._made:
            self._made[agent.name] = agent.make()
        instance = self._made[agent.name]
        if fields is not None:
            instance = copied(instance)
            fields.bind(instance)
        return instance


def copied(instance: object) -> object:
    """Return what `copy.copy` does, for most objects in a third of the time."""
    kind = type(instance)
    if not _is_plain(kind):
        return copy.copy(instance)
    other = object.__new__(kind)
    vars(other).update(vars(instance))
    return other


@cache
def _is_plain(kind: type) -> bool:
    """Whether all there is of an object of this class stands in its `__dict__`."""
    return all(
        base.__flags__ & _HEAP_TYPE
        and not vars(base).get("__slots__")
        and not vars(base).keys() & _COPIED_OTHERWISE
        for base in kind.__mro__[:-1]
    )
