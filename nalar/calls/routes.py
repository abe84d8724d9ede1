"""In which lane a call belongs: by its session's hash, or where a directive has moved it. Pure."""

from nalar.bus.subjects import slot_lane
from nalar.calls.draft import lane_of
from nalar.directives import Route
from nalar.ids import AgentName, SessionId
from nalar.messages import Invocation


class Routes:
    """The routes that this process knows of; who knows none yet sends by the hash.

    A call that comes to the wrong lane is passed on, so being late costs a hop and no more.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._moved: dict[tuple[AgentName, SessionId], int] = {}

    def obey(self, route: Route, *, withdrawn: bool) -> None:
        """Serve a session where `route` says, or where its hash does."""
        session = (route.agent, route.session)
        if withdrawn:
            self._moved.pop(session, None)
        elif route.slot < self._slots:
            self._moved[session] = route.slot

    def lane(self, invocation: Invocation, *, stateful: bool) -> str:
        """Return the lane that a call belongs in."""
        if self._moved and stateful:  # Reads too: elsewhere they would see what was there once.
            slot = self._moved.get((invocation.ref.agent, invocation.session))
            if slot is not None:
                return slot_lane(slot)
        return lane_of(invocation, stateful=stateful, slots=self._slots)
