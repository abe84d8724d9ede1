"""What was heard last of each entry of a bucket, by notices and by listings. Pure.

A notice may come late, twice, or not at all, and a listing tells of a moment that has passed: of
both only what is newer than what was heard counts.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator

from nalar.statestore.port import KeyValueEntry


class Heard:
    """The revisions that were heard, by key; removals among them until the next listing."""

    def __init__(self) -> None:
        self._revisions: dict[str, int] = {}
        #: The newest of all that was heard.
        self.newest = 0

    def note(self, key: str, revision: int) -> bool:
        """Hear that a key was stored, or removed, at a revision; say whether that is news."""
        self.newest = max(self.newest, revision)
        if revision <= self._revisions.get(key, 0):
            return False
        self._revisions[key] = revision
        return True

    def news(
        self, prefix: str, listed: Collection[KeyValueEntry], *, since: int
    ) -> Iterator[KeyValueEntry]:
        """Yield what a listing of all under `prefix` tells that was not heard, removals last.

        `since` is what `newest` was when it began: what it does not name, and was known by then,
        is gone.
        """
        for entry in listed:
            if self.note(entry.key, entry.revision):
                yield entry
        named = {entry.key for entry in listed}
        for key, revision in list(self._revisions.items()):
            if key.startswith(f"{prefix}.") and key not in named and revision <= since:
                del self._revisions[key]
                yield KeyValueEntry(key, revision, None)


class Mirror(ABC):
    """What is made of a bucket's entries: kept up by notices, put right by listings."""

    def __init__(self) -> None:
        self._heard = Heard()

    @property
    def newest(self) -> int:
        """Revision of the newest notice."""
        return self._heard.newest

    def take(self, entry: KeyValueEntry) -> bool:
        """Take one entry or removal in; return whether it is news that matters here."""
        return self._heard.note(entry.key, entry.revision) and self._apply(entry)

    def put_right(self, prefix: str, entries: Collection[KeyValueEntry], *, since: int) -> None:
        """Take in all that stands under `prefix`, listed when `newest` was `since`.

        What the listing does not name, and was known by then, is gone.
        """
        for entry in self._heard.news(prefix, entries, since=since):
            self._apply(entry)

    @abstractmethod
    def _apply(self, entry: KeyValueEntry) -> bool:
        """Make of an entry or removal what there is to it; return whether that matters."""
