"""Reading a stream: one message through its leader, many from any replica.

A direct read may miss on three replicas what was acknowledged a moment ago; one through the
leader does not, unless the leader is cut off. Neither decides anything: only the compare-and-set
of a commit does. Nothing here makes a consumer, so none is left behind.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from nalar.bus import subjects
from nalar.bus.fields import blobs_named
from nalar.bus.link import Link
from nalar.bus.replies import (
    ApiError,
    NoResponders,
    StoredMessage,
    description_of,
    number_of,
    parse_api,
    parse_direct,
    parse_leader_read,
    status_of,
)
from nalar.bus.waiter import Waiter
from nalar.errors import Unavailable

#: Messages of one batched read.
BATCH: Final = 1000
#: Subjects of one read of many; the server refuses more than 1024 answers.
SUBJECTS_MAX: Final = 500
#: For so long a cluster's copies may take to answer reads once they are made, and how often they
#: are asked meanwhile, in seconds.
COPIES_S: Final = 2.5
COPIES_PAUSE_S: Final = 0.1
_END, _NOT_FOUND = 204, 404


class _Batch(Waiter):
    """A batched direct get: messages, then an empty one that says the end."""

    __slots__ = ("_patience_s", "_stream", "messages", "pending")

    def __init__(self, stream: str, query: dict[str, Any], patience_s: float) -> None:
        super().__init__(subjects.api_direct(stream), orjson.dumps(query))
        self._stream = stream
        self._patience_s = patience_s
        self.messages: list[StoredMessage] = []
        self.pending = 0

    def accept(self, headers: bytes | None, data: bytes) -> bool:
        status = status_of(headers)
        if headers is None or status not in (0, _END, _NOT_FOUND):
            said = "no headers" if headers is None else f"{status} {description_of(headers)}"
            raise Unavailable(f"reading {self._stream}: {said}")
        if status == 0:
            self.messages.append(parse_direct(headers, data))
            # A large blob takes its time; only silence counts.
            self.deadline = asyncio.get_running_loop().time() + self._patience_s
            return False
        self.pending = number_of(headers, b"Nats-Num-Pending") or 0
        self.resolve(None)
        return True

    def before_resend(self) -> None:
        self.messages.clear()


class StreamReader:
    """Reads of one stream."""

    def __init__(self, link: Link, stream: str, *, timeout_s: float) -> None:
        self._link = link
        self._stream = stream
        self._timeout_s = timeout_s

    async def last(self, subject: str) -> StoredMessage | None:
        """Return the newest message of `subject`, which may have wildcards, from the leader."""
        body = orjson.dumps({"last_by_subj": subject})
        reply = await self._link.api(subjects.api_read(self._stream), body)
        try:
            return parse_leader_read(reply)
        except ApiError as error:
            raise Unavailable(f"reading {self._stream}: {error}") from error

    async def last_of_each(self, wanted: Sequence[str]) -> list[StoredMessage]:
        """Return the newest message of each subject in `wanted`, from any replica."""
        found: list[StoredMessage] = []
        for start in range(0, len(wanted), SUBJECTS_MAX):
            chunk = list(wanted[start : start + SUBJECTS_MAX])
            found += await self._batches({"multi_last": chunk, "batch": BATCH})
        return found

    async def scan(self, subject: str, *, after: int = 0) -> list[StoredMessage]:
        """Return all messages of `subject` above the sequence `after`, oldest first.

        From any replica.
        """
        return [message async for page, _ in self.pages(subject, after=after) for message in page]

    async def pages(
        self, subject: str, *, after: int = 0
    ) -> AsyncIterator[tuple[list[StoredMessage], bool]]:
        """Do as `scan`, page by page, and tell of each whether there is another.

        Each may come from another replica.
        """
        query = {"seq": after + 1, "next_by_subj": subject, "batch": BATCH}
        async for batch in self._each_batch(query):
            yield batch.messages, bool(batch.pending)

    async def oldest(self, subject: str, count: int) -> tuple[list[StoredMessage], int]:
        """Return the oldest messages of `subject`, `count` at the most, and how many follow them.

        From any replica.
        """
        batch = await self._batch({"seq": 1, "next_by_subj": subject, "batch": count})
        return batch.messages, batch.pending

    async def blobs_named(self) -> set[str]:
        """Return the blobs that messages of the stream name, without keeping the messages."""
        found: set[str] = set()
        async for batch in self._each_batch({"seq": 1, "next_by_subj": ">", "batch": BATCH}):
            for message in batch.messages:
                found |= blobs_named(message.data)
        return found

    async def first_since(self, at_s: float) -> int | None:
        """Return the sequence of the first message stored at `at_s` or later; None if none was."""
        query = {"start_time": _rfc3339(at_s), "next_by_subj": ">", "batch": 1}
        batch = await self._batch(query)
        return batch.messages[0].sequence if batch.messages else None

    async def subjects(self, pattern: str) -> list[str]:
        """Return the subjects that match `pattern` and have a message, in pages."""
        found: list[str] = []
        while True:
            page = await self._told({"subjects_filter": pattern, "offset": len(found)})
            named: dict[str, int] = page["state"].get("subjects") or {}
            found += named
            if not named or len(found) >= int(page.get("total", 0)):
                return found

    async def newest(self) -> int:
        """Return the sequence of the newest message, whether it still stands or not."""
        return int((await self._told({}))["state"]["last_seq"])

    async def purge(self, subject: str, *, before: int) -> int:
        """Remove the messages of `subject` with a sequence below `before`; return how many."""
        body = orjson.dumps({"filter": subject, "seq": before})
        return int((await self._api("PURGE", body))["purged"])

    async def _told(self, body: dict[str, Any]) -> dict[str, Any]:
        return await self._api("INFO", orjson.dumps(body) if body else b"")

    async def _api(self, verb: str, body: bytes) -> dict[str, Any]:
        try:
            return parse_api(await self._link.api(subjects.api_stream(verb, self._stream), body))
        except ApiError as error:
            raise Unavailable(f"{verb.lower()} of {self._stream}: {error}") from error

    async def _batch(self, query: dict[str, Any]) -> _Batch:
        """Read once; in a cluster nobody may answer while the copies are still being made."""
        loop = asyncio.get_running_loop()
        until = loop.time() + COPIES_S
        while True:
            batch = _Batch(self._stream, query, self._timeout_s)
            try:
                await self._link.request(batch, self._timeout_s)
            except NoResponders:
                if not self._link.clustered or loop.time() >= until:
                    raise
                await asyncio.sleep(COPIES_PAUSE_S)
            except ApiError as error:
                raise Unavailable(f"reading {self._stream}: {error}") from error
            else:
                return batch

    async def _batches(self, query: dict[str, Any]) -> list[StoredMessage]:
        return [message async for batch in self._each_batch(query) for message in batch.messages]

    async def _each_batch(self, query: dict[str, Any]) -> AsyncIterator[_Batch]:
        """Read on until nothing is pending; the server also ends a batch by its size."""
        while True:
            batch = await self._batch(query)
            yield batch
            if not batch.pending or not batch.messages:
                return
            query = query | {"seq": batch.messages[-1].sequence + 1}


def _rfc3339(at_s: float) -> str:
    return datetime.fromtimestamp(max(0.0, at_s), UTC).isoformat()
