"""Stopping running calls so that they can run elsewhere: what the hint `preemptable` allows."""

import logging
from collections.abc import Iterable

from nalar.controllers.held import Held

log = logging.getLogger("nalar.worker")


def preempt(calls: Iterable[Held]) -> None:
    """Stop the code of those that allow it, and give them back: they begin again elsewhere.

    What they have changed is gone with them; it counts as no attempt.
    """
    for held in list(calls):
        if held.agent.hints.preemptable and _runs(held):
            _stop(held, held.agent.hints.preemptable)


def _runs(held: Held) -> bool:
    """Say whether the call's code runs, and nobody has told it to stop."""
    flag = held.stop_flag
    return (
        flag is not None
        and flag.running
        and flag.reason is None
        and held.stopping is None
        and held.asleep_s is None
    )


def _stop(held: Held, how: bool | str) -> None:
    assert held.stop_flag is not None, "its code runs"
    held.asleep_s = 0.0
    held.stop_flag.set("preempted")
    if isinstance(how, str):
        try:
            getattr(held.instance, how)()
        except Exception:
            log.exception("%s: %s failed; its code is stopped all the same", held.agent.name, how)
    if held.leaves_when_cancelled and held.task is not None:
        held.task.cancel()
