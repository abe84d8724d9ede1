"""One simulated connection: in order both ways, slow, and breakable like the real one.

Behaves at its ends as `nalar.bus.link` does: requests that may be sent twice wait for the next
connection, the others fail as unanswered; words that nobody answers are kept; the server forgets
subscriptions and what was asked of lanes. What is on its way when the connection is lost may
still be done, once the sender has long looked elsewhere.
"""

import asyncio
import contextvars
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, cast

from nalar.errors import NalarError
from tests.simulation.processes import Process
from tests.simulation.weather import Weather, latency_s

#: Later than anything else that is due at the same time, in seconds.
_AFTER_S = 1e-6


@dataclass(eq=False, slots=True)
class Request:
    """One question to the broker and whoever waits for its answer."""

    name: str
    #: Does it at the broker; told whether an earlier copy of it may have been done.
    act: Callable[[bool], Awaitable[Any]]
    #: Makes the error for "no clear answer".
    unanswered: Callable[[str], NalarError]
    resends: bool
    future: asyncio.Future[Any]
    timer: asyncio.TimerHandle | None = None
    sent: bool = False

    def fail(self, why: str) -> None:
        if not self.future.done():
            self.future.set_exception(self.unanswered(f"{self.name}: {why}"))


@dataclass(slots=True)
class Sky:
    """What all connections of a simulation share."""

    #: The context of the world around the processes.
    context: contextvars.Context
    chance: random.Random
    weather: Weather
    note: Callable[[str, str], None]
    #: Makes a fault happen for certain, whatever the weather: (fault, what it is about).
    forced: Callable[[str, str], bool] = lambda _fault, _about: False
    #: How often each fault was met.
    met: dict[str, int] = field(default_factory=dict[str, int])

    def strikes(self, fault: str, about: str = "") -> bool:
        """Say whether the fault befalls the message `about` something now."""
        odds: float = getattr(self.weather, fault)
        if not self.forced(fault, about) and (odds <= 0.0 or self.chance.random() >= odds):
            return False
        self.meet(fault)
        return True

    def meet(self, fault: str) -> None:
        """Count a fault."""
        self.met[fault] = self.met.get(fault, 0) + 1


class Wire:
    """The connection of one process to the broker."""

    def __init__(self, process: Process, sky: Sky, timeout_s: float) -> None:
        self.process = process
        self.sky = sky
        #: What the process believes; it learns of a loss later than it happens.
        self.connected = True
        self.closed = False
        self._up = True
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._epoch = 0
        #: Messages of older connections than this are lost even if they were on their way.
        self._oldest = 0
        self._held_until_s = 0.0
        self._out_at_s = self._in_at_s = 0.0
        self._waiting: dict[Request, None] = {}
        self._parked: dict[Request, None] = {}
        self._words: list[Callable[[], None]] = []
        #: Called at the broker when the connection is lost.
        self.on_lost: list[Callable[[], None]] = []
        #: Called in the process when it stands again, before and after what waited is sent.
        self.on_stand: list[Callable[[], None]] = []
        self.on_reconnect: list[Callable[[], None]] = []

    # What the process does.

    def request(
        self,
        name: str,
        act: Callable[[bool], Awaitable[Any]],
        unanswered: Callable[[str], NalarError],
        *,
        resends: bool,
    ) -> asyncio.Future[Any]:
        """Ask the broker at once, in the order of the calls."""
        request = Request(name, act, unanswered, resends, self._loop.create_future())
        if self.closed:
            request.fail("this connection is closed")
        elif self.connected:
            self._ask(request)
        elif resends:
            self._parked[request] = None
        else:
            request.fail("there is no connection")
        if not request.future.done():
            request.timer = self._loop.call_later(self._timeout_s, self._give_up, request)
        return request.future

    def tell(self, act: Callable[[], None], *, lasting: bool = True) -> None:
        """Send a word that nobody answers; kept for the next connection if need be.

        One that is not `lasting` means something on this very connection only.
        """
        if self.connected and not self.closed:
            self._send(lambda epoch: act() if lasting or self._stands(epoch) else None)
        elif lasting and not self.closed:
            self._words.append(act)

    def note(self, text: str) -> None:
        """Put a line into the simulation's trace."""
        self.sky.note(self.process.name, text)

    def _stands(self, epoch: int) -> bool:
        return self._up and epoch == self._epoch

    def _ask(self, request: Request) -> None:
        self._waiting[request] = None
        again, request.sent = request.sent, True
        if self.sky.strikes("request_lost", request.name):
            return
        late_s = self.sky.chance.uniform(0.5, 2.0) * self._timeout_s
        self._send(
            lambda epoch: self._do(request, epoch, again=again),
            delay_s=late_s if self.sky.strikes("late", request.name) else None,
        )

    def _send(self, act: Callable[[int], None], delay_s: float | None = None) -> None:
        """Have `act(epoch)` done at the broker when the message arrives there, if it does."""
        if not self._up:
            return
        epoch, now_s = self._epoch, self._loop.time()
        at_s = max(now_s + self._latency_s(), self._out_at_s + _AFTER_S, self._held_until_s)
        if delay_s is None:
            self._out_at_s = at_s
        else:
            at_s = now_s + delay_s
        self._at_broker(at_s, lambda: act(epoch) if epoch >= self._oldest else None)

    def _at_broker(self, at_s: float, act: Callable[[], None]) -> None:
        self._loop.call_at(at_s, act, context=self.sky.context)

    def _latency_s(self) -> float:
        return latency_s(self.sky.chance, self.sky.weather)

    def _give_up(self, request: Request) -> None:
        self._waiting.pop(request, None)
        self._parked.pop(request, None)
        request.fail("no answer in time")

    # What the broker does.

    def _do(self, request: Request, epoch: int, *, again: bool) -> None:
        def done(answer: asyncio.Future[Any]) -> None:
            if not self.sky.strikes("reply_lost", request.name):
                self.deliver(lambda: self._answered(request, answer), epoch=epoch)
            answer.exception()  # Looked at, even where nobody hears of it.

        at_once(request.act(again)).add_done_callback(done, context=self.sky.context)

    def deliver(self, act: Callable[[], None], *, epoch: int | None = None) -> bool:
        """Have `act` done in the process when the message arrives there, if it does."""
        sent = self._epoch if epoch is None else epoch
        if not self._stands(sent):
            return False
        at_s = self._loop.time() + self._latency_s()
        self._in_at_s = at_s = max(at_s, self._in_at_s + _AFTER_S, self._held_until_s)

        def arrive() -> None:
            if sent == self._epoch and not self.closed:
                act()

        self._loop.call_at(at_s, arrive, context=self.process.context)
        return True

    def _answered(self, request: Request, answer: asyncio.Future[Any]) -> None:
        if self._waiting.pop(request, self) is self or request.future.done():
            return
        if request.timer is not None:
            request.timer.cancel()
        error = answer.exception()
        if error is not None:
            request.future.set_exception(error)
        else:
            request.future.set_result(answer.result())

    # What befalls it. Called by the world.

    def stall(self, seconds: float) -> None:
        """Hold everything up, both ways; nothing is lost."""
        self._held_until_s = max(self._held_until_s, self._loop.time() + seconds)

    def cut(self, notice_s: float, down_s: float) -> None:
        """Lose the connection; the process notices after a while, and connects again later."""
        if not self._up or self.closed:
            return
        self._lose()
        self._loop.call_later(notice_s, self._noticed, context=self.process.context)
        self._at_broker(self._loop.time() + notice_s + down_s, self._mended)

    def end(self) -> None:
        """The process is gone: so is its connection."""
        self.closed = True
        if self._up:
            self._lose()

    def _lose(self) -> None:
        self._up = False
        self._epoch += 1
        if self.sky.chance.random() < 0.5:
            self._oldest = self._epoch
        self._forgotten()

    def _noticed(self) -> None:
        self.connected = False
        waiting, self._waiting = self._waiting, {}
        for request in waiting:
            if request.resends:
                self._parked[request] = None
            else:
                request.fail("the connection was lost")

    def _mended(self) -> None:
        # The process connects again, which it only can when it runs.
        self._loop.call_soon(self._stand, context=self.process.context)

    def _stand(self) -> None:
        if self.closed:
            return
        self._up = self.connected = True
        self._out_at_s = self._in_at_s = self._loop.time()
        for stand in tuple(self.on_stand):
            stand()
        words, self._words = self._words, []
        for word in words:
            self.tell(word)
        parked, self._parked = self._parked, {}
        for request in parked:
            if not request.future.done():
                self._ask(request)
        for notify in tuple(self.on_reconnect):
            notify()

    def close(self) -> None:
        """Close in good order: what was sent still arrives, what waits fails."""
        self.closed = True
        for request in (*self._waiting, *self._parked):
            if request.timer is not None:
                request.timer.cancel()
            request.fail("this connection was closed")
        self._waiting.clear()
        self._parked.clear()
        self._send(lambda _: self._forgotten())

    def _forgotten(self) -> None:
        for lost in self.on_lost:
            lost()


def at_once(act: Awaitable[Any]) -> asyncio.Future[Any]:
    """Do what the broker in memory does without ever waiting, and return its outcome."""
    if isinstance(act, asyncio.Future):
        return act
    outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    try:
        cast("Coroutine[Any, Any, Any]", act).send(None)
    except StopIteration as stop:
        outcome.set_result(stop.value)
    except NalarError as error:
        outcome.set_exception(error)
    else:
        raise AssertionError("the broker in memory waits for something")
    return outcome
