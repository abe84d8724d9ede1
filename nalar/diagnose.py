"""What is wrong with a running system, and what to do about it: for `nalar doctor`."""

from dataclasses import dataclass
from typing import Any, Literal

import orjson

from nalar.bus import subjects
from nalar.client import Client
from nalar.errors import NalarError
from nalar.ids import AgentName
from nalar.serve import connect
from nalar.settings import Settings

#: "note" is a fact that this connection cannot judge.
State = Literal["ok", "wrong", "note"]

_BUCKETS = {
    subjects.LEDGER_BUCKET: "results and session state",
    subjects.CONTROL_BUCKET: "leases and registry",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    state: State
    what: str
    #: What to do when it is wrong.
    remedy: str = ""


async def diagnose(settings: Settings) -> list[Finding]:
    """Look at the server, what it stores and who works; never raises for what it looks for."""
    try:
        async with connect(settings=settings) as client:
            return [
                *_server(client),
                *await _streams(client),
                *await _served(client),
            ]
    except NalarError as error:
        remedy = (
            "start one with `nalar dev MODULE` or `nalar server`, or say where it is with "
            "--server or NATS_URL"
        )
        return [Finding("wrong", str(error), remedy)]


def _server(client: Client) -> list[Finding]:
    told = client.describe()
    found = [
        Finding("ok", f"nats-server {told['version']} at {told['url']}, JetStream on"),
        Finding(
            "note",
            "whether the server writes to disk before it acknowledges cannot be seen from here",
            "for that, its configuration has `jetstream { sync_interval: always }`, which is what "
            "`nalar server` starts with",
        ),
    ]
    if told.get("replicas") == 1:
        found.append(
            Finding(
                "note",
                "each stream has one copy: what is stored is as safe as that server's disk",
                "a cluster of three servers keeps three copies",
            )
        )
    return found


async def _streams(client: Client) -> list[Finding]:
    """Look at what is stored: that it answers, and that its copies are well."""
    names = {subjects.bucket_stream(bucket): what for bucket, what in _BUCKETS.items()}
    names[subjects.BLOB_STREAM] = "large values"
    return [(await _stream(client, name, what))[0] for name, what in names.items()]


async def _stream(client: Client, name: str, what: str) -> tuple[Finding, int]:
    """Return how a stream is, and how many messages are in it."""
    link: Any = getattr(client.host.backend, "link", None)
    assert link is not None, "connect() goes to JetStream"
    try:
        reply: bytes = await link.api(subjects.api_stream("INFO", name))
    except NalarError as error:
        return Finding("wrong", f"stream {name} does not answer: {error}", "see its log"), 0
    info: dict[str, Any] = orjson.loads(reply)
    if "error" in info:
        said = info["error"].get("description", info["error"])
        remedy = "a worker makes it again: nalar worker MODULE"
        return Finding("wrong", f"stream {name} ({what}): {said}", remedy), 0
    messages: int = info["state"]["messages"]
    cluster: dict[str, Any] = info.get("cluster", {})
    peers: list[dict[str, Any]] = cluster.get("replicas", [])
    late = [peer["name"] for peer in peers
            if not peer.get("current")]  # fmt: skip
    if late:
        said = f"stream {name} ({what}): the copies on {', '.join(late)} lag behind or are offline"
        return Finding("wrong", said, "bring those servers back"), messages
    return Finding("ok", f"stream {name} ({what}): {messages:,} messages"), messages


async def _served(client: Client) -> list[Finding]:
    """Look at who works, and whether anything waits for a worker that is not there."""
    workers, agents = await client.workers(), await client.agents()
    names = ", ".join(str(worker["worker"]) for worker in workers)
    found = [
        Finding("ok", f"workers alive: {len(workers)} ({names})")
        if workers
        else Finding("wrong", "no worker is alive", "start one: nalar worker MODULE")
    ]
    served = {name for worker in workers for name in worker["agents"]}
    for told in agents:
        queue = subjects.queue_stream(AgentName(told["name"]))
        finding, waiting = await _stream(client, queue, f"calls of {told['name']}")
        found.append(finding)
        if told["name"] not in served:
            found.append(
                Finding(
                    "wrong" if waiting else "note",
                    f"no worker serves {told['kind']} {told['name']}; {waiting:,} calls wait",
                    f"nalar worker {told['module']}, or whichever MODULE declares it",
                )
            )
    return found
