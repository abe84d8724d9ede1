"""Workers that break one rule each: what the ledger test must notice, or it proves nothing.

The module for `nalar worker`; CHAOS_SABOTAGE in the environment names the rule.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final

from nalar.bus import subjects
from nalar.controllers.held import Held
from nalar.controllers.run import Runner
from nalar.controllers.settle import Settlement, Settler
from nalar.controllers.worker import Worker
from nalar.ids import FutureId, Ref
from nalar.statestore import ledger_jetstream
from nalar.statestore.ledger_jetstream import JetStreamLedger
from nalar.statestore.session import SessionFold
from tests.chaos.bank import Account, transfer

__all__ = ["RULES", "Account", "transfer"]

SABOTAGE: Final = "CHAOS_SABOTAGE"
#: How long a record of a call stands before the call is acknowledged, where that is made long.
_SLOW_S: Final = 0.3


def without_a_fence() -> None:
    """Records are stored whatever the log has become."""
    commit = ledger_jetstream._Commit.__init__

    def bare(self: Any, ref: Ref, body: bytes, expected: int, ttl_s: float) -> None:
        commit(self, ref, body, expected, ttl_s)
        self.headers = b"NATS/1.0\r\n\r\n"

    ledger_jetstream._Commit.__init__ = bare


def with_a_second_spelling() -> None:
    """The fence covers the same keys, in other words."""
    fence = subjects.commit_fence

    def other_words(ref: Ref) -> str:
        return fence(ref).replace(".>", ".*.*.*")

    subjects.commit_fence = other_words


def at_the_revision_of_the_moment() -> None:
    """Records are compared with what stands now, not with what the call ran on."""
    commit = JetStreamLedger.commit

    async def hasty(self: JetStreamLedger, ref: Ref, body: bytes, **given: Any) -> int:
        newest = await self._reader.last(subjects.commit_fence(ref))
        return await commit(
            self, ref, body, expected=newest.sequence if newest else 0, ttl_s=given["ttl_s"]
        )

    JetStreamLedger.commit = hasty


def acknowledging_first() -> None:
    """The message is gone before the record stands."""
    conclude = Worker._conclude

    async def hasty(self: Worker, held: Held, work: Callable[[], Awaitable[None]]) -> None:
        held.delivery.ack()
        await conclude(self, held, work)

    Worker._conclude = hasty


def forgetting_what_is_done() -> None:
    """Nobody asks whether a call that came again has a record; and acknowledging takes a while."""

    async def never(self: Runner, held: Held) -> bool:
        del self, held
        return False

    def never_part(self: SessionFold, future: FutureId) -> bool:
        del self, future
        return False

    settled = Settler.settle

    async def slow(self: Settler, *given: Any, **named: Any) -> Settlement:
        settlement = await settled(self, *given, **named)
        await asyncio.sleep(_SLOW_S)
        return settlement

    Runner._ended_before = never
    Runner._done_before = never
    SessionFold.has = never_part
    Settler.settle = slow


RULES: Final = (
    without_a_fence,
    with_a_second_spelling,
    at_the_revision_of_the_moment,
    acknowledging_first,
    forgetting_what_is_done,
)

for rule in RULES:
    if rule.__name__ == os.environ.get(SABOTAGE):
        rule()
