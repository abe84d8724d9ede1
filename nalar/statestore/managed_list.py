"""ManagedList: a list whose changes can be told from the last commit. Pure."""

from collections.abc import Callable, Iterable, Iterator, MutableSequence
from operator import index as as_index
from typing import Any, Self, SupportsIndex, TypeVar, cast, overload

from nalar.statestore.managed_base import Binding, Managed, refuse_text
from nalar.statestore.managed_narrow import narrowed
from nalar.statestore.managed_pieces import Pieces
from nalar.statestore.session import JSON, Op

T = TypeVar("T")

#: Items that an iteration hands out at once.
HAND_OUT_BLOCK = 256


class ManagedList(Managed, MutableSequence[T]):
    """A list that belongs to a session: loaded, committed and moved with it.

    Annotate a field of an agent with `ManagedList[T]` and use it as a list. Made by hand it is
    an ordinary list, so agents are tested without a runtime. What is taken out of it (items,
    slices, copies) is ordinary data. A mutable item may be changed in place during the call
    that took it; a reference kept beyond that call no longer counts, as if the session had
    moved to another worker, which it may have.
    """

    __slots__ = ("__weakref__", "_items", "_pieces")
    __hash__ = None  # pyright: ignore[reportAssignmentType] -- mutable, as list is

    def __init__(self, items: Iterable[T] = ()) -> None:
        super().__init__()
        self._items: list[T] | None = list(items)
        # Set while the list is bound and loaded.
        self._pieces: Pieces | None = None

    # What the runtime does.

    def load(self) -> None:
        self._load()

    def replace(self, content: object) -> None:
        if content is not self:
            refuse_text(content)
            self[:] = cast("Iterable[T]", content)

    def _changes(self, binding: Binding) -> list[Op]:
        pieces, items = self._pieces, self._items
        if pieces is None or items is None:
            return []
        base = binding.base_list()
        if len(base) != pieces.base_size:
            raise RuntimeError(f"{binding.field}: the state changed under this copy; reload() it")
        touched = list(pieces.find(pieces.touched))
        differing = binding.codec.differing(
            binding.field, [items[at] for at, _ in touched], [base[it] for _, it in touched]
        )
        edits = pieces.edits(touched[place] for place in differing)
        if not edits:
            return []
        values = [value for edit in edits for value in items[edit.at : edit.at + edit.insert]]
        dumped = binding.codec.dump(binding.field, values)
        ops: list[Op] = []
        done = 0
        for edit in edits:
            end = done + edit.insert
            old = base[edit.start : edit.start + edit.remove]
            ops += _narrowed(binding, edit.at, old, dumped[done:end], values[done:end])
            done = end
        return ops

    def _rebase(self) -> None:
        if self._pieces is not None:
            self._pieces.rebase(hand_back=self._watched)

    def _forget(self) -> None:
        self._items = self._pieces = None

    def _load(self) -> list[T]:
        if self._items is None:
            binding = cast("Binding", self._binding)
            base = binding.base_list()
            self._items = binding.codec.load(binding.field, base)
            self._pieces = Pieces(len(base))
        return self._items

    def _whole(self) -> list[T]:
        """Return all items as they are now, to look at, not to hand out."""
        items, pieces = self._load(), self._pieces
        if pieces is not None and pieces.stale:
            self._freshen(list(pieces.find(pieces.stale)))
            pieces.stale.clear()
        return items

    def _freshen(self, places: list[tuple[int, int]]) -> None:
        """Make the items at these (current index, base index) again from JSON."""
        items, pieces, binding = self._load(), self._pieces, self._binding
        if pieces is None or binding is None or not places:
            return
        base = binding.base_list()
        fresh = binding.codec.load(binding.field, [base[origin] for _, origin in places])
        for (place, origin), value in zip(places, fresh, strict=True):
            items[place] = value
            pieces.stale.discard(origin)

    def _hand_out(self, place: int) -> T:
        """Return the item at `place`, which user code may change from now on."""
        items = self._load()
        if self._watched and self._pieces is not None:
            origin = self._pieces.origin(place)
            if origin is not None:
                if origin in self._pieces.stale:
                    self._freshen([(place, origin)])
                self._pieces.touched.add(origin)
        return items[place]

    def _hand_out_all(self, begin: int = 0, end: int | None = None) -> list[T]:
        """Return the list, whose items between the two may be changed from now on."""
        items, pieces = self._load(), self._pieces
        if self._watched and pieces is not None:
            for at, start, size in pieces.kept(begin, end):
                origins = range(start, start + size)
                stale = pieces.stale.intersection(origins)
                self._freshen([(at + origin - start, origin) for origin in stale])
                pieces.touched.update(origins)
        return items

    def _accept(self, values: Iterable[T]) -> list[T]:
        plain = list(values)
        binding = self._binding
        return plain if binding is None else binding.codec.accept(binding.field, plain)

    def _splice(self, at: int, remove: int, values: list[T]) -> None:
        items, pieces = self._load(), self._pieces
        if pieces is not None:
            if pieces.crowded:
                self._rewrite()
            pieces.splice(at, remove, len(values))
            self._version += 1
        items[at : at + remove] = values

    def _rewrite(self) -> list[T]:
        """Return the items, to be changed in any way: they are compared at the commit."""
        items = self._whole()
        if self._pieces is not None:
            self._pieces.rewrite()
            self._version += 1
        return items

    # What a list does.

    def __len__(self) -> int:
        return len(self._load())

    @overload
    def __getitem__(self, index: SupportsIndex) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> T | list[T]:
        if isinstance(index, slice):
            taken = range(*index.indices(len(self)))
            if not taken:
                return []
            begin, end = sorted((taken[0], taken[-1]))
            return self._hand_out_all(begin, end + 1)[index]
        return self._hand_out(self._place(index, "list index out of range"))

    @overload
    def __setitem__(self, index: SupportsIndex, value: T) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Iterable[T]) -> None: ...
    def __setitem__(self, index: SupportsIndex | slice, value: T | Iterable[T]) -> None:
        if isinstance(index, slice):
            self._set_slice(index, self._accept(cast("Iterable[T]", value)))
            return
        place = self._place(index, "list assignment index out of range")
        (accepted,) = self._accept([cast("T", value)])
        self._load()[place] = accepted
        if self._pieces is not None:
            self._version += 1
            origin = self._pieces.origin(place)
            if origin is not None:
                self._pieces.touched.add(origin)
                self._pieces.stale.discard(origin)

    def __delitem__(self, index: SupportsIndex | slice) -> None:
        if not isinstance(index, slice):
            self._splice(self._place(index, "list assignment index out of range"), 1, [])
            return
        start, stop, step = index.indices(len(self))
        if step == 1:
            self._splice(start, max(stop - start, 0), [])
            return
        items = self._rewrite()
        del items[index]
        self._resized()

    def _set_slice(self, index: slice, values: list[T]) -> None:
        start, stop, step = index.indices(len(self))
        if step == 1:
            self._splice(start, max(stop - start, 0), values)
            return
        items = self._rewrite()
        items[index] = values

    def _resized(self) -> None:
        """Note the new length after `_rewrite`."""
        if self._pieces is not None and self._items is not None:
            self._pieces.size = len(self._items)
            self._pieces.rewrite()

    def _place(self, index: SupportsIndex, error: str) -> int:
        try:
            place, size = as_index(index), len(self._load())
        except TypeError:
            kind = type(index).__name__
            raise TypeError(f"list indices must be integers or slices, not {kind}") from None
        if place < 0:
            place += size
        if not 0 <= place < size:
            raise IndexError(error)
        return place

    def insert(self, index: SupportsIndex, value: T) -> None:
        place, _, _ = slice(as_index(index), None).indices(len(self))
        self._splice(place, 0, self._accept([value]))

    def append(self, value: T) -> None:
        accepted = self._accept([value])
        self._splice(len(self._load()), 0, accepted)

    def extend(self, values: Iterable[T]) -> None:
        accepted = self._accept(values)
        self._splice(len(self._load()), 0, accepted)

    def clear(self) -> None:
        self._splice(0, len(self._load()), [])

    def pop(self, index: SupportsIndex = -1) -> T:
        if not self._load():
            raise IndexError("pop from empty list")
        place = self._place(index, "pop index out of range")
        value = self._hand_out(place)
        self._splice(place, 1, [])
        return value

    def remove(self, value: T) -> None:
        try:
            place = self._whole().index(value)
        except ValueError:
            raise ValueError("list.remove(x): x not in list") from None
        self._splice(place, 1, [])

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        items = self._whole()
        return items.index(value, start, len(items) if stop is None else stop)

    def count(self, value: Any) -> int:
        return self._whole().count(value)

    def reverse(self) -> None:
        self._rewrite().reverse()

    def sort(self, *, key: Callable[[T], Any] | None = None, reverse: bool = False) -> None:
        cast("list[Any]", self._rewrite()).sort(key=key, reverse=reverse)

    def copy(self) -> list[T]:
        """Return a plain list of the items, as a slice does."""
        return list(self._hand_out_all())

    def __reduce__(self) -> tuple[type[list[T]], tuple[list[T]]]:
        # A copy of any kind is ordinary data: nobody else may write to the session's field.
        return list, (self.copy(),)

    def __iter__(self) -> Iterator[T]:
        return self._iterate() if self._watched else iter(self._load())

    def _iterate(self) -> Iterator[T]:
        place = out = 0
        version = self._version
        while place < len(items := self._load()):
            # By the block, because one by one is slow; again when places have shifted.
            if place >= out or version != self._version:
                version, out = self._version, place + HAND_OUT_BLOCK
                self._hand_out_all(place, out)
            yield items[place]
            place += 1

    def __contains__(self, value: object) -> bool:
        return value in self._whole()

    def __add__(self, other: Iterable[T]) -> list[T]:
        if not isinstance(other, list | ManagedList):
            return NotImplemented
        return [*self._hand_out_all(), *other]

    def __radd__(self, other: Iterable[T]) -> list[T]:
        return [*other, *self._hand_out_all()] if isinstance(other, list) else NotImplemented

    def __iadd__(self, values: Iterable[T]) -> Self:
        self.extend(values)
        return self

    def __mul__(self, count: SupportsIndex) -> list[T]:
        return self._hand_out_all() * count

    __rmul__ = __mul__

    def __imul__(self, count: SupportsIndex) -> Self:
        times = as_index(count)
        if times <= 0:
            self.clear()
        else:
            self.extend(self._hand_out_all() * (times - 1))
        return self

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ManagedList):
            other = cast("ManagedList[Any]", other)._whole()
        return self._whole() == other if isinstance(other, list) else NotImplemented

    def __lt__(self, other: "list[T] | ManagedList[T]") -> bool:
        return self._whole() < list(other)

    def __le__(self, other: "list[T] | ManagedList[T]") -> bool:
        return self._whole() <= list(other)

    def __gt__(self, other: "list[T] | ManagedList[T]") -> bool:
        return self._whole() > list(other)

    def __ge__(self, other: "list[T] | ManagedList[T]") -> bool:
        return self._whole() >= list(other)

    def __repr__(self) -> str:
        return repr(self._whole())


def _narrowed(
    binding: Binding, at: int, old: list[JSON], new: list[JSON], values: list[Any]
) -> list[Op]:
    def same(i: int, j: int) -> bool:
        return binding.codec.alike(binding.field, old[i], new[j], values[j])

    return narrowed(at, old, new, same)
