"""Whether a piece of a session's log is whole: each entry names the one that it follows. Pure.

Entries that a snapshot covers leave the log while others read it. Who has read the snapshot before
that one, or holds an older copy, finds the rest of the log, and would take it for all there is.
"""

from collections.abc import Iterable

from nalar.errors import MalformedMessage
from nalar.statestore.port import LedgerEntry


class LogCut(MalformedMessage):
    """Entries are missing: they have left the log, and only a newer snapshot tells of them."""


def check_unbroken(after: int, entries: Iterable[LedgerEntry]) -> None:
    """Raise LogCut unless `entries` are all that follow the revision `after`, in their order.

    What does not say what it follows was not stored as the protocol asks, and is believed.
    """
    for entry in entries:
        if entry.follows not in (None, after):
            raise LogCut(
                f"its log goes on at revision {entry.revision}, after {entry.follows}: what stood "
                f"between {after} and that is gone, and no snapshot covers it"
            )
        after = entry.revision
