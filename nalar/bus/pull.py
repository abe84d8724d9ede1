"""One lane as a worker pulls from it: a long-lived inbox with overlapping requests.

The server counts down each request; we keep one sum. What it gives up on comes back as a status
message, or shows in its silence: then the sum is taken back and the asker told.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from nalar.bus import subjects
from nalar.bus.codec import decode_invocation
from nalar.bus.link import Link
from nalar.bus.port import Delivery
from nalar.bus.replies import number_of, status_of
from nalar.errors import InvalidToken, MalformedMessage
from nalar.messages import Invocation

#: How long a request for messages stands at the server.
EXPIRES_S: Final = 30.0
#: How often the server shows that it remembers a request that it cannot fill.
HEARTBEAT_S: Final = 4.0
#: After this silence the server has forgotten our requests (leader change, lost consumer).
SILENCE_S: Final = 2.5 * HEARTBEAT_S
#: Pause before the asker hears of a refusal, so that it does not ask in a tight loop.
REFUSAL_PAUSE_S: Final = 0.25
#: How long `close` waits for what is on its way.
CLOSE_S: Final = 2.0

#: Starts the lease of a message anew; said to what names it.
EXTEND: Final = b"+WPI"
#: Has the message delivered again at once, also one that was handed back for a while.
HAND_BACK: Final = b"-NAK"

_HEARTBEAT, _NO_MESSAGES, _EXPIRED = 100, 404, 408
_MISFIT, _CONFLICT, _NOBODY = 400, 409, 503
_NANOSECONDS = 1_000_000_000
_REQUEST: Final = b'{"batch":%%d,"expires":%d,"idle_heartbeat":%d,"group":"%s","priority":%%d}' % (
    EXPIRES_S * _NANOSECONDS, HEARTBEAT_S * _NANOSECONDS, subjects.ASK_GROUP.encode(),
)  # fmt: skip
#: A message rests for so long at the most before it is looked at again, in seconds.
DELAY_MAX_S: Final = 86_400.0


class JetStreamDelivery:
    """`bus.port.Delivery` on JetStream; its verbs are words to the message's ack subject."""

    __slots__ = ("_link", "_settled", "backlog", "content", "deliveries", "lane", "lease", "raw")

    def __init__(
        self, link: Link, ack: bytes, lane: str, raw: bytes, content: Invocation | MalformedMessage
    ) -> None:
        self._link = link
        self.lease = ack
        self._settled = False
        self.content = content
        self.raw = raw
        self.lane = lane
        self.deliveries, self.backlog = subjects.parse_ack_subject(ack)

    def ack(self) -> None:
        self._say(b"+ACK", final=True)

    def hand_back(self, delay_s: float = 0.0) -> None:
        # A number that the server cannot read would have it delivered again at once.
        delay_s = min(delay_s, DELAY_MAX_S)
        delay = b' {"delay": %d}' % int(delay_s * _NANOSECONDS) if delay_s > 0 else b""
        self._say(HAND_BACK + delay, final=True)

    def extend(self) -> None:
        self._say(EXTEND, final=False)

    def terminate(self, reason: str) -> None:
        line = " ".join(reason.split())[:400]
        self._say(b"+TERM " + line.encode("utf-8", "replace"), final=True)

    def _say(self, word: bytes, *, final: bool) -> None:
        if not self._settled:
            self._settled = final
            self._link.signal(self.lease, word)


class JetStreamInbox:
    """`bus.port.Inbox` on JetStream."""

    def __init__(
        self,
        link: Link,
        stream: str,
        lane: str,
        deliver: Callable[[Delivery], None],
        lapsed: Callable[[int], None],
        mend: Callable[[], None],
    ) -> None:
        self._link = link
        self._lane = lane
        self._deliver = deliver
        self._lapsed = lapsed
        #: Has the lane's consumer made again; called when nobody answers for it.
        self._mend = mend
        self._loop = asyncio.get_running_loop()
        self._next = subjects.api_consumer_next(stream, subjects.lane_durable(lane))
        self._reply = link.new_inbox()
        #: Asked for by the worker, not yet sent to the server: by level.
        self._wanted: dict[int, int] = {}
        #: Sent to the server and neither delivered nor given up.
        self._asked = 0
        self._sending = False
        self._open = True
        self._heard = 0.0
        self._watchdog: asyncio.TimerHandle | None = None
        self._sid = link.subscribe(self._reply, self._received)
        self._forget_reconnect = link.on_reconnect(self._reconnected)

    def request(self, count: int, level: int = 0) -> None:
        if self._open and count > 0:
            self._wanted[level] = self._wanted.get(level, 0) + count
            self._send_soon()

    async def close(self) -> None:
        """What still arrives is given back, so that nobody waits a whole lease for it."""
        if not self._open:
            return
        self._open = False
        self._forget_reconnect()
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._link.stop(self._sid)
        await self._link.flush(CLOSE_S)
        self._link.unsubscribe(self._sid)

    def _send_soon(self) -> None:
        """Send one request a level for all that is wanted in this loop tick."""
        if not self._sending and self._wanted:
            self._sending = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        self._sending = False
        if not self._open:
            return
        for level, count in list(self._wanted.items()):
            if not self._link.ask(self._next, self._reply, _REQUEST % (count, level)):
                return
            self._asked += count
            del self._wanted[level]
            self._heard = self._loop.time()
            if self._watchdog is None:
                self._watchdog = self._loop.call_later(SILENCE_S, self._check_silence)

    def _received(
        self, subject: bytes, reply: bytes, payload: bytes, headers: bytes | None
    ) -> None:
        self._heard = self._loop.time()
        if not reply:
            self._heed_status(headers)
            return
        raw = payload if headers is None else headers + payload
        try:
            content = decode_invocation(subject.decode(), headers, payload)
        except MalformedMessage as error:
            content = error
        except UnicodeDecodeError:
            content = MalformedMessage("the subject is not UTF-8")
        try:
            delivery = JetStreamDelivery(self._link, reply, self._lane, raw, content)
        except InvalidToken:
            return  # Not from a consumer: somebody wrote into our inbox.
        if not self._open:
            delivery.hand_back()
            return
        if self._asked:
            self._asked -= 1
        self._deliver(delivery)

    def _heed_status(self, headers: bytes | None) -> None:
        status = status_of(headers)
        if status == _HEARTBEAT or headers is None:
            return
        left = number_of(headers, b"Nats-Pending-Messages")
        if status in (_EXPIRED, _NO_MESSAGES) or left is not None:
            self._lapse(left if left is not None else self._asked)
        elif status in (_MISFIT, _CONFLICT, _NOBODY):
            # The consumer or its leader is gone, it was made otherwise, or too many wait: all our
            # requests are void.
            if status != _CONFLICT or b"onsumer" in headers:
                self._mend()
            self._loop.call_later(REFUSAL_PAUSE_S, self._lapse, self._asked)

    def _lapse(self, count: int) -> None:
        count = min(count, self._asked)
        self._asked -= count
        if count and self._open:
            self._lapsed(count)

    def _check_silence(self) -> None:
        self._watchdog = None
        if not self._open or not self._asked:
            return
        left_s = self._heard + SILENCE_S - self._loop.time()
        if left_s <= 0 and self._link.connected:
            self._lapse(self._asked)
        if self._asked:
            self._watchdog = self._loop.call_later(
                max(left_s, REFUSAL_PAUSE_S), self._check_silence
            )

    def _reconnected(self) -> None:
        """The server forgot what was asked over the lost connection."""
        self._lapse(self._asked)
        self._send_soon()
