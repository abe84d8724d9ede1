"""Counts what workers meet, in a file: a run proves little if nothing went wrong in it.

The wrappers look and change nothing. A line is one write to a file opened for appending, so that
it is there even if the process is killed right after.
"""

import os
from collections import Counter
from pathlib import Path
from typing import Any, Final

from nalar.controllers.run import Runner
from nalar.controllers.settle import Settled, Settler
from nalar.errors import CommitLost, NalarError
from nalar.messages import Record
from nalar.statestore.session import SessionFold
from nalar.statestore.sessions import Session

#: In the environment: where to count.
FILE: Final = "CHAOS_COUNTS"


def install() -> None:
    """Count from now on, if the environment says where."""
    if os.environ.get(FILE):
        _watch_commits()
        _watch_redeliveries()


def counts(path: Path) -> Counter[str]:
    """Return how often each thing was met."""
    return Counter(path.read_text().split() if path.exists() else [])


def note(what: str) -> None:
    """Count one more of `what`."""
    file = os.open(os.environ[FILE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{what}\n".encode())
    finally:
        os.close(file)


def _watch_commits() -> None:
    decided = Settler._decided

    async def watched(
        self: Settler, record: Record, session: Session | None, refusal: NalarError
    ) -> Settled | None:
        note("refused" if isinstance(refusal, CommitLost) else "unknown")
        found = await decided(self, record, session, refusal)
        note("sent_again" if found is None else found.name.lower())
        return found

    Settler._decided = watched


def _watch_redeliveries() -> None:
    ended_before = Runner._ended_before
    has = SessionFold.has

    async def watched(self: Runner, held: Any) -> bool:
        note("suspect")
        found = await ended_before(self, held)
        if found:
            note("found_done")
        return found

    def watched_fold(self: SessionFold, future: Any) -> bool:
        found = has(self, future)
        if found:
            note("found_done")
        return found

    Runner._ended_before = watched
    SessionFold.has = watched_fold
