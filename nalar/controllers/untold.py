"""What a report tells next: what has changed, then some of what a listener has asked for. Pure."""

from itertools import islice
from typing import Final, TypeVar

#: Of all there is, so many in one report: listeners who ask all workers are not to be swamped.
REFILL_MAX: Final = 20

_Key = TypeVar("_Key")


def take_next(changed: dict[_Key, None], left: dict[_Key, None], most: int) -> list[_Key]:
    """Take the next keys out: of what has changed first, then some of what is left to be told."""
    keys = _first(changed, most)
    if left:
        for key in keys:
            left.pop(key, None)
        keys += _first(left, min(REFILL_MAX, most - len(keys)))
    return keys


def _first(of: dict[_Key, None], most: int) -> list[_Key]:
    """Take the first keys out."""
    if len(of) <= most:
        first = list(of)
        of.clear()
        return first
    first = list(islice(of, most))
    for key in first:
        del of[key]
    return first
