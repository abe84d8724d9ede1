"""Values too large for a message, in JetStream's object store layout.

An object is named by the digest of its content, so putting it again finds it there. Chunks are
published in a window and read by batched direct gets: no consumer is made or left behind.
"""

import asyncio
import base64
import hashlib
import secrets
from typing import Final

import orjson

from nalar.bus import subjects
from nalar.bus.link import Link
from nalar.bus.replies import ApiError, StoredMessage, parse_stored
from nalar.bus.together import together
from nalar.bus.waiter import Waiter
from nalar.errors import MalformedMessage, Unavailable
from nalar.messages import BlobRef
from nalar.settings import Settings
from nalar.statestore.reading import StreamReader

#: What the `nats` tool uses; small enough for any server's limit.
CHUNK_BYTES: Final = 128 * 1024
#: Chunks on their way at a time.
WINDOW: Final = 16


class _Chunk(Waiter):
    """One message of an upload.

    Not sent again after a loss: a chunk that is there twice would spoil the whole.
    """

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
        if await self._reader.last(subjects.blob_info(blob.name)) is not None:
            return blob
        upload = secrets.token_hex(11)
        chunks = [data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)]
        for start in range(0, len(chunks), WINDOW):
            await together(
                self._store(subjects.blob_chunks(upload), chunk)
                for chunk in chunks[start : start + WINDOW]
            )
        # Last, so that an object that is described is whole.
        await self._store(
            subjects.blob_info(blob.name),
            _description(blob, digest.digest(), upload, len(chunks)),
            b"NATS/1.0\r\nNats-Rollup: sub\r\n\r\n",
        )
        return blob

    async def _store(self, subject: str, data: bytes, headers: bytes | None = None) -> None:
        await self._link.request(_Chunk(subject, data, headers, resends=False), self._timeout_s)

    async def get(self, blob: BlobRef) -> bytes:
        info = await self._reader.last(subjects.blob_info(blob.name))
        upload = None if info is None else _upload_of(info)
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


def _upload_of(info: StoredMessage) -> str | None:
    """Return where the object's chunks are; None when it was deleted."""
    try:
        fields = orjson.loads(info.data)
        return None if fields.get("deleted") else str(fields["nuid"])
    except (orjson.JSONDecodeError, AttributeError, KeyError) as error:
        raise MalformedMessage(f"the description of {info.subject} cannot be read") from error
