"""The lasting link to the server: requests, subscriptions, and a new connection for a lost one.

A connection is lost when it ends, or when its server has been cut off from its cluster.
"""

import asyncio
import contextlib
import itertools
import logging
import random
from collections.abc import Callable
from typing import Any, ClassVar, Final

from nalar.bus.connection import Connection, Handler, retrieved
from nalar.bus.hearing import Hearing
from nalar.bus.replies import (
    STREAM_NOT_FOUND,
    ApiError,
    check_server,
    hears_most_copies,
    parse_api,
)
from nalar.bus.requests import Requests
from nalar.bus.subjects import LEDGER_BUCKET, api_stream, bucket_stream
from nalar.bus.waiter import Waiter
from nalar.errors import Unavailable
from nalar.settings import Settings, without_secrets

log = logging.getLogger("nalar.link")

#: First and longest pause between attempts to connect again; each is drawn below it.
RECONNECT_S: Final = 0.05
RECONNECT_MAX_S: Final = 1.0
#: Longest single attempt, so that a server that does not answer cannot hold up the others.
ATTEMPT_S: Final = 2.0
#: How often a server of a cluster is asked for a sign of life, when it has given none, in seconds.
PROBE_S: Final = 2.5
#: Acks kept while there is no connection; what is beyond is delivered again, which is harmless.
ACKS_KEPT: Final = 10_000

_CRLF = b"\r\n"


class Link:
    """What everything else of the adapter talks through. Owned by one backend, one event loop."""

    def __init__(
        self, settings: Settings, chance: random.Random | None = None, *, aside: bool = False
    ) -> None:
        self._settings = settings
        #: Beside the process's main link, which says already that the server went and came.
        self._say = log.debug if aside else log.warning
        self._chance = chance or random.Random()  # noqa: S311 -- jitter, not secrets
        self._loop = asyncio.get_running_loop()
        self._handlers: dict[int, Handler] = {}
        self._subjects: dict[int, str] = {}
        self._sids = itertools.count(1)
        self._requests = Requests(self._explain)
        self._acks: list[bytes] = []
        self._connection: Connection | None = None
        self._on_reconnect: list[Callable[[], None]] = []
        self._supervisor: asyncio.Task[None] | None = None
        self._urls = settings.addresses
        #: Where else the cluster was, by the word of its server that was lost last.
        self._told: list[str] = []
        #: Where the newest connection goes, or went.
        self._url = ""
        #: Where servers were left since something was stored: the others come first.
        self._left: list[str] = []
        self._server: dict[str, Any] = {}
        self._last_errors: list[str] = []
        self.losses = 0
        #: For how long the server was away the last time, in seconds.
        self._away_s = 0.0
        self.closed = False

    # Opening and closing.

    async def open(self) -> None:
        """Connect for the first time, within `connect_timeout_s`.

        Raises Unavailable or UnsupportedServer with what was tried.
        """
        limit_s = self._settings.connect_timeout_s
        until = self._loop.time() + limit_s
        self._subscribe(self._requests.inbox + "*", self._requests.replied)
        pause_s = RECONNECT_S
        while True:
            left_s = until - self._loop.time()
            try:
                connection = await self._connect(min(left_s, ATTEMPT_S))
                break
            except Unavailable as error:
                if _is_final(str(error)) or self._loop.time() + pause_s >= until:
                    raise Unavailable(
                        f"no NATS server at {self._shown_urls}, tried for "
                        f"{limit_s - max(0.0, until - self._loop.time()):.1f} s: {error}"
                    ) from error
            await asyncio.sleep(pause_s)
            pause_s = min(RECONNECT_MAX_S, pause_s * 2)
        self._server = connection.server
        try:
            check_server(self._server, connection.url)
        except Unavailable:
            await connection.close()
            raise
        self._stand(connection)
        self._supervisor = self._loop.create_task(self._supervise(), name="nalar-link")

    async def close(self) -> None:
        """Send what is pending and close; what still waits fails. Safe to call twice."""
        self.closed = True
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
            self._supervisor = None
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.flush(1.0)
            await connection.close()
        self._requests.close()

    async def _connect(self, timeout_s: float) -> Connection:
        connection = Connection(self._handlers)
        try:
            urls = list(dict.fromkeys(self._urls + self._told))
            for left in (self._left, self._left[-1:]):  # Should the others be gone, any will do.
                if others := [url for url in urls if _place(url) not in left]:
                    urls = others
                    break
            await connection.open(self._settings, urls, max(0.05, timeout_s))
        finally:
            self._last_errors += connection.errors
            del self._last_errors[:-3]
        return connection

    def _stand(self, connection: Connection) -> None:
        self._connection = connection
        self._url = connection.url
        for sid, subject in self._subjects.items():
            connection.write(f"SUB {subject} {sid}\r\n".encode())
        if self._acks:
            connection.write(*self._acks)
            self._acks.clear()
        self._requests.stand(connection, clustered=self.clustered)

    async def _supervise(self) -> None:
        """Make a new connection for each one that is lost; until cancelled.

        Says so in one line each for the loss and the return, however many attempts it takes.
        """
        while True:
            assert self._connection is not None, "the first connection stands"
            connection = self._connection
            await self._watched(connection)
            connection.discard()
            self._lost(connection)
            lost_at = self._loop.time()
            self._say("lost the server at %s; trying again until it is back", self._url)
            self._stand(await self._reconnect())
            self.losses += 1
            self._away_s = self._loop.time() - lost_at
            self._say("the server at %s is back after %.1f s", self._url, self._away_s)
            self._announce()

    async def _watched(self, connection: Connection) -> None:
        """Wait until a connection ends, or leads to a server that its cluster is without."""
        hearing = self._requests.hearing
        while self.clustered:
            self._requests.request(_Probe(hearing), PROBE_S).add_done_callback(retrieved)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_S):
                    return await connection.ended()
            if hearing.well:
                self._left.clear()
            if hearing.gives_up(self._loop.time()):
                self._say("the server at %s stores nothing: trying another one", self._url)
                self._left.append(_place(self._url))
                return None
        return await connection.ended()

    def _announce(self) -> None:
        """Tell of the new connection; a listener that raises must not end the supervision."""
        for notify in tuple(self._on_reconnect):
            try:
                notify()
            except Exception as error:  # noqa: BLE001 -- reported; the others must hear of it
                self._loop.call_exception_handler(
                    {"message": "a listener to the connection", "exception": error}
                )

    def _lost(self, connection: Connection) -> None:
        self._last_errors += connection.errors
        del self._last_errors[:-3]
        self._told = connection.told
        self._connection = None
        self._requests.lost()

    async def _reconnect(self) -> Connection:
        pause_s = RECONNECT_S
        while True:
            await asyncio.sleep(self._chance.uniform(pause_s / 2, pause_s))
            try:
                return await self._connect(ATTEMPT_S)
            except Exception as error:  # noqa: BLE001 -- whatever it is may pass: a file, a proxy
                self._last_errors = [*self._last_errors[-2:], str(error)]
            pause_s = min(RECONNECT_MAX_S, pause_s * 1.5)

    # What is known of the connection.

    @property
    def connected(self) -> bool:
        """Whether a connection stands, as far as is known."""
        return self._connection is not None and self._connection.alive

    @property
    def server(self) -> dict[str, Any]:
        """What the server said of itself when it was first met."""
        return self._server

    @property
    def _shown_urls(self) -> str:
        return without_secrets(", ".join(self._urls))

    @property
    def clustered(self) -> bool:
        """Whether the server is one of several that keep the same data."""
        return bool(self._server.get("cluster"))

    @property
    def max_payload(self) -> int:
        """The server's limit for headers and body."""
        return int(self._server.get("max_payload", 1024 * 1024))

    def describe(self) -> dict[str, object]:
        """Say what this is, for people."""
        return {
            "kind": "jetstream",
            "server": self._server.get("server_name", ""),
            "version": self._server.get("version", ""),
            "url": self._connection.url if self._connection else self._shown_urls,
            "state": "connected" if self.connected else "closed" if self.closed else "reconnecting",
            "reconnects": self.losses,
            "away_s": round(self._away_s, 1),
            "last_errors": list(self._last_errors),
        }

    def on_reconnect(self, notify: Callable[[], None]) -> Callable[[], None]:
        """Have `notify` called when the connection stands again; call the result to stop."""
        self._on_reconnect.append(notify)
        return lambda: self._on_reconnect.remove(notify)

    # Subscriptions.

    def subscribe(self, subject: str, handler: Handler) -> int:
        """Have `handler` called with each message, over all connections; return its number."""
        sid = self._subscribe(subject, handler)
        if self._connection is not None:
            self._connection.write(f"SUB {subject} {sid}\r\n".encode())
        return sid

    def _subscribe(self, subject: str, handler: Handler) -> int:
        sid = next(self._sids)
        self._handlers[sid] = handler
        self._subjects[sid] = subject
        return sid

    def unsubscribe(self, sid: int) -> None:
        """End a subscription at once; unknown numbers are ignored."""
        self.stop(sid)
        self._handlers.pop(sid, None)

    def stop(self, sid: int) -> None:
        """Ask the server for no more, but still hand over what is on its way."""
        if self._subjects.pop(sid, None) is not None and self._connection is not None:
            self._connection.write(b"UNSUB %d\r\n" % sid)

    async def flush(self, timeout_s: float) -> None:
        """Wait until the server has read all that was sent before; gives up quietly."""
        if self._connection is not None:
            await self._connection.flush(timeout_s)

    # Sending.

    def request(self, waiter: Waiter, timeout_s: float) -> asyncio.Future[Any]:
        """Send at once, in the order of the calls; the future ends as the waiter does."""
        return self._requests.request(waiter, timeout_s)

    def again(self, waiter: Waiter) -> None:
        """Send a waiter that nobody took once more, within its first deadline."""
        self._requests.again(waiter)

    def new_inbox(self) -> str:
        """Return a subject of our own, outside the requests' inbox."""
        return self._requests.new_inbox()

    def signal(self, subject: bytes, payload: bytes) -> None:
        """Send a word that nobody answers (an ack); kept for the next connection if need be."""
        frame = b"PUB %b %d\r\n%b\r\n" % (subject, len(payload), payload)
        if self._connection is not None:
            self._connection.write(frame)
        elif len(self._acks) < ACKS_KEPT:
            self._acks.append(frame)

    def ask(self, subject: str, reply: str, payload: bytes) -> bool:
        """Send a word whose replies, if any, go to `reply`; False when there is no connection."""
        if self._connection is None:
            return False
        self._connection.write(f"PUB {subject} {reply} {len(payload)}\r\n".encode(), payload, _CRLF)
        return True

    async def api(self, subject: str, body: bytes = b"") -> bytes:
        """Ask JetStream's API something that may be asked twice; return the reply's bytes."""
        waiter = Waiter(subject, body)
        reply: bytes = await self.request(waiter, self._settings.reply_timeout_s)
        return reply

    def _explain(self) -> str:
        return "; ".join(dict.fromkeys(self._last_errors))


class _Probe(Waiter):
    """Asks the ledger's leader which of its followers it hears: without most it stores nothing.

    A leader that is cut off says so at once, while for up to 20 s more it takes itself for one,
    and would answer whatever needs no majority.
    """

    stores: ClassVar = True
    __slots__ = ("_hearing",)

    def __init__(self, hearing: Hearing) -> None:
        super().__init__(api_stream("INFO", bucket_stream(LEDGER_BUCKET)), b"", resends=False)
        self._hearing = hearing

    def accept(self, headers: bytes | None, data: bytes) -> bool:
        try:
            told = parse_api(data)
        except ApiError as error:
            if error.err_code != STREAM_NOT_FOUND:  # Nothing was to be stored here yet.
                raise
            told = {}
        if not hears_most_copies(told, PROBE_S):
            self._hearing.cut_off()
            raise Unavailable(f"{self.subject}: its leader does not hear most of its followers")
        return super().accept(headers, data)


def _place(url: str) -> str:
    """Return what an address says of where, and not of who or how."""
    place = url.rpartition("://")[2].rpartition("@")[2].rstrip("/")
    return place if ":" in place else f"{place}:4222"


def _is_final(said: str) -> bool:
    """Say whether trying again cannot help."""
    return "authorization" in said.lower() or "authentication" in said.lower()
