"""ManagedValue: one value whose change can be told from the last commit. Pure."""

from typing import Any, Generic, NoReturn, Self, TypeVar, cast, overload

from nalar.statestore.managed_base import Binding, Managed
from nalar.statestore.session import Op

T = TypeVar("T")
D = TypeVar("D")


class ManagedValue(Managed, Generic[T]):
    """One value that belongs to a session, or none yet; None is a value like any other.

    Annotate a field of an agent with `ManagedValue[T]`. Everything said of ManagedList holds.
    """

    __slots__ = ("__weakref__", "_content", "_stale", "_touched")
    __hash__ = None  # pyright: ignore[reportAssignmentType] -- mutable

    def __init__(self, *value: T) -> None:
        super().__init__()
        if len(value) > 1:
            raise TypeError(f"a ManagedValue holds one value; {len(value)} were given")
        # A list of the value, or of nothing while there is none.
        self._content: list[T] | None = list(value)
        self._touched = self._stale = False

    # What the runtime does.

    def load(self) -> None:
        self._load()

    def replace(self, content: object) -> None:
        """Take over another ManagedValue's content, or set a value: what assigning does."""
        if content is self:
            return
        if not isinstance(content, ManagedValue):
            self.set(cast("T", content))
        elif (other := cast("ManagedValue[T]", content)).is_set:
            self.set(other.value)
        else:
            self.clear()

    def _changes(self, binding: Binding) -> list[Op]:
        content = self._content
        if content is None or not self._touched:
            return []
        there = binding.field in binding.state
        if not content:
            return [["unset"]] if there else []
        if there and not binding.codec.differing(
            binding.field, content, [binding.state[binding.field]]
        ):
            return []
        return [["set", *binding.codec.dump(binding.field, content)]]

    def _rebase(self) -> None:
        self._stale = self._stale or (self._touched and self._watched)
        self._touched = False

    def _forget(self) -> None:
        self._content = None
        self._touched = self._stale = False

    def _load(self) -> list[T]:
        if self._content is None or self._stale:
            binding = cast("Binding", self._binding)
            there = binding.field in binding.state
            committed = [binding.state[binding.field]] if there else []
            self._content = binding.codec.load(binding.field, committed)
            self._stale = False
        return self._content

    # What a value does.

    @property
    def is_set(self) -> bool:
        """Say whether there is a value, be it None."""
        return bool(self._load())

    @overload
    def get(self) -> T | None: ...
    @overload
    def get(self, default: D) -> T | D: ...
    def get(self, default: Any = None) -> Any:
        """Return the value, or `default` while there is none."""
        content = self._load()
        if not content:
            return default
        self._touched = self._touched or self._watched
        return content[0]

    @property
    def value(self) -> T:
        """The value; LookupError while there is none."""
        if not self._load():
            name = self._binding.field if self._binding else "this ManagedValue"
            raise LookupError(f"{name} is not set; `.get(default)` would do without")
        return cast("T", self.get())

    @value.setter
    def value(self, value: T) -> None:
        self.set(value)

    def set(self, value: T) -> None:
        """Make `value` the value."""
        binding = self._binding
        content = [value] if binding is None else binding.codec.accept(binding.field, [value])
        self._content, self._touched, self._stale = content, True, False
        self._version += 1

    def clear(self) -> None:
        """Have no value, as at the beginning."""
        self._content, self._touched, self._stale = [], True, False
        self._version += 1

    def __bool__(self) -> NoReturn:
        raise TypeError("a ManagedValue is neither true nor false: ask `.is_set` or its `.value`")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ManagedValue):
            return NotImplemented
        return self._load() == cast("ManagedValue[Any]", other)._load()

    def __reduce__(self) -> tuple[type[Self], tuple[T, ...]]:
        # A copy of any kind is ordinary data: nobody else may write to the session's field.
        return type(self), tuple(self._load())

    def __repr__(self) -> str:
        return f"ManagedValue({', '.join(map(repr, self._load()))})"
