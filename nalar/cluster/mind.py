"""One decision from beginning to end: news in, policies asked, their suggestions judged.

Runs in a thread of its own, so that a policy which does not come back stops nothing else.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from nalar.cluster.arbiter import Arbiter, Verdict
from nalar.cluster.bounds import Bounds
from nalar.cluster.containment import Containment, fault_of, suggestions_of
from nalar.cluster.policy import Policy, Suggestion
from nalar.cluster.view import ClusterView
from nalar.cluster.watchdog import Interrupted, Overdue, WatchedThread

#: Something that has become known, put into the view before the next decision.
News = Callable[[ClusterView], None]
#: News that may wait for a decision; beyond, the oldest are lost, and reports are asked for anew.
_NEWS_MAX: Final = 100_000


@dataclass(slots=True)
class Thought:
    """What a decision has come to."""

    verdict: Verdict = field(default_factory=Verdict)
    #: Policies to suspend, and why.
    suspended: dict[str, str] = field(default_factory=dict[str, str])
    #: What it took, in seconds: taking in what is new, and deciding.
    update_s: float = 0.0
    decide_s: float = 0.0


class Mind:
    """Holds the view, and what runs on it."""

    def __init__(self, bounds: Bounds | None = None, *, limit_s: float = 2.0) -> None:
        self.view = ClusterView()
        self.policies: Sequence[tuple[str, Policy]] = ()
        self._arbiter = Arbiter(bounds)
        self._containment = Containment()
        #: What one policy may take for one decision, in seconds.
        self._limit_s = limit_s
        self._thread = WatchedThread("nalar-policies")
        self._news: deque[News] = deque()
        #: News was lost: there was too much of it.
        self.overrun = False
        #: Which policy is at it, and since when.
        self._busy: tuple[str, float] = ("", 0.0)
        #: Counts decisions: one that was given up must not go on beside the next.
        self._number = 0

    @property
    def bounds(self) -> Bounds:
        """What no policy may go beyond."""
        return self._arbiter.bounds

    @bounds.setter
    def bounds(self, bounds: Bounds) -> None:
        self._arbiter.bounds = bounds

    def hear(self, news: News) -> None:
        """Keep something for the next decision."""
        if len(self._news) >= _NEWS_MAX:
            self._news.popleft()
            self.overrun = True
        self._news.append(news)

    async def think(self, now_s: float, *, decide: bool = True) -> Thought:
        """Take in what is new, and unless told otherwise decide."""
        thought, faults = Thought(), dict[str, str]()
        self._busy = ("", time.perf_counter())
        self._number += 1
        try:
            await self._thread.run(
                lambda: self._think(now_s, thought, faults, decide=decide), self._left_s
            )
        except Overdue:
            policy, _ = self._busy
            faults = {policy: f"did not come back within {self._limit_s:g} s"}
            thought = Thought()
        thought.suspended = self._containment.suspended(faults, thought.verdict)
        thought.suspended.pop("", None)
        return thought

    def close(self) -> None:
        """Let the thread end."""
        self._thread.close()

    def _left_s(self) -> float:
        return self._busy[1] + self._limit_s - time.perf_counter()

    def _think(
        self, now_s: float, thought: Thought, faults: dict[str, str], *, decide: bool
    ) -> None:
        """Do it: in the thread."""
        begun_s = time.perf_counter()
        self.view.now_s = now_s
        for _ in range(len(self._news)):
            self._news.popleft()(self.view)
            self._busy = ("", time.perf_counter())
        thought.update_s = time.perf_counter() - begun_s
        if not decide:
            self.view.settle()
            return
        asked: list[tuple[str, list[Suggestion]]] = []
        number = self._number
        for name, policy in tuple(self.policies):
            asked.append((name, self._asked(name, policy, faults)))
            if number != self._number:
                raise Interrupted
        self._busy = ("", time.perf_counter())
        thought.verdict = self._arbiter.judge(self.view, asked)
        self.view.settle()
        thought.decide_s = time.perf_counter() - begun_s - thought.update_s

    def _asked(self, name: str, policy: Policy, faults: dict[str, str]) -> list[Suggestion]:
        """Return what a policy suggests, as far as anybody would read it."""
        self._busy = (name, time.perf_counter())
        try:
            return suggestions_of(policy, self.view, self.bounds.suggestions_max + 1)
        except Interrupted:
            raise
        except BaseException as error:  # noqa: BLE001 -- contained, whatever it is
            faults[name] = fault_of(error)
            return []
