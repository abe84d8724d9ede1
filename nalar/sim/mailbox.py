"""A lane of an agent's queue as the server keeps it: messages, and asks that are open. Pure."""

from collections import deque
from dataclasses import dataclass, field

from nalar.sim.invocation import Invocation


@dataclass(slots=True)
class _Ask:
    worker: str
    count: int


@dataclass(slots=True)
class Mailbox:
    """First in, first out; asks take turns, as those at a pull consumer do."""

    name: str
    rank: int
    private: bool = False
    agent: str = ""
    waiting: deque[Invocation] = field(default_factory=deque[Invocation])
    _asks: deque[_Ask] = field(default_factory=deque[_Ask])

    def ask(self, worker: str, count: int) -> list[tuple[str, Invocation]]:
        """Ask for messages; return what is delivered now, and to whom."""
        self._asks.append(_Ask(worker, count))
        return self._deliver()

    def put(self, invocation: Invocation) -> list[tuple[str, Invocation]]:
        """Take a message in; return what is delivered now, and to whom."""
        self.waiting.append(invocation)
        return self._deliver()

    def leave(self, worker: str) -> None:
        """Forget what a worker has asked for."""
        self._asks = deque(ask for ask in self._asks if ask.worker != worker)

    def _deliver(self) -> list[tuple[str, Invocation]]:
        delivered: list[tuple[str, Invocation]] = []
        while self.waiting and self._asks:
            ask = self._asks.popleft()
            delivered.append((ask.worker, self.waiting.popleft()))
            ask.count -= 1
            if ask.count:
                self._asks.append(ask)
        return delivered
