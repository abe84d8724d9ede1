"""What the managed collections have in common: the tie to a session, and the life of a change.

Pure. A collection that was never tied is an ordinary container, and none of this concerns it.
"""

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import NoReturn, Self

from nalar.errors import ArgumentError, UsageError
from nalar.statestore.managed_codec import Codec, KeyCodec
from nalar.statestore.session import JSON, Op, short


@dataclass(frozen=True, slots=True)
class Binding:
    """What makes a collection the field of a session: its name, its JSON and how to read it."""

    field: str
    codec: Codec
    #: The fold's state, shared: where the field's committed JSON stands.
    state: dict[str, JSON]
    #: For a ManagedDict.
    keys: KeyCodec | None = None

    def base_list(self) -> list[JSON]:
        """Return the committed JSON as a list; a field that is absent is an empty one."""
        base = self.state.get(self.field, [])
        return base if isinstance(base, list) else self._refuse(base, "a list")

    def base_dict(self) -> dict[str, JSON]:
        """Return the committed JSON as an object; a field that is absent is an empty one."""
        base = self.state.get(self.field, {})
        return base if isinstance(base, dict) else self._refuse(base, "an object")

    def _refuse(self, base: JSON, needed: str) -> NoReturn:
        raise UsageError(
            f"{self.field}: the session's stored state is not {needed} but {short(base)}; was "
            "the field of another kind before? Give the new one another name."
        )


class Managed(ABC):
    """A ManagedList, ManagedDict or ManagedValue, as the runtime sees it."""

    __slots__ = ("_binding", "_sealed", "_version")

    def __init__(self) -> None:
        self._binding: Binding | None = None
        # Counts changes; the value at the last `changes()` shows whether any came after it.
        self._version: int = 0
        self._sealed: int = 0

    @classmethod
    def bound(cls, binding: Binding) -> Self:
        """Return the collection of a session's field; it reads the state at the first touch."""
        self = cls()
        self._binding = binding
        self._forget()
        return self

    def changes(self) -> list[Op]:
        """Return what turns the committed JSON into this content; empty when nothing does.

        May be asked again. Raises ArgumentError when something was changed in place into what
        cannot be stored.
        """
        self._sealed = self._version
        return [] if self._binding is None else self._changes(self._binding)

    def committed(self) -> None:
        """Take the state that `changes()` led to as the base; the fold has it by now.

        What was handed out is read again from the state before it is handed out next: a
        reference that user code kept does not count beyond its call.
        """
        if self._sealed == self._version:
            self._rebase()
        else:  # Changed after the call had ended, so it is part of no commit.
            self.reload()

    def discard(self) -> None:
        """Go back to the committed state; costs a new load only if something changed."""
        try:
            changed = bool(self.changes())
        except ArgumentError:
            changed = True
        if changed:
            self.reload()
        else:
            self._rebase()

    def reload(self, state: dict[str, JSON] | None = None) -> None:
        """Forget the copy, whatever it holds; the next touch reads the state (or `state`)."""
        if self._binding is not None:
            if state is not None:
                self._binding = dataclasses.replace(self._binding, state=state)
            self._forget()
            self._sealed = self._version

    def heir(self) -> Self:
        """Return a collection with the content and the ties of this one, which loses both."""
        kind = type(self)
        heir = kind.__new__(kind)
        for name in _slots(kind):
            setattr(heir, name, getattr(self, name))
        kind.__init__(self)
        return heir

    @abstractmethod
    def load(self) -> None:
        """Read the state now, unless that was done."""

    @abstractmethod
    def replace(self, content: object) -> None:
        """Make `content` the whole content: what assigning to the field does."""

    @abstractmethod
    def clear(self) -> None:
        """Have no content."""

    @abstractmethod
    def _changes(self, binding: Binding) -> list[Op]: ...

    @abstractmethod
    def _rebase(self) -> None: ...

    @abstractmethod
    def _forget(self) -> None: ...

    @property
    def _watched(self) -> bool:
        """Whether items can change in place after they were handed out."""
        return self._binding is not None and self._binding.codec.mutable


@cache
def _slots(kind: type) -> tuple[str, ...]:
    names = (name for base in kind.__mro__ for name in vars(base).get("__slots__", ()))
    return tuple(name for name in names if name != "__weakref__")


def refuse_text(content: object) -> None:
    """Refuse to take a text apart into its characters: nobody means that by an assignment."""
    if isinstance(content, str | bytes | bytearray):
        raise TypeError("a text is not a collection of items")
