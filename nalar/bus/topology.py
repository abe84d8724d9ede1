"""Streams and consumers as data, and how they come to stand.

Everything is explicit, so that a server's defaults cannot drift under us. Ensuring is idempotent
and safe from many processes at once. What an operator may tune is left as it was found; a
difference that would break a promise is an error that names it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import orjson

from nalar.bus import subjects
from nalar.bus.link import Link
from nalar.bus.replies import (
    ELECTING,
    JETSTREAM_DISABLED,
    REPLICAS_UNSUPPORTED,
    STREAM_NAME_IN_USE,
    STREAM_NOT_FOUND,
    TOO_FEW_SERVERS,
    ApiError,
    NoResponders,
    Unanswered,
    parse_api,
)
from nalar.bus.together import together
from nalar.errors import Unavailable
from nalar.ids import AgentName

log = logging.getLogger("nalar.topology")

T = TypeVar("T")

#: How long a cluster may be without leaders before that is an error: elections take up to ten
#: seconds, and meanwhile it says nothing, or that it is unavailable.
ELECTION_S: Final = 15.0
#: Pause before it is asked again.
ELECTION_PAUSE_S: Final = 0.25
#: How many pulls may wait at one consumer; each idle worker keeps a few.
PULLS_WAITING_MAX: Final = 4096
#: How long the marker of an expired or deleted control entry stays to be seen by watchers.
MARKER_TTL_S: Final = 60

#: How long chunks are kept: whoever reads later has the record.
CHUNKS_KEPT_S: Final = 86_400

#: What an operator may set otherwise without breaking a promise.
_FREE: Final = frozenset(
    ("description", "num_replicas", "max_bytes", "placement", "compression", "metadata",
     "duplicate_window", "max_msg_size", "subject_transform")
)  # fmt: skip

_NANOSECONDS = 1_000_000_000

Config = dict[str, Any]


def _stream(name: str, subject_filters: list[str], replicas: int) -> Config:
    """Return what all our streams share: on disk, never dropping what was accepted."""
    return {
        "name": name,
        "subjects": subject_filters,
        "storage": "file",
        "num_replicas": replicas,
        "retention": "limits",
        "discard": "new",
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_consumers": -1,
    }


def queue_stream(agent: AgentName, replicas: int = 1) -> Config:
    """Return the agent's work queue.

    No maximum age: a message that is being worked on would vanish at it. One message a
    subject, new ones refused: a copy of a waiting invocation is not stored, however long ago
    the first came, which no deduplication window promises.
    """
    return _stream(subjects.queue_stream(agent), [subjects.queue_filter(agent)], replicas) | {
        "description": f"Calls of {agent} that wait or run",
        "retention": "workqueue",
        "max_msgs_per_subject": 1,
        "discard_new_per_subject": True,
        "allow_direct": True,
    }


def ledger_stream(replicas: int = 1) -> Config:
    """Return the KV bucket of records and snapshots.

    Rollup stays off: with it, whoever may write one key can wipe the bucket. `nats kv get`
    and `ls` do not need it; `nats kv purge` does, and must not work here. Messages cannot be
    deleted one by one. Purging a subject stays possible for housekeeping (`deny_purge` cannot
    be lifted again), so the right to call STREAM.PURGE is what guards it: no worker has it.
    """
    source, destination = subjects.LEDGER_REPUBLISH
    bucket = subjects.LEDGER_BUCKET
    return _stream(subjects.bucket_stream(bucket), [subjects.bucket_filter(bucket)], replicas) | {
        "description": "Results of calls and state of sessions",
        "max_msgs_per_subject": 1,
        "allow_direct": True,
        "allow_msg_ttl": True,
        "allow_rollup_hdrs": False,
        "deny_delete": True,
        "deny_purge": False,
        "republish": {"src": source, "dest": destination},
    }


def control_stream(replicas: int = 1) -> Config:
    """Return the KV bucket of leases, registry and directives, whose entries may expire.

    An expiry leaves a marker, so that watchers hear of it; the server insists on rollup then.
    """
    source, destination = subjects.CONTROL_REPUBLISH
    bucket = subjects.CONTROL_BUCKET
    return _stream(subjects.bucket_stream(bucket), [subjects.bucket_filter(bucket)], replicas) | {
        "description": "Leases, registry and directives",
        "max_msgs_per_subject": 1,
        "allow_direct": True,
        "allow_msg_ttl": True,
        "allow_rollup_hdrs": True,
        "subject_delete_marker_ttl": MARKER_TTL_S * _NANOSECONDS,
        "republish": {"src": source, "dest": destination},
    }


def blob_stream(replicas: int = 1) -> Config:
    """Return the object store of values too large for a message, in the standard layout."""
    return _stream(subjects.BLOB_STREAM, list(subjects.BLOB_FILTERS), replicas) | {
        "description": "Values too large for a message",
        "max_msgs_per_subject": -1,
        "allow_direct": True,
        "allow_rollup_hdrs": True,
    }


def chunk_stream(replicas: int = 1) -> Config:
    """Return the log of what calls yield: a preview of their results, which goes after a day."""
    source, destination = subjects.CHUNK_REPUBLISH
    return _stream(subjects.CHUNK_STREAM, [subjects.CHUNK_FILTER], replicas) | {
        "description": "What calls yield before they end",
        "max_age": CHUNKS_KEPT_S * _NANOSECONDS,
        "allow_direct": True,
        "republish": {"src": source, "dest": destination},
    }


def lane_consumer(agent: AgentName, lane: str, lease_s: float) -> Config:
    """Return a lane's durable pull consumer.

    No limit on unacknowledged messages: parked dependants would use it up and starve their own
    producer. The worker bounds what it holds. Of the workers that ask, the idlest goes first.
    """
    durable = subjects.lane_durable(lane)
    return {
        "name": durable,
        "durable_name": durable,
        "filter_subject": subjects.lane_filter(agent, lane),
        "deliver_policy": "all",
        "replay_policy": "instant",
        "ack_policy": "explicit",
        "ack_wait": int(lease_s * _NANOSECONDS),
        "max_deliver": -1,
        "max_ack_pending": -1,
        "max_waiting": PULLS_WAITING_MAX,
        "priority_policy": "prioritized",
        "priority_groups": [subjects.ASK_GROUP],
    }


async def ensure_stream(link: Link, config: Config) -> None:
    """Make the stream unless it stands; raises Unavailable when it stands otherwise.

    Waits while a cluster elects leaders. Fewer copies than wanted are told, not refused: what is
    there works, and raising the number is the operator's.
    """
    name: str = config["name"]
    try:
        found = await _patiently(link, lambda: _standing(link, config))
    except ApiError as error:
        raise _refused(link, f"stream {name} cannot be made or read", error) from error
    _compare(name, config, found["config"])
    copies, wanted = int(found["config"]["num_replicas"]), int(config["num_replicas"])
    if copies < wanted and found.get("cluster"):
        log.warning("%s", fewer_copies(name, copies, wanted))


def fewer_copies(name: str, copies: int, wanted: int) -> str:
    """Say what it means that a stream of a cluster has too few copies, and the way out."""
    return (
        f"stream {name} has {copies} of {wanted} copies, and is lost with its server's disk; "
        f"`nats stream edit {name} --replicas {wanted}` makes more, NALAR_SET_REPLICAS={copies} "
        "says that it is meant to be so"
    )


async def _standing(link: Link, config: Config) -> dict[str, Any]:
    """Return what the server tells of the stream, after having made it if need be."""
    name: str = config["name"]
    found = await _find_stream(link, name)
    if found is not None:
        return found
    try:
        return await _call(link, subjects.api_stream("CREATE", name), config)
    except ApiError as error:
        if error.err_code == REPLICAS_UNSUPPORTED and config["num_replicas"] > 1:
            # A leaf node names a cluster, but keeps its streams alone.
            return await _standing(link, config | {"num_replicas": 1})
        if error.err_code != STREAM_NAME_IN_USE:
            raise
        # Another process made it between our two requests.
        found = await _find_stream(link, name)
        if found is None:
            raise
        return found


async def _patiently(link: Link, attempt: Callable[[], Awaitable[T]]) -> T:
    """Return what `attempt` does, which is made again while a cluster elects leaders."""
    loop = asyncio.get_running_loop()
    until = loop.time() + ELECTION_S
    while True:
        try:
            return await attempt()
        except (Unanswered, NoResponders):
            if loop.time() >= until or link.closed:
                raise
        except ApiError as error:
            if loop.time() >= until or error.err_code not in ELECTING:
                raise
        await asyncio.sleep(ELECTION_PAUSE_S)


async def ensure_consumers(
    link: Link, agent: AgentName, lanes: tuple[str, ...], lease_s: float
) -> None:
    """Make the consumers of an agent's lanes, or set their lease to this process's."""
    await together(ensure_consumer(link, agent, lane, lease_s) for lane in lanes)


async def ensure_consumer(link: Link, agent: AgentName, lane: str, lease_s: float) -> None:
    """Make one lane's consumer, or set its lease."""
    stream = subjects.queue_stream(agent)
    config = lane_consumer(agent, lane, lease_s)
    at = subjects.api_consumer_create(stream, config["durable_name"], config["filter_subject"])
    body = {"stream_name": stream, "config": config, "action": ""}
    try:
        await _patiently(link, lambda: _call(link, at, body))
    except ApiError as error:
        raise _refused(link, f"lane {lane} of {agent} cannot be made", error) from error


async def _find_stream(link: Link, name: str) -> dict[str, Any] | None:
    try:
        return await _call(link, subjects.api_stream("INFO", name), None)
    except ApiError as error:
        if error.err_code == STREAM_NOT_FOUND:
            return None
        raise


def _compare(name: str, wanted: Config, found: Config) -> None:
    """Raise Unavailable when `found` differs where a promise depends on it."""
    differing = [
        f"{field} is {found.get(field)!r}, not {value!r}"
        for field, value in wanted.items()
        if field not in _FREE and (found.get(field) or None) != (value or None)
    ]
    if differing:
        raise Unavailable(
            f"stream {name} stands with another configuration: {'; '.join(differing)}. "
            f"Another version of Nalar or an operator made it; `nats stream edit {name}` mends it"
        )


def _refused(link: Link, what: str, error: ApiError) -> Unavailable:
    url = link.describe()["url"]
    if error.err_code in JETSTREAM_DISABLED:
        return Unavailable(f"{what} at {url}: JetStream is off for this account; enable it there")
    if error.err_code == TOO_FEW_SERVERS:
        return Unavailable(
            f"{what} at {url}: {error} (code {error.err_code}). The cluster has fewer servers than "
            "a stream has copies: start the others, or set NALAR_SET_REPLICAS=1 to do without"
        )
    return Unavailable(f"{what} at {url}: {error} (code {error.err_code})")


async def _call(link: Link, subject: str, body: Config | None) -> dict[str, Any]:
    return parse_api(await link.api(subject, b"" if body is None else orjson.dumps(body)))
