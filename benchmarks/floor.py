# pyright: reportUnknownMemberType=false
# -- nats-py leaves parts of its methods untyped.
"""The floor: the same path with bare nats-py and uvloop, and no framework.

Client -> work queue -> worker -> one fenced message into a KV bucket -> republish -> client; the
queue is acknowledged last. Plain public API of nats-py, as somebody who knows it would write it:
one long-lived pull inbox, no subscription per call, acks of publishes awaited in the background.
It leaves out what a framework is for: no validation, no queueing, no leases, no redelivery twice,
no deadlines, no cancellation, no reconnect, no read of what was missed.
"""

import asyncio
import gc
import itertools
import os
import sys
import time
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from typing import Any

import nats
import orjson
import uvloop
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, RePublish, RetentionPolicy, StreamConfig

from benchmarks import bench_messages as messages
from benchmarks import child
from benchmarks.rows import FAN_WIDTH, SESSIONS
from nalar.bus.subjects import api_consumer_next, bucket_filter, bucket_stream

STREAM = "FLOOR_INV"
DURABLE = "workers"
#: Messages asked for at once; asked again when half of them have come.
BATCH = 1024
EXPIRES_NS = 30_000_000_000
#: Publishes that may wait for their ack; nats-py's own limit of 4,000 is not reached here.
PENDING_MAX = 16_384


class Tasks:
    """Tasks that nobody awaits, kept alive until they are done."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` soon."""
        task = self._loop.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)


class Caller:
    """Publishes calls and resolves a future for each when its record is republished."""

    def __init__(self, name: str, client: Client, stream: JetStreamContext) -> None:
        self.name = name
        self._client = client
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, asyncio.Future[int]] = {}
        self._ids = itertools.count()
        # As long as Nalar's ids: 26 characters.
        self._prefix = os.urandom(8).hex()

    async def open(self) -> None:
        """Listen for the records of calls that this caller makes."""
        pattern = messages.done_subject(f"call.*.*.*.*.{self.name}.*")
        await self._client.subscribe(pattern, cb=self._done)

    async def _done(self, message: Msg) -> None:
        future = self._waiting.pop(message.subject.rpartition(".")[2], None)
        if future is not None:
            future.set_result(orjson.loads(message.data)["result"])

    async def call(self, agent: str, value: int, session: str = "") -> int:
        """Make a call and wait for its result; the queue's ack is awaited beside."""
        name = f"{self._prefix}{next(self._ids):010d}"
        session = session or name
        key = messages.key_of(agent, session, name, self.name, name)
        headers, body = messages.invocation(agent, key, session, value, time.time())  # noqa: TID251 -- the floor has no Clock
        future = self._waiting[name] = self._loop.create_future()
        stored = await self._stream.publish_async(
            f"{messages.QUEUE}.{agent}.q.normal.{name}", body, headers=headers
        )
        stored.add_done_callback(_raise)
        return await future


def _raise(stored: asyncio.Future[Any]) -> None:
    """Surface a refused publish in the loop's log: the floor expects none."""
    stored.result()


class Worker:
    """Pulls calls, commits a record for each, and acknowledges it after."""

    def __init__(self, client: Client, stream: JetStreamContext) -> None:
        self._client = client
        self._stream = stream
        self._name = f"w{os.urandom(4).hex()}"
        self._children = Caller(f"f{os.urandom(8).hex()}", client, stream)
        self._tasks = Tasks()
        self._inbox = client.new_inbox()
        self._asked = 0
        self._next = api_consumer_next(STREAM, DURABLE)
        #: Last sequence of each session's log, its state, and who may change them now: a caller
        #: may have its result, and call again, before our commit's ack is read here.
        self._sequences: dict[str, int] = {}
        self._totals: dict[str, int] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def open(self) -> None:
        """Make the streams and begin to pull."""
        await make_streams(self._stream)
        await self._children.open()
        await self._client.subscribe(self._inbox, cb=self._received)
        await self._ask()

    async def _ask(self) -> None:
        count = BATCH - self._asked
        self._asked += count
        body = b'{"batch":%d,"expires":%d}' % (count, EXPIRES_NS)
        await self._client.publish(self._next, body, reply=self._inbox)

    async def _received(self, message: Msg) -> None:
        if message.reply:
            self._asked -= 1
            self._tasks.start(self._work(message))
        else:
            # A pull expired; the server says how much of it is left.
            left = (message.headers or {}).get("Nats-Pending-Messages", "0")
            self._asked -= int(left)
        if self._asked <= BATCH // 2:
            await self._ask()

    async def _work(self, message: Msg) -> None:
        headers = message.headers or {}
        body = orjson.loads(message.data)
        agent = message.subject.split(".")[2]
        [value] = body["arguments"].values()
        started = time.time()  # noqa: TID251 -- the floor has no Clock
        if agent == messages.AGENT:
            session = headers["Nalar-Session"]
            async with self._locks[session]:
                total = self._totals[session] = self._totals.get(session, 0) + value
                outcome = total, {"total": [["set", total]]}
                sequence = self._sequences.get(session, 0)
                self._sequences[session] = await self._commit(
                    agent, headers, body, outcome, started, sequence
                )
        else:
            result = await self._fan(value) if agent == messages.FAN else value
            await self._commit(agent, headers, body, (result, None), started, 0)
        await message.ack()

    async def _commit(
        self,
        agent: str,
        headers: dict[str, str],
        body: dict[str, Any],
        outcome: tuple[int, dict[str, Any] | None],
        started: float,
        sequence: int,
    ) -> int:
        key = headers["Nalar-Ref"]
        times = started, time.time()  # noqa: TID251 -- the floor has no Clock
        stored = await self._stream.publish_async(
            f"{messages.KEYS}{key}",
            messages.record(agent, (headers, body), outcome, self._name, times),
            headers=messages.commit_headers(agent, key, headers["Nalar-Session"], sequence),
        )
        return (await stored).seq

    async def _fan(self, width: int) -> int:
        calls = (self._children.call(messages.TOOL, number) for number in range(width))
        return sum(await asyncio.gather(*calls))


async def make_streams(stream: JetStreamContext) -> None:
    """Make the work queue with its consumer, and the bucket that republishes records."""
    await stream.add_stream(
        StreamConfig(
            name=STREAM, subjects=[f"{messages.QUEUE}.>"], retention=RetentionPolicy.WORK_QUEUE
        )
    )
    await stream.add_consumer(
        STREAM, ConsumerConfig(durable_name=DURABLE, ack_wait=60, max_ack_pending=-1)
    )
    await stream.add_stream(
        StreamConfig(
            name=bucket_stream(messages.BUCKET),
            subjects=[bucket_filter(messages.BUCKET)],
            max_msgs_per_subject=1,
            allow_direct=True,
            allow_msg_ttl=True,
            republish=RePublish(src=f"{messages.KEYS}call.>", dest=f"{messages.DONE}.>"),
        )
    )


async def work(url: str) -> None:
    """Serve until told to stop."""
    # As a worker of Nalar does: the floor is no slower for want of two lines.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    client = await nats.connect(url)
    worker = Worker(client, client.jetstream(publish_async_max_pending=PENDING_MAX))
    await worker.open()
    child.say({"ready": "floor"})
    await asyncio.Event().wait()


async def call(url: str) -> None:
    """Make the calls that the run asks for."""
    client = await nats.connect(url)
    stream = client.jetstream(publish_async_max_pending=PENDING_MAX)
    caller = Caller(f"c{os.urandom(8).hex()}", client, stream)
    await caller.open()

    def tool(number: int) -> Coroutine[Any, Any, int]:
        return caller.call(messages.TOOL, number)

    def state(number: int) -> Coroutine[Any, Any, int]:
        return caller.call(messages.AGENT, 1, f"session-{number % SESSIONS}")

    def fan(_: int) -> Coroutine[Any, Any, int]:
        return caller.call(messages.FAN, FAN_WIDTH)

    await child.obey({"tool": tool, "state": state, "fan": fan})


def main(arguments: Sequence[str]) -> None:
    """`worker URL` or `caller URL`."""
    match arguments:
        case ["worker", url]:
            child.end_with_input()
            uvloop.run(work(url))
        case ["caller", url]:
            uvloop.run(call(url))
        case _:
            sys.exit(f"usage: python -m benchmarks.floor {main.__doc__}")


if __name__ == "__main__":
    main(sys.argv[1:])
