"""One call in a worker's hands, and its execution slot as the call's own code knows it."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from nalar.agents.gathering import Gathering
from nalar.agents.spec import AgentSpec, MethodSpec
from nalar.bus.port import Delivery
from nalar.call_policy import ONCE, Retry
from nalar.calls.results import Notify
from nalar.controllers.living import Living
from nalar.controllers.local_events import Event, Finished, Left, Rejoined, Returned
from nalar.controllers.ranking import NO_TRAITS, Traits
from nalar.ids import FutureId, Ref
from nalar.messages import Invocation, Record
from nalar.statestore.port import LedgerEntry
from nalar.stopping import StopFlag


@dataclass(slots=True, eq=False)
class Held:
    """A call that was delivered here and is not settled yet."""

    invocation: Invocation
    agent: AgentSpec
    #: None for a method that this version of the agent lacks.
    method: MethodSpec | None
    #: The message in the queue; the newest delivery of it, should it have come twice.
    delivery: Delivery
    #: The inbox it came from, `agent/lane`.
    inbox: str
    #: Records of dependencies that have come in.
    resolved: dict[Ref, Record] = field(default_factory=dict[Ref, Record])
    #: Records that it asked for, and how it would be told.
    expected: dict[Ref, Notify] = field(default_factory=dict[Ref, Notify])
    slot: "ExecutionSlot | None" = None
    #: Where it meets the calls that it was started with, if its method gathers them.
    gathering: Gathering | None = None
    #: Calls of an earlier attempt that its last execution did not make again.
    orphans: int = 0
    #: How often its code was started here.
    reruns: int = 0
    #: Records of its children, when they were looked up before it was started.
    recorded: dict[FutureId, LedgerEntry] | None = None
    #: The task that runs it, once it was started.
    task: asyncio.Task[None] | None = None
    #: What tells its code to stop, once that has begun.
    stop_flag: StopFlag | None = None
    #: Stores the end of a call that was started and is to stop; then its code counts no more.
    stopping: asyncio.Task[None] | None = None
    #: What of it is alive here while its code runs.
    living: Living | None = None
    #: Set once it is suspended: for how long its message is handed back, in seconds.
    asleep_s: float | None = None
    #: What its method runs on, once that was made.
    instance: object | None = None
    #: Children whose error stands up to here in the ledger are made again (`Lineage`).
    failed_upto: int = 0
    #: What directives and reports tell it by, and when it came.
    traits: Traits = NO_TRAITS
    arrived_s: float = 0.0
    #: When its code was started, and ended; 0 before.
    started_s: float = 0.0
    ended_s: float = 0.0
    #: When it gave its slot up last.
    left_s: float = 0.0
    #: For how long its code has run, without what it waited for futures: its share, in a batch.
    busy_s: float = 0.0
    failed: bool = True
    #: By model: what its code has reported.
    tokens: dict[str, int] | None = None

    @property
    def key(self) -> str:
        """Names the call in the local controller."""
        return self.invocation.ref.future

    @property
    def spec(self) -> MethodSpec:
        """The method of a call that is to run."""
        assert self.method is not None, "a call of an unknown method is refused, not run"
        return self.method

    @property
    def deadline(self) -> float:
        """When its request is over, at the latest: Unix time."""
        return self.invocation.deadline

    @property
    def sharers(self) -> int:
        """How many calls share its run of the code, itself among them."""
        return 1 if self.gathering is None else self.gathering.size

    def again(self) -> None:
        """Have its code run once more, and alone: what it was based on is no longer true."""
        assert self.slot is not None, "a call that runs has a slot"
        self.slot = self.slot.again()
        if self.gathering is not None:
            self.gathering = Gathering((self.key,))

    @property
    def leaves_when_cancelled(self) -> bool:
        """Whether cancelling its task ends it: a thread can only be told, a batch be left."""
        return self.spec.is_async or self.gathering is not None

    @property
    def suspect(self) -> bool:
        """True when the call may have been finished by an earlier delivery or attempt."""
        invocation = self.invocation
        return self.delivery.deliveries > 1 or invocation.resent or invocation.attempt > 1

    @property
    def stuck(self) -> bool:
        """True when its code was told to stop long ago, and runs."""
        return self.stop_flag is not None and self.stop_flag.stuck

    @property
    def retry(self) -> Retry:
        """How often it is tried: as it says itself, else as its method declares."""
        asked = self.invocation.policy
        if asked is not None and asked.retry is not None:
            return asked.retry
        return ONCE if self.method is None else self.method.retry

    @property
    def timeout_s(self) -> float | None:
        """How long one execution may take."""
        asked = self.invocation.policy
        return self.spec.timeout_s if asked is None or asked.timeout_s is None else asked.timeout_s

    @property
    def start_by(self) -> float:
        """When it must have been started: Unix time.

        Who has been delivered before may have been started: then the deadline alone holds.
        """
        invocation = self.invocation
        asked, limit_s = invocation.policy, self.spec.options.queue_timeout_s
        if asked is not None and asked.queue_timeout_s is not None:
            limit_s = asked.queue_timeout_s
        if limit_s is None or self.delivery.deliveries > 1 or invocation.attempt > 1:
            return invocation.deadline
        return min(invocation.deadline, invocation.created + limit_s)


class Postponed(Exception):
    """The call is to be handed back, for `delay_s` seconds."""

    def __init__(self, delay_s: float) -> None:
        super().__init__(delay_s)
        self.delay_s = delay_s


class ExecutionSlot:
    """The slot of one running call (see `nalar.context.Slot`).

    Branches of the call may wait at the same time, and nobody can tell whether the others work.
    So the slot is free while any of them waits for a future, and is taken again when none does:
    a call that held it while one of its futures needs it would wait for ever.
    """

    def __init__(self, key: str, feed: Callable[[Event], None]) -> None:
        self._key = key
        self._feed = feed
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        #: Branches that wait for a future.
        self._waiting = 0
        #: Set while the call asks for its slot: then no branch waits for a future.
        self._back: asyncio.Future[None] | None = None
        self._over = False

    @property
    def waiting(self) -> bool:
        return self._waiting > 0

    def leave(self) -> None:
        if threading.get_ident() == self._thread:
            self._leave()
        else:
            self._loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        self._waiting += 1
        if self._waiting == 1 and not self._over:
            self._feed(Left(self._key))
            self.resumed()

    async def enter(self) -> None:
        if threading.get_ident() != self._thread:  # Synchronous code with a loop of its own.
            entering = asyncio.run_coroutine_threadsafe(self.enter(), self._loop)
            await asyncio.wrap_future(entering)
            return
        self._waiting -= 1
        if self._waiting or self._over:
            return
        back = self._back = self._loop.create_future()
        self._feed(Returned(self._key))
        try:
            await back
        except BaseException:
            if self._back is back and not self._over:
                self._feed(Rejoined(self._key))
                self._back = None
            raise

    def enter_blocking(self) -> None:
        asyncio.run_coroutine_threadsafe(self.enter(), self._loop).result()

    def rejoin(self) -> None:
        if threading.get_ident() == self._thread:
            self._rejoin()
        else:
            self._loop.call_soon_threadsafe(self._rejoin)

    def _rejoin(self) -> None:
        self._waiting -= 1
        if not self._waiting and not self._over:
            self._feed(Rejoined(self._key))

    def finish(self) -> None:
        """The call's code has finished; only its record is still to be stored."""
        self._over = True
        self._feed(Finished(self._key))
        self.resumed()

    def again(self) -> "ExecutionSlot":
        """The call's code runs once more: what it was based on is no longer true."""
        self._feed(Rejoined(self._key))
        return ExecutionSlot(self._key, self._feed)

    def resumed(self) -> None:
        """Let the branch that asked for the slot go on."""
        back, self._back = self._back, None
        if back is not None and not back.done():
            back.set_result(None)
