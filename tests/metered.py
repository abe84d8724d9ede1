"""A local controller with its meter, driven by hand."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from nalar.call_policy import Batch
from nalar.controllers.local_events import (
    Arrived,
    Ended,
    Event,
    Finished,
)
from nalar.controllers.local_state import LocalState
from nalar.controllers.meter import Meter
from nalar.controllers.ranking import Traits
from nalar.ids import AgentName, FutureId, Ref, RootId, SessionId, WorkerId
from nalar.reports import Report

DESK, ONE = AgentName("Desk"), WorkerId("one")
THREE = Batch(size=3, linger_s=60.0)


def ref(name: str) -> Ref:
    return Ref("r", DESK, SessionId("_"), RootId("root"), "parent", FutureId(name))


@dataclass(frozen=True)
class Call:
    """A call that waited for a second, and has ended."""

    traits: Traits
    failed: bool
    ended_s: float
    busy_s: float
    deadline: float = 900.0
    arrived_s: float = 1.0
    started_s: float = 2.0
    tokens: dict[str, int] | None = field(default_factory=lambda: {"small": 7})


class Metered:
    """A local controller with its meter, and what a listener makes of its reports."""

    def __init__(
        self, concurrency: int = 1, *, kept_s: float = 60.0, kept_max: int = 1000,
        detailed_after_s: float = 0.0,
    ) -> None:  # fmt: skip
        self.state = LocalState(concurrency, metered=True)
        self.meter = Meter(
            ONE, concurrency, requests_kept_s=kept_s, requests_kept_max=kept_max,
            detailed_after_s=detailed_after_s,
        )  # fmt: skip
        self.meter.serve(DESK)
        self.now_s = 0.0

    def arrive(
        self, key: str, *, session: str = "", root: str = "", missing: Iterable[str] = (),
        batch: Batch | None = None,
    ) -> None:  # fmt: skip
        self.now_s += 1
        self.do(Arrived(
            key, session or None, 0, 1e6, frozenset(map(ref, missing)), None, self.now_s, 900.0,
            Traits(DESK, session, root or key, "acme", depth=1 if root else 0, method="work"),
            3 if session else None, batch,
        ))  # fmt: skip

    def do(self, *events: Event) -> None:
        for event in events:
            self.state.handle(event)

    def end(self, key: str, *, root: str = "", busy_s: float = 2.0, failed: bool = False) -> None:
        traits = Traits(DESK, "", root or key, "acme", depth=1 if root else 0, method="work")
        call = Call(traits, failed, ended_s=self.now_s, busy_s=busy_s)
        self.meter.ended(call, whole=not root)
        self.do(Finished(key), Ended(key))

    @property
    def changed(self) -> bool:
        return self.state.has_moved or self.meter.changed

    def report(self, *, full: bool = False) -> Report:
        self.meter.count(self.state.moved(), self.now_s)
        return self.meter.report(self.now_s, slots={DESK: [3]}, full=full)
