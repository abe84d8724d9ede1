"""Reading a table of a TOML file: what is wrong with it is collected, with its path. Pure."""

import json
import math
from collections.abc import Mapping
from typing import Final, cast

from nalar.errors import suggest

#: Counts in a file are no larger, unless they say so.
COUNT_MAX: Final = 4_096


class Table:
    """A table of a file, whose keys are asked for; those that nobody asks for are flaws."""

    def __init__(self, path: str, told: Mapping[str, object], flaws: list[str]) -> None:
        self.path = path
        self.told = told
        self.flaws = flaws
        self._asked: list[str] = []

    def at(self, key: str) -> str:
        """Return the path of a key in the file."""
        return f"{self.path}.{key}" if self.path else key

    def get(self, key: str) -> object:
        """Return what stands under a key; None for nothing."""
        self._asked.append(key)
        return self.told.get(key)

    def refuse(self, key: str, expected: str) -> None:
        """Say that what stands under a key is not what is expected."""
        shown = json.dumps(self.told[key], default=str)
        self.flaws.append(f"{self.at(key)} is {expected}, not {shown[:100]}")

    def text(self, key: str, default: str = "") -> str:
        """Return the text under a key."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, str) or not value:
            self.refuse(key, "a text")
            return default
        return value

    def count(self, key: str, low: int, high: int = COUNT_MAX) -> int | None:
        """Return the whole number under a key; None without one."""
        value = self.get(key)
        if value is None:
            return None
        if type(value) is not int or not low <= value <= high:
            self.refuse(key, f"a whole number from {low} to {high}")
            return None
        return value

    def amounts(self, key: str) -> dict[str, float] | None:
        """Return the table of amounts under a key; None without one."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.refuse(key, "a table of amounts, for instance { GPU = 1 }")
            return None
        inner = Table(self.at(key), cast("dict[str, object]", value), self.flaws)
        found: dict[str, float] = {}
        for kind, amount in inner.told.items():
            if type(amount) not in (int, float) or not 0 <= cast("float", amount) < math.inf:
                inner.refuse(kind, "an amount from 0 up")
            else:
                found[kind] = float(cast("float", amount))
        return found

    def table(self, key: str) -> "Table":
        """Return the table under a key; an empty one where there is none."""
        value = self.get(key)
        if value is not None and not isinstance(value, dict):
            self.refuse(key, f"a table: [{self.at(key)}]")
        told = cast("dict[str, object]", value) if isinstance(value, dict) else {}
        return Table(self.at(key), told, self.flaws)

    def close(self) -> None:
        """Say which keys nobody has asked for."""
        for key in self.told:
            if key not in self._asked:
                known = ", ".join(self._asked)
                self.flaws.append(
                    f"{self.at(key)} is unknown.{suggest(key, self._asked)} There are {known}"
                )
