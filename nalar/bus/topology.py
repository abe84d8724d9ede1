"""Streams and consumers as data, and how they come to stand.

Everything is explicit, so that a server's defaults cannot drift under us. Ensuring is idempotent
and safe from many processes at once. What an operator may tune is left as it was found; a
difference that would break a promise is an error that names it.
"""

from typing import Any, Final

import orjson

from nalar.bus import subjects
from nalar.bus.link import Link
from nalar.bus.replies import (
    JETSTREAM_DISABLED,
    STREAM_NAME_IN_USE,
    STREAM_NOT_FOUND,
    ApiError,
    parse_api,
)
from nalar.bus.together import together
from nalar.errors import Unavailable
from nalar.ids import AgentName

#: How many pulls may wait at one consumer; each idle worker keeps a few.
PULLS_WAITING_MAX: Final = 4096
#: How long the marker of an expired or deleted control entry stays to be seen by watchers.
MARKER_TTL_S: Final = 60

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


def lane_consumer(agent: AgentName, lane: str, lease_s: float) -> Config:
    """Return a lane's durable pull consumer.

    No limit on unacknowledged messages: parked dependants would use it up and starve their own
    producer. The worker bounds what it holds.
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
    }


async def ensure_stream(link: Link, config: Config) -> None:
    """Make the stream unless it stands; raises Unavailable when it stands otherwise."""
    name: str = config["name"]
    found = await _find_stream(link, name)
    if found is None:
        try:
            await _call(link, subjects.api_stream("CREATE", name), config)
        except ApiError as error:
            if error.err_code != STREAM_NAME_IN_USE:
                raise _refused(link, f"stream {name} cannot be made", error) from error
            # Another process made it between our two requests.
            found = await _find_stream(link, name)
    if found is not None:
        _compare(name, config, found)


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
    try:
        await _call(link, at, {"stream_name": stream, "config": config, "action": ""})
    except ApiError as error:
        raise _refused(link, f"lane {lane} of {agent} cannot be made", error) from error


async def _find_stream(link: Link, name: str) -> Config | None:
    try:
        reply = await _call(link, subjects.api_stream("INFO", name), None)
    except ApiError as error:
        if error.err_code == STREAM_NOT_FOUND:
            return None
        raise _refused(link, f"stream {name} cannot be read", error) from error
    found: Config = reply["config"]
    return found


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
    return Unavailable(f"{what} at {url}: {error} (code {error.err_code})")


async def _call(link: Link, subject: str, body: Config | None) -> Config:
    return parse_api(await link.api(subject, b"" if body is None else orjson.dumps(body)))
