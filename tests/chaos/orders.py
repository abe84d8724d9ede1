"""What callers are to do: transfers by seed, and the log in which they say how far they are.

Imports nothing of nalar: the checker reads the same orders and logs.
"""

import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ACCOUNTS: Final = tuple(f"account-{number}" for number in range(10))
AMOUNT_MAX: Final = 40

#: Debit and credit as calls of their own, each with an idempotency key: asked again after a crash.
KEYED: Final = "keyed"
#: Debit and credit as plain calls: cut off where the caller dies.
PLAIN: Final = "plain"
#: One run of the workflow: submitted, and found again by its id after a crash.
RUN: Final = "run"
WAYS: Final = (KEYED, PLAIN, RUN, RUN)


@dataclass(frozen=True)
class Order:
    """One transfer that a caller is to make."""

    name: str
    way: str
    source: str
    target: str
    amount: int


def orders(seed: int, caller: int, count: int) -> list[Order]:
    """Return what one caller is to do, in its order."""
    chance = random.Random(f"{seed}/{caller}")
    made: list[Order] = []
    for number in range(count):
        source, target = chance.sample(ACCOUNTS, 2)
        way = chance.choice(WAYS)
        made.append(
            Order(f"c{caller}n{number}", way, source, target, chance.randint(1, AMOUNT_MAX))
        )
    return made


class Log:
    """What a caller says, a line each; it is there even if the caller is killed right after."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def say(self, what: str, order: Order, **more: Any) -> None:
        """Say that `what` happened to an order."""
        line = json.dumps({"what": what, "name": order.name, **more})
        os.write(self._file, line.encode() + b"\n")


def said(path: Path) -> Iterator[dict[str, Any]]:
    """Read a log; a last line that was cut off is left out."""
    if path.exists():
        for line in path.read_bytes().split(b"\n")[:-1]:
            yield json.loads(line)
