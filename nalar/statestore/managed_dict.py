"""ManagedDict: a dict whose changes can be told from the last commit. Pure."""

from collections.abc import (
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    MutableMapping,
    ValuesView,
)
from typing import Any, Self, TypeVar, cast, overload

from nalar.statestore.managed_base import Binding, Managed, refuse_text
from nalar.statestore.managed_codec import KeyCodec
from nalar.statestore.session import Op

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")

_MISSING = object()


class ManagedDict(Managed, MutableMapping[K, V]):
    """A dict that belongs to a session: loaded, committed and moved with it.

    Annotate a field of an agent with `ManagedDict[K, V]` and use it as a dict. Everything said
    of ManagedList holds. Keys are written as JSON strings by their annotation.
    """

    __slots__ = ("__weakref__", "_dropped", "_items", "_stale", "_touched")
    __hash__ = None  # pyright: ignore[reportAssignmentType] -- mutable, as dict is

    def __init__(self, items: Mapping[K, V] | Iterable[tuple[K, V]] = (), /, **named: V) -> None:
        super().__init__()
        plain: dict[Any, V] = dict(items, **named)
        self._items: dict[K, V] | None = plain
        # Keys put or handed out since the commit, in the order in which they came.
        self._touched: dict[K, None] = {}
        # Keys of the base that were taken out since, as JSON strings; some may be back.
        self._dropped: dict[str, None] = {}
        # Keys whose value is to be made again from JSON before anyone sees it.
        self._stale: set[K] = set()

    # What the runtime does.

    def load(self) -> None:
        self._load()

    def replace(self, content: object) -> None:
        if content is self:
            return
        refuse_text(content)
        accepted = self._accept(dict(cast("Mapping[K, V]", content)))
        for key in [key for key in self._load() if key not in accepted]:
            del self[key]
        self._put(accepted)

    def _changes(self, binding: Binding) -> list[Op]:
        items = self._items
        if items is None or not (self._touched or self._dropped):
            return []
        base = binding.base_dict()
        keys = [(key, self._accept_key(key)[1]) for key in self._touched]
        kept = [it for it in keys if it[1] in base and it[1] not in self._dropped]
        differing = binding.codec.differing(
            binding.field, [items[key] for key, _ in kept], [base[text] for _, text in kept]
        )
        changed = {kept[place] for place in differing}
        put = [it for it in keys if it in changed or it[1] in self._dropped or it[1] not in base]
        dumped = binding.codec.dump(binding.field, [items[key] for key, _ in put])
        # Drops come first, so that a key that went and came back is last, as in this dict.
        drops: list[Op] = [["drop", text] for text in self._dropped]
        return drops + [["put", text, new] for (_, text), new in zip(put, dumped, strict=True)]

    def _rebase(self) -> None:
        if self._watched:
            self._stale.update(self._touched)
        self._touched.clear()
        self._dropped.clear()

    def _forget(self) -> None:
        self._items = None
        self._touched.clear()
        self._dropped.clear()
        self._stale.clear()

    def _load(self) -> dict[K, V]:
        if self._items is None:
            binding = cast("Binding", self._binding)
            base = binding.base_dict()
            keys = cast("KeyCodec", binding.keys).load(binding.field, list(base))
            values = binding.codec.load(binding.field, list(base.values()))
            self._items = dict(zip(keys, values, strict=True))
        return self._items

    def _freshen(self, keys: Iterable[K]) -> None:
        binding = self._binding
        if binding is None or not self._stale:
            return
        items, base = self._load(), binding.base_dict()
        stale = [key for key in keys if key in self._stale]
        if not stale:
            return
        committed = [base[self._accept_key(key)[1]] for key in stale]
        for key, value in zip(stale, binding.codec.load(binding.field, committed), strict=True):
            items[key] = value
        self._stale.difference_update(stale)

    def _whole(self) -> dict[K, V]:
        """Return all items as they are now, to look at, not to hand out."""
        items = self._load()
        self._freshen(list(self._stale))
        return items

    def _hand_out(self, key: K) -> V:
        """Return the value of `key`, which is there and may be changed from now on."""
        items = self._load()
        if self._watched:
            self._freshen((key,))
            self._touched[key] = None
        return items[key]

    def _accept_key(self, key: K) -> tuple[K, str]:
        binding = cast("Binding", self._binding)
        return cast("KeyCodec", binding.keys).accept(binding.field, key)

    def _accept(self, items: dict[K, V]) -> dict[K, V]:
        binding = self._binding
        if binding is None:
            return items
        values = binding.codec.accept(binding.field, list(items.values()))
        return {self._accept_key(key)[0]: value for key, value in zip(items, values, strict=True)}

    def _put(self, accepted: dict[K, V]) -> None:
        self._load().update(accepted)
        if self._binding is not None:
            self._version += 1
            self._stale.difference_update(accepted)
            self._touched.update(dict.fromkeys(accepted))

    # What a dict does.

    def __len__(self) -> int:
        return len(self._load())

    def __getitem__(self, key: K) -> V:
        items = self._load()
        return self._hand_out(key) if key in items else items[key]

    def __setitem__(self, key: K, value: V) -> None:
        self._put(self._accept({key: value}))

    def __delitem__(self, key: K) -> None:
        items, binding = self._load(), self._binding
        del items[key]
        if binding is not None:
            self._version += 1
            self._touched.pop(key, None)
            self._stale.discard(key)
            text = self._accept_key(key)[1]
            if text in binding.base_dict():
                self._dropped[text] = None

    def __iter__(self) -> Iterator[K]:
        return iter(self._load())

    def __reversed__(self) -> Iterator[K]:
        return reversed(self._load())

    def __contains__(self, key: object) -> bool:
        return key in self._load()

    def keys(self) -> KeysView[K]:
        return self._load().keys()

    def values(self) -> ValuesView[V]:
        return ValuesView(self) if self._watched else self._load().values()

    def items(self) -> ItemsView[K, V]:
        return ItemsView(self) if self._watched else self._load().items()

    def clear(self) -> None:
        for key in list(self._load()):
            del self[key]

    @overload
    def pop(self, key: K) -> V: ...
    @overload
    def pop(self, key: K, default: V) -> V: ...
    @overload
    def pop(self, key: K, default: D) -> V | D: ...
    def pop(self, key: K, default: Any = _MISSING) -> Any:
        if key not in self._load() and default is not _MISSING:
            return default
        value = self[key]
        del self[key]
        return value

    def popitem(self) -> tuple[K, V]:
        items = self._load()
        if not items:
            raise KeyError("popitem(): dictionary is empty")
        key = next(reversed(items))
        value = self._hand_out(key)
        del self[key]
        return key, value

    def setdefault(self, key: K, default: Any = None) -> V:
        if key not in self._load():
            self[key] = default
        return self[key]

    def update(self, items: Any = (), /, **named: Any) -> None:
        self._put(self._accept(cast("dict[K, V]", dict(items, **named))))

    def copy(self) -> dict[K, V]:
        """Return a plain dict of the items."""
        return dict(self.items())

    def __reduce__(self) -> tuple[type[dict[K, V]], tuple[dict[K, V]]]:
        # A copy of any kind is ordinary data: nobody else may write to the session's field.
        return dict, (self.copy(),)

    def __or__(self, other: Mapping[K, V]) -> dict[K, V]:
        return {**self.copy(), **other}

    def __ror__(self, other: Mapping[K, V]) -> dict[K, V]:
        return {**other, **self.copy()}

    def __ior__(self, other: "Mapping[K, V] | Iterable[tuple[K, V]]") -> Self:
        self.update(other)
        return self

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ManagedDict):
            other = cast("ManagedDict[Any, Any]", other)._whole()
        return self._whole() == other if isinstance(other, dict) else NotImplemented

    def __repr__(self) -> str:
        return repr(self._whole())
