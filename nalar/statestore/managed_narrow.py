"""The least operations that make one list of JSON out of another. Pure."""

from collections.abc import Callable

import orjson

from nalar.statestore.session import JSON, Op

#: Says whether old[i] and new[j] are the same although their JSON is not.
Same = Callable[[int, int], bool]


def narrowed(at: int, old: list[JSON], new: list[JSON], same: Same) -> list[Op]:
    """Return splices, to be done in this order, that make `new` of `old`, which stands at `at`.

    Exact for what people do to whole lists: change some items, filter, or replace a stretch.
    """
    if not old:
        return [["splice", at, 0, new]] if new else []
    # JSON text tells 1 from true and from 1.0, which Python's equality does not.
    texts = [orjson.dumps(item) for item in old], [orjson.dumps(item) for item in new]

    def equal(i: int, j: int) -> bool:
        return texts[0][i] == texts[1][j] or same(i, j)

    if len(old) == len(new):
        return _changed(at, new, equal)
    if len(old) > len(new) and (ops := _filtered(at, len(old), len(new), equal)) is not None:
        return ops
    shorter = min(len(old), len(new))
    head = tail = 0
    while head < shorter and equal(head, head):
        head += 1
    while tail < shorter - head and equal(len(old) - 1 - tail, len(new) - 1 - tail):
        tail += 1
    return [["splice", at + head, len(old) - head - tail, new[head : len(new) - tail]]]


def _changed(at: int, new: list[JSON], equal: Same) -> list[Op]:
    """Return a splice for each run of items that differ."""
    ops: list[Op] = []
    start: int | None = None
    for place in range(len(new) + 1):
        differs = place < len(new) and not equal(place, place)
        if differs and start is None:
            start = place
        elif not differs and start is not None:
            ops.append(["splice", at + start, place - start, new[start:place]])
            start = None
    return ops


def _filtered(at: int, old_size: int, new_size: int, equal: Same) -> list[Op] | None:
    """Return a removal for each run that was left out; None if more was done than that."""
    ops: list[Op] = []
    old = 0
    for place in range(new_size + 1):
        start = old
        if place == new_size:
            old = old_size
        else:
            while old < old_size and not equal(old, place):
                old += 1
            if old == old_size:
                return None
        if old > start:
            ops.append(["splice", at + place, old - start, []])
        old += 1
    return ops
