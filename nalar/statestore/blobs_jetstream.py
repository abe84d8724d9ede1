"""Values too large for a message, in JetStream's object store layout.

An object is named by the digest of its content, so putting it again finds it there. Chunks are
published in a window and read by batched direct gets: no consumer is made or left behind.
"""

import asyncio
import base64
import hashlib
import secrets
from collections.abc import Sequence
from typing import ClassVar, Final

import orjson

from nalar.bus import subjects
from nalar.bus.link import Link
from nalar.bus.replies import ApiError, StoredMessage, parse_stored
from nalar.bus.together import together
from nalar.bus.waiter import Waiter
from nalar.clock import SystemClock
from nalar.errors import MalformedMessage, Unavailable
from nalar.ids import AgentName
from nalar.messages import BlobRef
from nalar.settings import Settings
from nalar.statestore.reading import StreamReader

#: What the `nats` tool uses; small enough for any server's limit.
CHUNK_BYTES: Final = 128 * 1024
#: Chunks on their way at a time.
WINDOW: Final = 16
#: An upload that has not ended by then never will, in seconds.
UPLOAD_MAX_S: Final = 3_600.0


class _Chunk(Waiter):
    """One message of an upload.

    Not sent again after a loss: a chunk that is there twice would spoil the whole.
    """

    stores: ClassVar = True
    __slots__ = ()

    def accept(self, headers: bytes | None, data: bytes) -> bool:
        del headers
        try:
            self.resolve(parse_stored(data))
        except ApiError as error:
            raise Unavailable(f"storing a blob: {error}") from error
        return True


class JetStreamBlobs:
    """`statestore.port.Blobs` on JetStream."""

    def __init__(self, link: Link, settings: Settings) -> None:
        self._link = link
        self._timeout_s = settings.reply_timeout_s
        self._reader = StreamReader(link, subjects.BLOB_STREAM, timeout_s=settings.reply_timeout_s)

    async def put(self, data: bytes) -> BlobRef:
        digest = await asyncio.to_thread(lambda: hashlib.sha256(data))
        blob = BlobRef(name=digest.hexdigest(), size=len(data), sha256=digest.hexdigest())
        info = await self._reader.last(subjects.blob_info(blob.name))
        if info is not None and upload_of(info) is not None:
            # Described again, as it is: whoever looks for blobs that nobody puts sees it as new.
            await self._describe(blob.name, info.data)
            return blob
        upload = secrets.token_hex(11)
        chunks = [data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)]
        for start in range(0, len(chunks), WINDOW):
            await together(
                self._store(subjects.blob_chunks(upload), chunk)
                for chunk in chunks[start : start + WINDOW]
            )
        # Last, so that an object that is described is whole.
        await self._describe(blob.name, _description(blob, digest.digest(), upload, len(chunks)))
        return blob

    async def _describe(self, name: str, description: bytes) -> None:
        rollup = b"NATS/1.0\r\nNats-Rollup: sub\r\n\r\n"
        await self._store(subjects.blob_info(name), description, rollup)

    async def _store(self, subject: str, data: bytes, headers: bytes | None = None) -> None:
        await self._link.request(_Chunk(subject, data, headers, resends=False), self._timeout_s)

    async def get(self, blob: BlobRef) -> bytes:
        info = await self._reader.last(subjects.blob_info(blob.name))
        upload = None if info is None else upload_of(info)
        if upload is None:
            raise Unavailable(f"blob {blob.name} is gone")
        messages = await self._reader.scan(subjects.blob_chunks(upload))
        data = b"".join(message.data for message in messages)
        digest = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
        if len(data) != blob.size or digest != blob.sha256:
            raise Unavailable(
                f"blob {blob.name} does not match its digest: {len(data):,} of {blob.size:,} bytes"
            )
        return data

    # For housekeeping.

    async def unused_for(self, age_s: float) -> list[str]:
        since = await self._reader.first_since(SystemClock().now_s() - age_s)
        infos = await self._reader.scan(subjects.BLOB_INFOS)
        return [
            name
            for info in infos
            if (since is None or info.sequence < since) and (name := name_of(info))
        ]

    async def referred_to(self, agents: Sequence[AgentName]) -> set[str]:
        buckets = (subjects.LEDGER_BUCKET, subjects.CONTROL_BUCKET)
        streams = [subjects.bucket_stream(bucket) for bucket in buckets]
        streams += [subjects.queue_stream(agent) for agent in agents]
        named: set[str] = set()
        for stream in streams:
            reader = StreamReader(self._link, stream, timeout_s=self._timeout_s)
            named |= await reader.blobs_named()
        return named

    async def drop(self, names: Sequence[str]) -> None:
        for name in names:
            subject = subjects.blob_info(name)
            info = await self._reader.last(subject)
            if info is not None:
                # First, so that what is described is whole; not one that is put at this moment.
                await self._reader.purge(subject, before=info.sequence + 1)
        if names:
            # Who saw a description before it went has put it back by then, or failed.
            await asyncio.sleep(self._timeout_s)
        await self._drop_chunks()

    async def _drop_chunks(self) -> None:
        """Remove chunks that no description names: of dropped blobs, and of uploads cut short."""
        old_before = await self._reader.first_since(SystemClock().now_s() - UPLOAD_MAX_S)
        chunks = await self._reader.subjects(subjects.blob_chunks("*"))
        infos = await self._reader.scan(subjects.BLOB_INFOS)
        described = {subjects.blob_chunks(upload) for info in infos if (upload := upload_of(info))}
        for subject in chunks:
            if subject not in described:
                newest = await self._reader.last(subject)
                if newest is not None and (old_before is None or newest.sequence < old_before):
                    await self._reader.purge(subject, before=newest.sequence + 1)


def _description(blob: BlobRef, digest: bytes, upload: str, chunks: int) -> bytes:
    """Return the object's description, as the standard layout wants it."""
    return orjson.dumps(
        {
            "name": blob.name,
            "bucket": subjects.BLOB_BUCKET,
            "nuid": upload,
            "size": blob.size,
            "chunks": chunks,
            "mtime": "0001-01-01T00:00:00Z",
            "digest": f"SHA-256={base64.urlsafe_b64encode(digest).decode()}",
            "options": {"max_chunk_size": CHUNK_BYTES},
        }
    )


def upload_of(info: StoredMessage) -> str | None:
    """Return where the object's chunks are; None when it was deleted."""
    try:
        fields = orjson.loads(info.data)
        return None if fields.get("deleted") else str(fields["nuid"])
    except (orjson.JSONDecodeError, AttributeError, KeyError) as error:
        raise MalformedMessage(f"the description of {info.subject} cannot be read") from error


def name_of(info: StoredMessage) -> str:
    """Return the object's name; "" when its description cannot be read."""
    try:
        return str(orjson.loads(info.data)["name"])
    except (orjson.JSONDecodeError, TypeError, KeyError):
        return ""
