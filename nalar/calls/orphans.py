"""Calls of an earlier attempt that a resumed caller has not made again. Pure.

A caller that is resumed finds what its calls have done by their ids, which are made of targets and
arguments. If its code or its inputs have changed meanwhile it asks for other calls: to what only
reads, that is simply a new call. But a call that changes state has changed it, and a new one
beside it would change it twice: a transfer is not to be made again because a timestamp moved. So
a new call to such a method is withheld until those on record have been claimed.
"""

from collections.abc import Iterable

from nalar.bus.codec import decode_record
from nalar.calls.own_records import is_beside
from nalar.errors import MalformedMessage, NonDeterminismError
from nalar.ids import FutureId
from nalar.statestore.port import LedgerEntry

#: Calls that a message names before it only counts them.
_NAMED_MAX = 3


class Orphans:
    """The recorded children of one resumed caller, until it claims them."""

    def __init__(self, entries: Iterable[LedgerEntry] = ()) -> None:
        #: Target -> recorded calls that have changed state.
        self._changing: dict[str, set[FutureId]] = {}
        self._others: set[FutureId] = set()
        for entry in entries:
            target = _changing_target(entry)
            if is_beside(entry.ref):
                continue
            if target:
                self._changing.setdefault(target, set()).add(entry.ref.future)
            else:
                self._others.add(entry.ref.future)

    def claim(self, target: str, name: FutureId) -> bool:
        """The caller has made this call again; say whether that was the last of its target."""
        self._others.discard(name)
        waiting = self._changing.get(target)
        if waiting is None or name not in waiting:
            return False
        waiting.discard(name)
        if not waiting:
            del self._changing[target]
        return not waiting

    def withholds(self, target: str) -> bool:
        """Say whether a new call of `target` must wait for recorded ones to be claimed."""
        return target in self._changing

    @property
    def targets(self) -> tuple[str, ...]:
        """Methods that have changed state in calls which nobody has claimed."""
        return tuple(self._changing)

    def __len__(self) -> int:
        return len(self._others) + sum(map(len, self._changing.values()))

    def error(self, targets: Iterable[str], made: Iterable[str] = ()) -> NonDeterminismError:
        """Return what ends a caller that did not claim its calls of `targets`.

        `made` names the calls that it wanted to make instead.
        """
        recorded = ", ".join(
            f"{target} ({_named(sorted(self._changing.get(target, ())))})" for target in targets
        )
        instead = list(made)
        wanted = f"; it asks for {_named(instead)} instead" if instead else ""
        return NonDeterminismError(
            f"when it was resumed it did not repeat calls that have changed state: {recorded}"
            f"{wanted}. Its code, or what it depends on (time, chance, a model's answer outside of "
            "a call), has changed since. Make it repeat them, or declare the method with "
            'on_orphan="ignore" if another call of it does no harm'
        )


def _named(names: list[str]) -> str:
    more = len(names) - _NAMED_MAX
    return ", ".join(names[:_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def _changing_target(entry: LedgerEntry) -> str:
    """Return the method of a call that has changed state; "" for one that has not."""
    if entry.ref.effect != "s":
        return ""
    try:
        record = decode_record(entry.ref, entry.body)
    except MalformedMessage:
        return ""  # Whoever reads its result is told.
    return f"{entry.ref.agent}.{record.method}" if record.error is None else ""
