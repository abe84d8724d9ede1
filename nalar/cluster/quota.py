"""How many directives policies may give: in one decision, and of each at a time. Pure."""

from collections import Counter
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass

from nalar.directives import Directive, Issued, SetPriority, lifetime_s


class StandingDirectives(MutableMapping[str, Issued]):
    """The directives that stand, by key; knows without looking how many are whose."""

    def __init__(self) -> None:
        self._by_key: dict[str, Issued] = {}
        self._lasting = Counter[str]()

    def lasting(self, by: str) -> int:
        """Return how many directives by `by` stand until they are withdrawn."""
        return self._lasting[by]

    def __getitem__(self, key: str) -> Issued:
        return self._by_key[key]

    def __setitem__(self, key: str, issued: Issued) -> None:
        self._forget(self._by_key.get(key))
        self._by_key[key] = issued
        if lasts(issued.directive):
            self._lasting[issued.by] += 1

    def __delitem__(self, key: str) -> None:
        self._forget(self._by_key.pop(key))

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_key)

    def __len__(self) -> int:
        return len(self._by_key)

    def _forget(self, issued: Issued | None) -> None:
        if issued is None or not lasts(issued.directive):
            return
        self._lasting[issued.by] -= 1
        if not self._lasting[issued.by]:
            del self._lasting[issued.by]


def lasts(directive: Directive) -> bool:
    """Say whether a directive stands until its policy withdraws it.

    What passes in an hour is counted all the same if nothing else bounds it: the priority of a
    request for one agent, which is not withdrawn when its request has ended.
    """
    narrow = isinstance(directive, SetPriority) and directive.agent is not None
    return narrow or lifetime_s(directive) is None


@dataclass(slots=True)
class Quota:
    """What one policy may still direct in one decision."""

    #: Directives that may change.
    changes: int
    #: Lasting directives that may stand beside those that do.
    lasting: int

    def take(self, changes: int, lasting: int) -> None:
        """So much of it is used up."""
        self.changes -= changes
        self.lasting -= lasting


def share(left: int, *, followed: bool) -> int:
    """Return how many of the changes that are left a policy may make, `followed` by others or not.

    One that floods leaves half to those that are named after it.
    """
    return left - left // 2 if followed else left
