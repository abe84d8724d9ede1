"""Whether the server we are connected to still takes part in its cluster. Pure.

One that is cut off from its peers keeps its clients, answers reads from what it has, and may take
itself for the leader. But it can store nothing: what it is given is never acknowledged.
"""

from typing import Final

#: For so long nothing may have been stored before another server is tried, in seconds; twice as
#: long each time that this has not helped. Leaders are elected in four to eight: a connection too
#: many costs less than waiting at the wrong server.
MUTE_S: Final = 5.0
MUTE_MAX_S: Final = 60.0
#: So often a server is left at its own word: by then each of a usual cluster has been tried.
SERVERS: Final = 3


class Hearing:
    """Since when nothing was stored that was to be, and how many servers were left for it."""

    def __init__(self) -> None:
        self._since_s: float | None = None
        self._is_cut_off = False
        self._left = 0

    def asked(self, now_s: float) -> None:
        """Something was sent that only a cluster with a majority can do."""
        if self._since_s is None:
            self._since_s = now_s

    def heard(self) -> None:
        """Something of the kind was done; it need not be what was asked first."""
        self._since_s, self._is_cut_off, self._left = None, False, 0

    def cut_off(self) -> None:
        """The server says itself that it has no majority: there is nothing to wait for."""
        self._is_cut_off = True

    @property
    def well(self) -> bool:
        """Whether something was stored since a server was left."""
        return self._left == 0

    def gives_up(self, now_s: float) -> bool:
        """Say whether to try another server; begins to listen anew if so."""
        patience_s = min(MUTE_MAX_S, MUTE_S * 2**self._left)
        is_mute = self._since_s is not None and now_s - self._since_s > patience_s
        if not is_mute and not (self._is_cut_off and self._left < SERVERS):
            return False
        self._since_s, self._is_cut_off, self._left = None, False, self._left + 1
        return True
