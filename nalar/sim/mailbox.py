"""A lane of an agent's queue as the server keeps it: messages, and asks that are open. Pure."""

from collections import deque
from dataclasses import dataclass, field

from nalar.bus.subjects import LEVELS
from nalar.sim.invocation import Invocation


@dataclass(slots=True)
class _Ask:
    worker: str
    count: int


@dataclass(slots=True)
class Mailbox:
    """First in, first out; the asks of the idlest go first, in turns, as at a pull consumer."""

    name: str
    rank: int
    private: bool = False
    agent: str = ""
    waiting: deque[Invocation] = field(default_factory=deque[Invocation])
    #: By the level that was said.
    _asks: tuple[deque[_Ask], ...] = field(
        default_factory=lambda: tuple(deque[_Ask]() for _ in range(LEVELS))
    )

    def ask(self, worker: str, count: int, level: int) -> list[tuple[str, Invocation]]:
        """Ask for messages; return what is delivered now, and to whom."""
        self._asks[level].append(_Ask(worker, count))
        return self._deliver()

    def put(self, invocation: Invocation) -> list[tuple[str, Invocation]]:
        """Take a message in; return what is delivered now, and to whom."""
        self.waiting.append(invocation)
        return self._deliver()

    def leave(self, worker: str) -> None:
        """Forget what a worker has asked for."""
        self._asks = tuple(
            deque(ask for ask in asks if ask.worker != worker) for asks in self._asks
        )

    def _deliver(self) -> list[tuple[str, Invocation]]:
        delivered: list[tuple[str, Invocation]] = []
        for asks in self._asks:
            while self.waiting and asks:
                ask = asks.popleft()
                delivered.append((ask.worker, self.waiting.popleft()))
                ask.count -= 1
                if ask.count:
                    asks.append(ask)
        return delivered
