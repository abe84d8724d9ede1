"""Managed fields: what an agent sees of its session, and what a call changed in it.

Pure. The collections know their own changes; this puts them on the agent and makes one delta.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias, cast, get_args, get_origin, get_type_hints, overload

import orjson

from nalar.errors import ArgumentError, NalarError, UsageError
from nalar.futures import Future
from nalar.statestore.managed_base import Binding, Managed
from nalar.statestore.managed_codec import key_codec, value_codec
from nalar.statestore.managed_dict import ManagedDict
from nalar.statestore.managed_list import ManagedList
from nalar.statestore.managed_value import ManagedValue
from nalar.statestore.session import JSON, Op, short

__all__ = [
    "Managed", "ManagedDict", "ManagedField", "ManagedFields", "ManagedList", "ManagedValue",
    "install", "managed_kind",
]  # fmt: skip

ManagedKind: TypeAlias = type[Managed]


def managed_kind(annotation: object) -> ManagedKind | None:
    """Return ManagedList, ManagedDict or ManagedValue if `annotation` is one, bare or not."""
    kind = get_origin(annotation) or annotation
    return cast("ManagedKind", kind) if kind in (ManagedList, ManagedDict, ManagedValue) else None


def _bound(name: str, annotation: object, state: dict[str, JSON]) -> Managed:
    kind = managed_kind(annotation)
    if kind is None:
        raise UsageError(f"{name}: {annotation!r} is no managed collection")
    if _mentions_future(annotation):
        raise UsageError(f"{name}: a future is no state; annotate the type of its value")
    is_dict = kind is ManagedDict
    arguments = get_args(annotation) or ((str, Any) if is_dict else (Any,))
    try:
        keys = key_codec(arguments[0]) if is_dict else None
        return kind.bound(Binding(name, value_codec(arguments[-1]), state, keys))
    except (
        NameError,
        RuntimeError,
        TypeError,
        UsageError,
        ValueError,
    ) as error:  # As pydantic does.
        raise UsageError(f"{name}: {annotation!r} cannot be kept as JSON: {error}") from error


def _mentions_future(annotation: object) -> bool:
    kind = get_origin(annotation) or annotation
    if isinstance(kind, type) and issubclass(kind, Future):
        return True
    return any(map(_mentions_future, get_args(annotation)))


class ManagedField:
    """Stands on the agent's class in the place of a managed annotation.

    On an instance that was bound to a session it is that session's collection; on any other,
    a fresh one of its own. Assigning replaces the content.
    """

    def __init__(self, kind: ManagedKind) -> None:
        self._kind = kind
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> "ManagedField": ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> Managed: ...
    def __get__(
        self, instance: object | None, owner: type | None = None
    ) -> "ManagedField | Managed":
        if instance is None:
            return self
        own = vars(instance)
        if self._name not in own:
            own[self._name] = self._kind()
        return cast("Managed", own[self._name])

    def __set__(self, instance: object, value: object) -> None:
        try:
            self.__get__(instance).replace(value)
        except NalarError:
            raise
        except (TypeError, ValueError) as error:
            raise ArgumentError(
                f"{self._name}: {short(value)} cannot be the content of a {self._kind.__name__}"
            ) from error

    def __delete__(self, instance: object) -> None:
        self.__get__(instance).clear()


def install(cls: type) -> dict[str, object]:
    """Put a ManagedField on `cls` for each managed annotation; return those by name.

    Annotations of base classes count. Raises UsageError when a field has a default: a
    session's state starts empty, and a default would come back at every load.
    """
    try:
        hints = get_type_hints(cls, include_extras=True)
    except (NameError, TypeError) as error:
        raise UsageError(
            f"{cls.__qualname__}: an annotation cannot be resolved: {error}"
        ) from error
    found: dict[str, object] = {}
    for name, annotation in hints.items():
        kind = managed_kind(annotation)
        if kind is None:
            continue
        found[name] = annotation
        there = getattr(cls, name, None)
        if isinstance(there, ManagedField):
            continue
        if there is not None:
            raise UsageError(
                f"{cls.__qualname__}.{name} has a default, and a session's state starts empty: "
                "set it in the method that begins the session"
            )
        descriptor = ManagedField(kind)
        descriptor.__set_name__(cls, name)
        setattr(cls, name, descriptor)
    return found


class ManagedFields:
    """The managed fields of one session in one worker, over the state of its fold.

    A call: `bind` once, run it, `delta()`. When the commit is stored, advance the fold by that
    delta, then `committed()`. When the call failed or the commit was lost, `discard()`. When
    the fold took in entries of others, `reload()`. Before the next call, `pass_on()`.
    """

    def __init__(self, annotations: Mapping[str, object], state: dict[str, JSON]) -> None:
        #: The collections by name of the field.
        self.collections = {
            name: _bound(name, annotation, state) for name, annotation in annotations.items()
        }

    def bind(self, instance: object) -> None:
        """Make these the fields of `instance`; what its constructor put there is dropped."""
        vars(instance).update(self.collections)

    def load(self) -> None:
        """Read all fields from the state now, so that they show one revision of it."""
        for field in self.collections.values():
            field.load()

    def changes(self) -> dict[str, list[Op]]:
        """Return the operations by field, of those fields that changed."""
        found = {name: field.changes() for name, field in self.collections.items()}
        return {name: ops for name, ops in found.items() if ops}

    def delta(self) -> bytes | None:
        """Return what changed since the last commit as JSON; None when nothing did.

        Raises ArgumentError when an item was changed in place into what cannot be stored.
        """
        changes = self.changes()
        return orjson.dumps(changes) if changes else None

    def committed(self) -> None:
        """Take what `delta()` said as committed; what was changed after it is dropped."""
        for field in self.collections.values():
            field.committed()

    def discard(self) -> None:
        """Go back to the committed state."""
        for field in self.collections.values():
            field.discard()

    def pass_on(self) -> None:
        """Untie what the call had in its hands: code that outlives it must not reach the next."""
        self.collections = {name: field.heir() for name, field in self.collections.items()}

    def reload(self, state: dict[str, JSON] | None = None) -> None:
        """Forget all copies: others changed the state, or the fold was replaced by `state`'s."""
        for field in self.collections.values():
            field.reload(state)
