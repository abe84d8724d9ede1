"""The floor's messages: what Nalar sends for the same call, written by hand. Pure.

Headers and bodies equal, byte for byte in size, what `nalar.bus.codec` makes (a test compares
them), so that both sides move the same load. Subjects differ by their first word alone.
"""

import hashlib
from typing import Any, Final

import orjson

from nalar.bus.subjects import bucket_filter

#: As long as Nalar's own names, so that subjects have the same size.
BUCKET: Final = "floor"
QUEUE: Final = "floor.inv"
DONE: Final = "floor.done"
KEYS: Final = bucket_filter(BUCKET).removesuffix(">")
#: A deadline of seven days and as long for reading the result: Nalar's defaults.
TTL: Final = str(14 * 86_400)
#: Digest of a method's source, as records carry it.
CODE: Final = hashlib.blake2b(b"floor", digest_size=6).hexdigest()

TOOL, FAN, AGENT = "noop", "fan", "Counter"
#: Methods as records name them; a tool's or workflow's is "run".
METHODS: Final = {TOOL: "run", FAN: "run", AGENT: "add"}
PATHS: Final = {TOOL: "noop", FAN: "fan", AGENT: "Counter.add"}
ARGUMENTS: Final = {TOOL: "value", FAN: "width", AGENT: "amount"}


def key_of(agent: str, session: str, root: str, parent: str, future: str) -> str:
    """Return where the call's record stands, without the bucket."""
    effect = "s" if agent == AGENT else "r"
    place = session if agent == AGENT else "_"
    return f"call.{effect}.{agent}.{place}.{root}.{parent}.{future}"


def done_subject(key: str) -> str:
    """Return where the record kept under `key` is republished; `key` may be a pattern."""
    return f"{DONE}.{key.removeprefix('call.')}"


def invocation(
    agent: str, key: str, session: str, value: int, now_s: float
) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body that ask for a call."""
    headers = {
        "Nalar-Protocol": "1",
        "Nalar-Ref": key,
        "Nalar-Method": METHODS[agent],
        "Nalar-Session": session,
        "Nalar-Deadline": repr(now_s + 604_800.0),
        "Nalar-Created": repr(now_s),
    }
    body = orjson.dumps({"path": PATHS[agent], "arguments": {ARGUMENTS[agent]: value}})
    return headers, body


def record(
    agent: str,
    asked: tuple[dict[str, str], dict[str, Any]],
    outcome: tuple[int, dict[str, Any] | None],
    worker: str,
    times_s: tuple[float, float],
) -> bytes:
    """Return the record of a call that was asked for with these headers and this body."""
    headers, body = asked
    result, delta = outcome
    fields: dict[str, Any] = {
        "protocol": 1,
        "status": "succeeded",
        "method": headers["Nalar-Method"],
        "session": headers["Nalar-Session"],
        "worker": worker,
        "attempt": 1,
        "created": float(headers["Nalar-Created"]),
        "started": times_s[0],
        "finished": times_s[1],
        "path": PATHS[agent],
        "code": CODE,
        "arguments": body["arguments"],
    }
    if delta is not None:
        fields["delta"] = delta
    fields["result"] = result
    return orjson.dumps(fields)


def commit_headers(agent: str, key: str, session: str, sequence: int) -> dict[str, str]:
    """Return the headers of a commit: fenced by the session's log, or by its own key."""
    if agent == AGENT:
        fence = f"{KEYS}call.s.{agent}.{session}.>"
        return {
            "Nats-Expected-Last-Subject-Sequence": str(sequence),
            "Nats-Expected-Last-Subject-Sequence-Subject": fence,
        }
    return {
        "Nats-Expected-Last-Subject-Sequence": "0",
        "Nats-Expected-Last-Subject-Sequence-Subject": f"{KEYS}{key}",
        "Nats-TTL": TTL,
    }
