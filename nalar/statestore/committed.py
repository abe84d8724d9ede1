"""Which calls are part of a session's state: the newest by themselves, older ones in pages.

Pure. A message may be delivered again long after its call has committed, so a snapshot names the
calls that it is made of, as far back as the horizon. A busy session has a hundred thousand of them
in an hour: written again with every snapshot they would cost more than the state. So full pages
of ids are kept as entries of their own, written once, and the snapshot names the pages.
"""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

import orjson

from nalar.errors import MalformedMessage
from nalar.ids import FutureId

#: Ids of one page; as many more stand in the snapshot itself before a page is turned.
PAGE_IDS: Final = 2048

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"


@dataclass(frozen=True, slots=True)
class Page:
    """The ids of some of a session's older calls."""

    #: Revision of the newest, and how many there are: together the page's name.
    upto: int
    count: int
    #: When the newest was finished, Unix time in seconds.
    at_s: float
    #: Empty until the page was fetched.
    ids: frozenset[FutureId] = frozenset()

    @property
    def name(self) -> str:
        """Tells the pages of one session apart; the same name has the same content."""
        return f"{self.upto}-{self.count}"


class Committed:
    """The ids of one session's calls, as far back as they must be known."""

    def __init__(self) -> None:
        #: Future -> (revision, when it was finished); oldest first.
        self._newest: dict[FutureId, tuple[int, float]] = {}
        self._pages: tuple[Page, ...] = ()

    def __contains__(self, future: object) -> bool:
        return future in self._newest or any(future in page.ids for page in self._pages)

    def __len__(self) -> int:
        return len(self._newest) + sum(page.count for page in self._pages)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Committed) and self.as_json() == other.as_json()

    __hash__ = None  # type: ignore[assignment]  -- it changes

    def add(self, future: FutureId, revision: int, at_s: float) -> None:
        """Take in the newest call."""
        self._newest[future] = revision, at_s

    def forget_before(self, oldest_s: float) -> None:
        """Drop ids finished before `oldest_s`; a page goes with its newest."""
        if any(at_s < oldest_s for _, at_s in self._newest.values()):
            self._newest = {id_: it for id_, it in self._newest.items() if it[1] >= oldest_s}
        self._pages = tuple(page for page in self._pages if page.at_s >= oldest_s)

    def full_page(self) -> Page | None:
        """Return the page to be written now; None while there is no need of one."""
        if len(self._newest) < 2 * PAGE_IDS:
            return None
        ids = list(self._newest)[:PAGE_IDS]
        upto = self._newest[ids[-1]][0]
        at_s = max(self._newest[id_][1] for id_ in ids)
        return Page(upto, len(ids), at_s, frozenset(ids))

    def turn(self, page: Page) -> None:
        """`page` is written: its ids no longer stand in the snapshot itself."""
        for id_ in page.ids:
            self._newest.pop(id_, None)
        self._pages = (*self._pages, page)

    @property
    def unread(self) -> tuple[Page, ...]:
        """The pages that a snapshot named and nobody has fetched yet."""
        return tuple(page for page in self._pages if not page.ids)

    def read(self, ids_by_name: Mapping[str, frozenset[FutureId]]) -> None:
        """Take in the pages that were fetched."""
        self._pages = tuple(
            Page(page.upto, page.count, page.at_s, ids_by_name.get(page.name, page.ids))
            for page in self._pages
        )

    def as_json(self) -> dict[str, JSON]:
        """Return what a snapshot says of the ids."""
        said: dict[str, JSON] = {"ids": {id_: list(it) for id_, it in self._newest.items()}}
        if self._pages:
            said["pages"] = [[page.upto, page.count, page.at_s] for page in self._pages]
        return said

    @classmethod
    def load(cls, ids: Mapping[str, JSON], pages: Iterable[JSON]) -> "Committed":
        """Return what `as_json` said; raises MalformedMessage for anything else."""
        loaded = cls()
        for id_, told in ids.items():
            match told:
                case [int(revision), float() | int() as at_s]:
                    loaded.add(FutureId(id_), revision, float(at_s))
                case _:
                    raise MalformedMessage(
                        f"not a session snapshot: id {id_[:80]!r} has no revision"
                    )
        loaded._pages = tuple(map(_page, pages))
        return loaded


def _page(told: JSON) -> Page:
    match told:
        case [int(upto), int(count), float() | int() as at_s]:
            return Page(upto, count, float(at_s))
        case _:
            raise MalformedMessage(f"not a session snapshot: a page is no page: {told!r:.80}")


def decode_page(value: bytes) -> frozenset[FutureId]:
    """Return the ids that an entry of one page holds; raises MalformedMessage for none."""
    parsed: object = None
    with contextlib.suppress(orjson.JSONDecodeError):
        parsed = orjson.loads(value)
    match parsed:
        case {"v": 1, "ids": list()}:
            ids = cast("list[object]", cast("dict[str, object]", parsed)["ids"])
            if set(map(type, ids)) <= {str}:  # One look at each would cost as much as the rest.
                return frozenset(cast("list[FutureId]", ids))
        case _:
            pass
    raise MalformedMessage("not a page of a session's ids")
