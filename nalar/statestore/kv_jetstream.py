"""A key-value bucket on JetStream, in the layout that the `nats kv` tool reads."""

import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from nalar.bus import subjects
from nalar.bus.link import Link
from nalar.bus.replies import (
    WRONG_LAST_SEQUENCE,
    WRONG_LAST_SEQUENCE_UNCLEAR,
    ApiError,
    StoredMessage,
    is_deleted,
    number_of,
    parse_stored,
)
from nalar.bus.together import together
from nalar.bus.waiter import Waiter
from nalar.errors import Conflict, NalarError, Unavailable, ValueTooLarge
from nalar.settings import Settings
from nalar.statestore.ledger_jetstream import TTL_MIN_S, SubjectWatch
from nalar.statestore.port import KeyValueEntry
from nalar.statestore.reading import StreamReader

#: How long the marker of a deleted entry with a time to live stays: watchers have seen it then.
MARKER_TTL_S: Final = 60


class _Put(Waiter):
    """One write. Without an expectation it may be sent twice; with one, it may not."""

    stores: ClassVar = True
    __slots__ = ()

    def accept(self, headers: bytes | None, data: bytes) -> bool:
        del headers
        try:
            self.resolve(parse_stored(data))
        except ApiError as error:
            if error.err_code in (WRONG_LAST_SEQUENCE, WRONG_LAST_SEQUENCE_UNCLEAR):
                raise Conflict(f"{self.subject}: {error}") from error
            raise Unavailable(f"{self.subject}: {error}") from error
        return True

    def fail(self, error: NalarError) -> None:
        if isinstance(error, ValueTooLarge):
            error = ValueTooLarge(f"{self.subject}: {error}")
        super().fail(error)


class JetStreamKeyValue:
    """`statestore.port.KeyValue` on JetStream."""

    def __init__(self, link: Link, bucket: str, settings: Settings) -> None:
        self._link = link
        self._bucket = bucket
        self._timeout_s = settings.reply_timeout_s
        #: Only the control bucket announces its changes and lets entries expire.
        self._is_control = bucket == subjects.CONTROL_BUCKET
        stream = subjects.bucket_stream(bucket)
        self._reader = StreamReader(link, stream, timeout_s=settings.reply_timeout_s)

    async def get(self, key: str) -> KeyValueEntry | None:
        message = await self._reader.last(self._subject(key))
        return None if message is None or is_deleted(message.headers) else self._entry(message)

    async def get_all(self, keys: Sequence[str]) -> list[KeyValueEntry]:
        """From any replica first; what that one lacks is asked of the leader."""
        found = {
            subjects.subject_key(self._bucket, message.subject): message
            for message in await self._reader.last_of_each([self._subject(key) for key in keys])
        }
        entries = [self._entry(it) for it in found.values() if not is_deleted(it.headers)]
        missing = [key for key in keys if key not in found]
        return entries + list(filter(None, await together(self.get(key) for key in missing)))

    async def put(
        self, key: str, value: bytes, *, expected: int | None = None, ttl_s: float | None = None
    ) -> int:
        ttl = "" if ttl_s is None else f"Nats-TTL: {max(TTL_MIN_S, math.ceil(ttl_s))}\r\n"
        return await self._write(key, value, expected, ttl)

    async def delete(self, key: str, *, expected: int | None = None) -> None:
        marker = f"Nats-TTL: {MARKER_TTL_S}\r\n" if self._is_control else ""
        if expected == 0:
            # "Must be absent" and "delete it" agree where it is absent: nothing to do.
            if await self.get(key) is not None:
                raise Conflict(f"{key} is there")
            return
        await self._write(key, b"", expected, f"KV-Operation: DEL\r\n{marker}")

    async def _write(self, key: str, value: bytes, expected: int | None, extra: str) -> int:
        """Write, comparing with `expected`; 0 also means an entry that is marked as deleted."""
        try:
            return await self._write_once(key, value, expected, extra)
        except Conflict:
            if expected != 0:
                raise
            message = await self._reader.last(self._subject(key))
            if message is None or not is_deleted(message.headers):
                raise
            return await self._write_once(key, value, message.sequence, extra)

    async def _write_once(self, key: str, value: bytes, expected: int | None, extra: str) -> int:
        fence = "" if expected is None else f"Nats-Expected-Last-Subject-Sequence: {expected}\r\n"
        headers = f"NATS/1.0\r\n{fence}{extra}\r\n".encode() if fence or extra else None
        put = _Put(self._subject(key), value, headers, resends=expected is None)
        stored: int = await self._link.request(put, self._timeout_s)
        return stored

    async def keys(self, prefix: str) -> list[str]:
        found: list[str] = []
        for subject in subjects.prefix_subjects(self._bucket, prefix):
            found += await self._reader.subjects(subject)
        return sorted(subjects.subject_key(self._bucket, subject) for subject in found)

    async def scan(self, prefix: str) -> list[KeyValueEntry]:
        """From any replica: on three of them it may miss what was written a moment ago."""
        messages = [
            message
            for subject in subjects.prefix_subjects(self._bucket, prefix)
            for message in await self._reader.scan(subject)
            if not is_deleted(message.headers)
        ]
        return sorted(map(self._entry, messages), key=lambda entry: entry.key)

    def watch(self, prefix: str, deliver: Callable[[KeyValueEntry], None]) -> SubjectWatch:
        def received(subject: bytes, _: bytes, payload: bytes, headers: bytes | None) -> None:
            revision = None if headers is None else number_of(headers, b"Nats-Sequence")
            if headers is not None and revision is not None:
                key = subjects.control_notice_key(subject.decode("utf-8", "replace"))
                deliver(KeyValueEntry(key, revision, None if is_deleted(headers) else payload))

        notices = subjects.control_notices(prefix) if self._is_control else ()
        return SubjectWatch(self._link, [self._link.subscribe(at, received) for at in notices])

    def _subject(self, key: str) -> str:
        return subjects.key_subject(self._bucket, key)

    def _entry(self, message: StoredMessage) -> KeyValueEntry:
        key = subjects.subject_key(self._bucket, message.subject)
        return KeyValueEntry(key, message.sequence, message.data)
