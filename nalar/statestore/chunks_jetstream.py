"""What calls yield, on JetStream: a stream with a maximum age, announced by republish."""

from collections.abc import Awaitable, Callable

from nalar.bus import subjects
from nalar.bus.link import Link
from nalar.bus.replies import ApiError, number_of, parse_stored
from nalar.bus.waiter import Waiter
from nalar.chunks import Chunk, decode_chunk, encode_chunk
from nalar.errors import MalformedMessage, Unavailable
from nalar.ids import Ref
from nalar.settings import Settings
from nalar.statestore.ledger_jetstream import SubjectWatch
from nalar.statestore.port import ChunkEntry
from nalar.statestore.reading import StreamReader


class _Publish(Waiter):
    """One chunk on its way; sent again after a loss, since readers know one that comes twice."""

    __slots__ = ()

    def accept(self, headers: bytes | None, data: bytes) -> bool:
        del headers
        try:
            parse_stored(data)
        except ApiError as error:
            raise Unavailable(f"storing what a call yielded: {error}") from error
        self.resolve(None)
        return True


class JetStreamChunks:
    """`statestore.port.Chunks` on JetStream."""

    def __init__(self, link: Link, settings: Settings) -> None:
        self._link = link
        self._timeout_s = settings.reply_timeout_s
        self._reader = StreamReader(link, subjects.CHUNK_STREAM, timeout_s=settings.reply_timeout_s)

    def publish(self, chunk: Chunk) -> Awaitable[None]:
        waiter = _Publish(subjects.chunk_subject(chunk.ref), encode_chunk(chunk))
        return self._link.request(waiter, self._timeout_s)

    async def read(self, ref: Ref, *, after: int = 0) -> list[ChunkEntry]:
        found: list[ChunkEntry] = []
        for message in await self._reader.scan(subjects.chunk_subject(ref), after=after):
            _add(found, ref, message.sequence, message.data)
        return found

    def watch(self, ref: Ref, deliver: Callable[[ChunkEntry], None]) -> SubjectWatch:
        def received(_: bytes, __: bytes, payload: bytes, headers: bytes | None) -> None:
            revision = None if headers is None else number_of(headers, b"Nats-Sequence")
            heard: list[ChunkEntry] = []
            if revision is not None:
                _add(heard, ref, revision, payload)
            for entry in heard:
                deliver(entry)

        return SubjectWatch(
            self._link, (self._link.subscribe(subjects.said_subject(ref), received),)
        )


def _add(found: list[ChunkEntry], ref: Ref, revision: int, body: bytes) -> None:
    try:
        found.append(ChunkEntry(revision, decode_chunk(ref, body)))
    except MalformedMessage:
        return  # From a foreign hand: it is only a preview, and the record will come.
