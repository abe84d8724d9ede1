"""The local controller with its invariants looked at after every event."""

from nalar.controllers.local_call import State
from nalar.controllers.local_events import Effect, Event
from nalar.controllers.local_state import LocalState


class Checked(LocalState):
    """Fails at the event after which something does not hold."""

    def handle(self, event: Event, at_s: float = 0.0) -> list[Effect]:
        effects = super().handle(event, at_s)
        check(self)
        return effects


def check(state: LocalState) -> None:
    """Assert what must hold between events."""
    running = [held for held in state._held.values() if held.state is State.RUNNING]
    slots = {id(held.shared or held) for held in running}
    assert len(slots) == state._running, "every slot that is taken is counted once"
    settling = sum(held.state is State.SETTLING for held in state._held.values())
    assert settling == state._settling, "every settling call is counted once"
    for lock, key in state._sessions.holders():
        holder = state._held.get(key)
        assert holder is not None, f"{lock} is held by a call that is gone"
        assert holder.state not in (State.PARKED, State.LEAVING), f"{lock} is held idly"
    for held in running:
        if held.arrival.lock is not None:
            assert state._sessions.holder(held.arrival.lock) == held.arrival.key
    for key, held in state._held.items():
        lock = held.arrival.lock
        mine = lock is None or state._sessions.holder(lock) == key
        ready = held.state is State.QUEUED and mine
        assert ready == (key in state._ready), f"{key} stands in the wrong line"
        assert held.state is not State.QUEUED or held.blocked != ready, f"{key} counts wrongly"
