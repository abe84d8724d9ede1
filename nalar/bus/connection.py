# pyright: reportPrivateUsage=false, reportUnknownMemberType=false
# ruff: noqa: SLF001
# -- nats-py has no public hook below its Msg objects; every private name in use stands here.
"""One life of one NATS connection: nats-py's handshake with a lean way in and out.

nats-py does what is hard and rare: server pool, TLS, authentication, pings. What happens per
message is ours: no Msg object, queue, task or timer. A connection is never mended; when it ends
its owner (`nalar.bus.link`) makes another.

Privates of nats-py 2.16 in use, and why:
- `_ps`: the parser, replaced by one that hands messages over without regular expressions.
- `_reading_task`: the one task that ends with the connection, whatever the reason.
- `_flusher_task`: it may end with the socket's own error, which is no news.
- `_transport`: written to once a loop tick, instead of through a queue and the flusher task.
- `_server_info`: the INFO of the server: version, jetstream, cluster.
- `_close`: also after a failed connect, which leaves the socket open.
"""

import asyncio
import contextlib
import os
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

import nats.aio.client
from nats.errors import Error as NatsError
from nats.protocol.parser import Parser

from nalar.errors import Unavailable, UsageError, ValueTooLarge
from nalar.settings import Settings

#: The nats-py whose insides this file knows.
NATS_PY: Final = "2.16."
#: Kept free below the server's limit: what it adds to a message must never matter.
PAYLOAD_MARGIN_BYTES: Final = 2048
#: Seconds between pings; two unanswered ones end the connection.
PING_INTERVAL_S: Final = 5
#: How many of the last errors a timeout can quote.
ERRORS_KEPT: Final = 5

#: Gets subject, reply ("" when none), payload and raw headers (None when none) of a message.
Handler = Callable[[bytes, bytes, bytes, bytes | None], None]

_HMSG_PARTS_WITH_REPLY = 6
_MSG_PARTS_WITH_REPLY = 5


class _LeanParser(Parser):
    """Takes the byte stream apart and hands each message straight to its handler."""

    def __init__(self, connection: "Connection") -> None:
        super().__init__(connection.client)
        self._connection = connection

    def reset(self) -> None:
        super().reset()
        self._left = bytearray()
        self._needed = 0

    async def parse(self, data: bytes = b"") -> None:
        if self._left:
            self._left += data
            if len(self._left) < self._needed:
                return
            data = bytes(self._left)
        position = 0
        self._needed = 0
        while (line_end := data.find(b"\r\n", position)) >= 0:
            kind = data[position : position + 4]
            if kind in (b"MSG ", b"HMSG"):
                following = self._message(data, position, line_end)
                if following < 0:
                    break
                position = following
            else:
                # PING, PONG, INFO, -ERR: rare, and nats-py's business.
                await super().parse(data[position : line_end + 2])
                position = line_end + 2
        self._left = bytearray(data[position:])

    def _message(self, data: bytes, position: int, line_end: int) -> int:
        """Dispatch the message at `position`.

        Return where the next one starts, or -1 while it is not all there.
        """
        parts = data[position:line_end].split()
        start = line_end + 2
        end = start + int(parts[-1])
        if len(data) < end + 2:
            self._needed = end + 2 - position
            return -1
        if data[position] == 72:  # noqa: PLR2004 -- "H"
            body = start + int(parts[-2])
            reply = parts[3] if len(parts) == _HMSG_PARTS_WITH_REPLY else b""
            headers = data[start:body]
        else:
            body = start
            reply = parts[3] if len(parts) == _MSG_PARTS_WITH_REPLY else b""
            headers = None
        self._connection.dispatch(int(parts[2]), parts[1], reply, data[body:end], headers)
        return end + 2


class Connection:
    """A connection from its handshake to its loss. All methods run on its event loop."""

    def __init__(self, handlers: dict[int, Handler]) -> None:
        #: By subscription id; shared with the owner, who fills it for every new connection.
        self._handlers = handlers
        self._loop = asyncio.get_running_loop()
        self._pending: list[bytes] = []
        self._ended = self._loop.create_future()
        self.client = nats.aio.client.Client()
        self.errors: deque[str] = deque(maxlen=ERRORS_KEPT)
        #: What an address of the cluster begins with: the scheme, and who we are where the
        #: address says it.
        self._as_whom = ""

    async def open(self, settings: Settings, urls: list[str], timeout_s: float) -> None:
        """Connect to one of `urls`; raises Unavailable, with the server's own words."""
        _check_nats_py()
        options = connect_options(settings)
        stops = _stops_asked()
        try:
            async with asyncio.timeout(timeout_s):
                await self.client.connect(
                    servers=urls,
                    error_cb=self._note,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0.05,  # type: ignore[arg-type]  -- slept on, as a float
                    connect_timeout=max(0.1, timeout_s),  # type: ignore[arg-type]  -- the same
                    ping_interval=PING_INTERVAL_S,
                    **options,
                )
            _stop_if_asked(stops)
        except (OSError, NatsError, TimeoutError) as error:
            await self._abandon()
            said = "; ".join(dict.fromkeys(self.errors)) or str(error) or "no answer"
            raise Unavailable(said) from error
        except ModuleNotFoundError as error:
            raise UsageError(f"these credentials need `pip install {error.name}`") from error
        except BaseException:
            await self._abandon()
            raise
        at = self.client.connected_url
        if at is not None:
            self._as_whom = f"{at.scheme}://{''.join(at.netloc.rpartition('@')[:2])}"
        self.client._ps = _LeanParser(self)
        reading = cast("asyncio.Task[None] | None", self.client._reading_task)
        assert reading is not None, "connect() starts the reading task"
        reading.add_done_callback(self._end)
        flusher = cast("asyncio.Task[None] | None", self.client._flusher_task)
        if flusher is not None:
            flusher.add_done_callback(retrieved)

    async def _abandon(self) -> None:
        """Close what a failed handshake left open."""
        with contextlib.suppress(Exception):
            await self.client._close(nats.aio.client.Client.CLOSED, do_cbs=False)

    async def _note(self, error: Exception) -> None:
        """Remember an error of nats-py, which would log a traceback for each failed attempt."""
        self.errors.append(f"{type(error).__name__}: {error}".removesuffix(": "))

    def _end(self, _: object = None) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    @property
    def alive(self) -> bool:
        """Whether the connection still stands, as far as is known."""
        return not self._ended.done()

    async def ended(self) -> None:
        """Wait until the connection is lost or closed."""
        await asyncio.shield(self._ended)

    @property
    def server(self) -> dict[str, Any]:
        """What the server said of itself: version, jetstream, cluster, connect_urls."""
        return self.client._server_info

    @property
    def told(self) -> list[str]:
        """The addresses that the cluster has told of up to now, besides those tried."""
        return [self._as_whom + uri.netloc for uri in self.client.discovered_servers]

    @property
    def url(self) -> str:
        """Where the server is."""
        at = self.client.connected_url
        return "" if at is None else f"{at.scheme}://{at.hostname}:{at.port}"

    def check_size(self, size: int) -> None:
        """Raise ValueTooLarge when headers and body of `size` bytes exceed what may be sent.

        nats-py looks at the payload alone, and the server answers a byte too many by
        closing the connection for good.
        """
        limit = self.client.max_payload - PAYLOAD_MARGIN_BYTES
        if size > limit:
            raise ValueTooLarge(
                f"headers and body are {size:,} bytes; a message may have {limit:,}"
            )

    def write(self, *pieces: bytes) -> None:
        """Send bytes with all else of this loop tick."""
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending += pieces

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        transport = self.client._transport
        if self.alive and transport is not None:
            # Between the end of the socket and that of the reading task, uvloop refuses: what
            # cannot be written is lost as what was written just before.
            with contextlib.suppress(OSError, RuntimeError):
                transport.write(b"".join(pending))

    def dispatch(
        self, sid: int, subject: bytes, reply: bytes, payload: bytes, headers: bytes | None
    ) -> None:
        """Give a message to its handler. A handler's error must not end the connection."""
        handler = self._handlers.get(sid)
        if handler is None:
            return
        try:
            handler(subject, reply, payload, headers)
        except Exception as error:  # noqa: BLE001 -- reported; the next message must be read
            self._loop.call_exception_handler(
                {"message": f"handling a message on {subject!r}", "exception": error}
            )

    async def flush(self, timeout_s: float) -> None:
        """Wait until the server has read all that was written before."""
        self._flush()
        with contextlib.suppress(Exception):
            await self.client.flush(timeout=timeout_s)  # type: ignore[arg-type]  -- a float will do

    def discard(self) -> None:
        """Close the socket of a connection that has ended, however far nats-py got with it."""
        transport = self.client._transport
        if transport is not None:
            with contextlib.suppress(Exception):
                transport.close()

    async def close(self) -> None:
        """Send what is pending and close."""
        self._flush()
        with contextlib.suppress(Exception):
            await self.client.close()
        self._end()


def _stops_asked() -> int:
    """Return how often the running task was asked to stop."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def _stop_if_asked(before: int) -> None:
    """Raise what nats-py, or wait_for of Python 3.11, may have swallowed on the way."""
    if _stops_asked() > before:
        raise asyncio.CancelledError


def retrieved(future: asyncio.Future[Any]) -> None:
    """Take note of an error that nobody waits for, which the event loop would report."""
    if not future.cancelled():
        future.exception()


def _check_nats_py() -> None:
    found = nats.aio.client.__version__
    if not found.startswith(NATS_PY):
        raise UsageError(f"this Nalar is written for nats-py {NATS_PY}*, found {found}")


def connect_options(settings: Settings) -> dict[str, Any]:
    """Return who we are, as nats-py's `connect` wants it."""
    for name, path in (("creds", settings.creds), ("nkey", settings.nkey)):
        if path and not os.access(path, os.R_OK):
            raise UsageError(f"setting {name}={path!r} names no file that can be read")
    given: dict[str, Any] = {
        "user": settings.user,
        "password": settings.password,
        "token": settings.token,
        "user_credentials": settings.creds,
        "nkeys_seed": settings.nkey,
        "tls": _tls(settings) if settings.ca or settings.cert else None,
    }
    return {"name": "nalar"} | {name: value for name, value in given.items() if value}


def _tls(settings: Settings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca or None)
        if settings.cert:
            context.load_cert_chain(settings.cert, settings.key or None)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"TLS files ca={settings.ca!r} cert={settings.cert!r} key={settings.key!r}: {error}"
        ) from error
    return context
