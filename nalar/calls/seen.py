"""How far this process has seen each session: what it knows to be written, its reads see. Pure.

A session's owner answers reads from its copy. That is old when another worker, which owned the
slot a moment ago or takes itself for its owner still, has committed since: a commit at the copy's
revision would be refused, a read would not. So a read says what its caller has seen.
"""

from collections import OrderedDict
from typing import Final

from nalar.ids import AgentName, SessionId
from nalar.statestore.port import LedgerEntry

#: Sessions that are remembered; the reads of those before them may be older.
_SESSIONS_MAX: Final = 10_000


class Seen:
    """The newest commit to each session that this process has heard of."""

    def __init__(self) -> None:
        self._revisions: OrderedDict[tuple[AgentName, SessionId], int] = OrderedDict()

    def note(self, entry: LedgerEntry) -> None:
        """Remember a record that has come, if it changed a session. On the event loop only."""
        ref = entry.ref
        if ref.effect == "s":
            place = ref.agent, ref.session
            # Never absent in between: other threads look.
            self._revisions[place] = max(self.upto(*place), entry.revision)
            self._revisions.move_to_end(place)
            if len(self._revisions) > _SESSIONS_MAX:
                self._revisions.popitem(last=False)

    def upto(self, agent: AgentName, session: SessionId) -> int:
        """Return the revision of that commit; 0 when none is known. From any thread."""
        return self._revisions.get((agent, session), 0)
