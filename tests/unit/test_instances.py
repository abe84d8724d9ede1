"""What a call of a session runs on: a copy of what its agent's constructor made."""

import copy
from typing import Any, Generic, TypeVar

import pytest

from nalar.controllers.instances import copied

T = TypeVar("T")


class Plain:
    def __init__(self) -> None:
        self.shared = [1]
        self.name = "plain"


class Parametrised(Plain, Generic[T]):
    pass


class Slotted(Plain):
    __slots__ = ("kept",)

    def __init__(self) -> None:
        super().__init__()
        self.kept = 1


class Mapped(dict[str, int]):
    def __init__(self) -> None:
        super().__init__(one=1)
        self.name = "mapped"


class Guarded(Plain):
    def __setattr__(self, name: str, value: object) -> None:
        if "name" in vars(self):
            raise AttributeError(name)
        super().__setattr__(name, value)


class Counting(Plain):
    def __copy__(self) -> "Counting":
        other = Counting()
        other.name = "by its own hand"
        return other


@pytest.mark.parametrize("kind", [Plain, Parametrised, Slotted, Mapped, Guarded, Counting])
def test_a_copy_is_what_the_standard_library_would_make(kind: type[Any]) -> None:
    made = kind()
    ours, theirs = copied(made), copy.copy(made)
    assert type(ours) is type(theirs)
    assert vars(ours) == vars(theirs)
    assert getattr(ours, "kept", None) == getattr(theirs, "kept", None)
    if kind is Mapped:
        assert ours == theirs
    vars(ours)["name"] = "another"
    assert made.name != "another"
