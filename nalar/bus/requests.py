"""Requests to the server: one inbox, a token that tells replies apart, one sweep for all timeouts.

Without a connection, requests that may be sent twice wait for the next one; the others fail at
once as unanswered, so that their owners look for themselves.
"""

import asyncio
import itertools
import secrets
from collections.abc import Callable
from typing import Any, Final

from nalar.bus.connection import Connection
from nalar.bus.hearing import Hearing
from nalar.bus.replies import NoResponders, Unanswered, status_of
from nalar.bus.waiter import Waiter
from nalar.errors import NalarError

#: How often timeouts are looked for.
SWEEP_S: Final = 0.25
#: A server of a cluster may die without our connection being lost, and what it was to answer is
#: then never answered: after this silence it is asked again, or counts as unknown where it may
#: not be. Leaders are elected in four to eight seconds.
SILENCE_S: Final = 2.5
UNKNOWN_S: Final = 5.0

_CRLF = b"\r\n"


class Requests:
    """What was asked over one link and not answered yet. On its event loop only."""

    def __init__(self, explain: Callable[[], str]) -> None:
        #: Says what went wrong with the connection last.
        self._explain = explain
        self._loop = asyncio.get_running_loop()
        self._tokens = itertools.count(1)
        self.inbox = f"_INBOX.{secrets.token_hex(11)}."
        self._inbox_length = len(self.inbox)
        self._waiting: dict[bytes, Waiter] = {}
        self._parked: dict[Waiter, None] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._connection: Connection | None = None
        self._clustered = False
        self._closed = False
        self.hearing = Hearing()

    def new_inbox(self) -> str:
        """Return a subject of our own, outside the requests' inbox."""
        return f"{self.inbox}pull.{next(self._tokens)}"

    def request(self, waiter: Waiter, timeout_s: float) -> asyncio.Future[Any]:
        """Send at once, in the order of the calls; the future ends as the waiter does."""
        if self._clustered and not waiter.resends:
            timeout_s = min(timeout_s, UNKNOWN_S)
        waiter.deadline = self._loop.time() + timeout_s
        if self._closed:
            waiter.fail(Unanswered(f"{waiter.subject}: this connection is closed"))
        elif self._connection is not None and self._connection.alive:
            self._send(waiter, self._connection)
        elif waiter.resends:
            self._parked[waiter] = None
        else:
            waiter.fail(self._unanswered(waiter, "there is no connection"))
        if self._sweeping is None and not self._closed:
            self._sweeping = self._loop.call_later(SWEEP_S, self._sweep)
        return waiter.future

    def again(self, waiter: Waiter) -> None:
        """Send a waiter that nobody took once more, within its first deadline."""
        if not waiter.future.done():
            self.request(waiter, max(0.0, waiter.deadline - self._loop.time()))

    # The connection comes and goes.

    def stand(self, connection: Connection, *, clustered: bool) -> None:
        """Ask over `connection` from now on, first of all what has waited for one."""
        self._connection, self._clustered = connection, clustered
        parked, self._parked = self._parked, {}
        for waiter in parked:
            if not waiter.future.done():
                if waiter.token:
                    waiter.before_resend()
                self._send(waiter, connection)

    def lost(self) -> None:
        """The connection is gone, and with it every answer that was on its way."""
        self._connection = None
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting.values():
            if waiter.resends:
                self._parked[waiter] = None
            else:
                waiter.fail(self._unanswered(waiter, "the connection was lost"))

    def close(self) -> None:
        """Ask nothing more; what still waits fails."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        for waiter in (*self._waiting.values(), *self._parked):
            waiter.fail(Unanswered(f"{waiter.subject}: this connection was closed"))
        self._waiting.clear()
        self._parked.clear()

    # One request.

    def _send(self, waiter: Waiter, connection: Connection) -> None:
        try:
            connection.check_size(len(waiter.headers or b"") + len(waiter.body))
        except NalarError as error:
            waiter.fail(error)
            return
        waiter.asked_at = self._loop.time()
        if waiter.stores:
            self.hearing.asked(waiter.asked_at)
        waiter.token = b"%d" % next(self._tokens)
        self._waiting[waiter.token] = waiter
        reply = f"{self.inbox}{waiter.token.decode()}"
        if waiter.headers is None:
            line = f"PUB {waiter.subject} {reply} {len(waiter.body)}\r\n".encode()
            connection.write(line, waiter.body, _CRLF)
        else:
            size = len(waiter.headers)
            total = size + len(waiter.body)
            line = f"HPUB {waiter.subject} {reply} {size} {total}\r\n".encode()
            connection.write(line, waiter.headers, waiter.body, _CRLF)

    def replied(self, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        """Give a reply to whoever waits for it."""
        del reply
        token = subject[self._inbox_length :]
        waiter = self._waiting.get(token)
        if waiter is None:
            return
        try:
            if headers is not None and not data and status_of(headers) == 503:  # noqa: PLR2004
                raise NoResponders(f"nobody answers {waiter.subject}")
            last = waiter.accept(headers, data)
        except NalarError as error:
            self._waiting.pop(token, None)
            waiter.fail(error)
            return
        if waiter.stores:
            self.hearing.heard()
        if last:
            self._waiting.pop(token, None)
        else:
            waiter.asked_at = self._loop.time()

    def _sweep(self) -> None:
        """Fail what has waited too long, and ask a silent cluster again; while anything waits."""
        self._sweeping = None
        now = self._loop.time()
        late = [waiter for waiter in self._waiting.values() if waiter.deadline <= now]
        for waiter in late:
            self._waiting.pop(waiter.token, None)
        late += [waiter for waiter in self._parked if waiter.deadline <= now]
        for waiter in late:
            self._parked.pop(waiter, None)
            waiter.fail(self._unanswered(waiter, "no answer in time"))
        connection = self._connection
        if self._clustered and connection is not None and connection.alive:
            self._ask_again(connection, now - SILENCE_S)
        if self._waiting or self._parked:
            self._sweeping = self._loop.call_later(SWEEP_S, self._sweep)

    def _ask_again(self, connection: Connection, silent_since: float) -> None:
        """Send again what may be, and has not been answered since then."""
        silent = [it for it in self._waiting.values() if it.asked_at <= silent_since and it.resends]
        for waiter in silent:
            del self._waiting[waiter.token]
            waiter.before_resend()
            self._send(waiter, connection)

    def _unanswered(self, waiter: Waiter, why: str) -> Unanswered:
        last = self._explain()
        said = f"; last errors: {last}" if last else ""
        return Unanswered(f"{waiter.subject}: {why}{said}")
