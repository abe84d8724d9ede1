"""What is wrong with a running system, and what to do about it: for `nalar doctor`."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final, Literal

from nalar.backend import Store
from nalar.client.client import Client
from nalar.client.holds import Hold
from nalar.cluster.fleet import Fleet
from nalar.cluster.placement import groups_of, place
from nalar.errors import NalarError
from nalar.health import Health, judge
from nalar.serve import connect
from nalar.settings import Settings

#: Ends in a row after which a worker is said not to stay alive.
_FAILURES: Final = 2

#: What is stored to see whether it is, and how long that may take, in seconds.
_PROBE: Final = "doctor"
#: More than the last page of a file may have room for on a disk that is full.
_PROBE_TEXT: Final = b" " * 8192
_STORE_S: Final = 3.0
#: "note" is a fact that this connection cannot judge.
State = Literal["ok", "wrong", "note"]


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
                await _storing(client),
                *await _stored(client),
                *_nodes(await client.scaling.fleet()),
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


async def _storing(client: Client) -> Finding:
    """Give the server an entry to store: one whose disk is full answers everything else."""
    try:
        async with asyncio.timeout(_STORE_S):
            await client.host.backend.control.put(_PROBE, _PROBE_TEXT, ttl_s=_STORE_S)
    except (NalarError, TimeoutError) as error:
        return Finding(
            "wrong",
            f"the server does not store what it is given: {str(error) or f'not in {_STORE_S:g} s'}",
            "look at its log: a full disk needs room, then a restart of the server; credentials "
            "need the right to write",
        )
    return Finding("ok", "the server stores what it is given")


async def _stored(client: Client) -> list[Finding]:
    """Look at what is stored, at who works, and whether anything waits for nobody."""
    workers, agents = await client.workers(), await client.agents()
    stores = await client.stores([told["name"] for told in agents])
    queues = stores[-len(agents) :] if agents else []
    found = [_store(store) for store in stores[: len(stores) - len(queues)]]
    names = ", ".join(str(worker["worker"]) for worker in workers)
    if workers:
        found.append(Finding("ok", f"workers alive: {len(workers)} ({names})"))
    else:
        found.append(Finding("wrong", "no worker is alive", "start one: nalar worker MODULE"))
    if sleeping := len(await client.suspended()):
        found.append(
            Finding("note", f"calls that wait in nobody's hands (suspended): {sleeping:,}")
        )
    found += [_blocked(worker) for worker in workers if worker.get("blocked_s")]
    found += [_cut_off(one) for one in map(judge, workers) if one.reconnects or one.lapses]
    calls = {told["name"]: queue.messages for told, queue in zip(agents, queues, strict=True)}
    found += _held(await client.steering.holds(), calls)
    served = {name for worker in workers for name in worker["agents"]}
    for told, queue in zip(agents, queues, strict=True):
        found.append(_store(queue))
        if told["name"] not in served:
            what = f"no worker serves {told['kind']} {told['name']}; {queue.messages:,} calls wait"
            remedy = f"nalar worker {told['module']}, or whichever MODULE declares it"
            found.append(Finding("wrong" if queue.messages else "note", what, remedy))
    return found


def _held(holds: list[Hold], queued: dict[str, int]) -> list[Finding]:
    """Look at what directives hold back: that is wrong where calls wait for it."""
    found: list[Finding] = []
    for hold in holds:
        calls = queued.get(hold.agent, 0) if hold.waits else 0
        waiting = f"; {calls:,} of its calls wait or run" if calls else ""
        found.append(Finding("wrong" if calls else "note", f"{hold}{waiting}", hold.remedy))
    return found


def _nodes(fleet: Fleet) -> list[Finding]:
    """Look at what nodes run, and at what they cannot."""
    nodes = sorted(fleet.nodes.values(), key=lambda node: node.node)
    found: list[Finding] = []
    if nodes:
        names = ", ".join(node.node for node in nodes)
        found.append(Finding("ok", f"nodes alive: {len(nodes)} ({names})"))
    for node in nodes:
        for it in node.groups.values():
            if it.failures >= _FAILURES:
                what = (
                    f"node {node.node} cannot keep workers of {it.group.name} alive: {it.ending}, "
                    f"{it.failures} times in a row"
                )
                found.append(Finding("wrong", what, "what they said is in that node's log"))
    groups, placement = groups_of(nodes), place(nodes, fleet.provisioned)
    for key, missing in placement.missing.items():
        what = f"no node has room for {missing} of {placement.wanted[key]} workers of "
        remedy = "more nodes, or a larger --max-workers or --resources; see `nalar nodes ls`"
        found.append(Finding("wrong", what + groups[key].name, remedy))
    for agent, count in sorted(fleet.provisioned.items()):
        if agent not in fleet.agents:
            what = f"{count} workers of {agent} are asked for, and no node that is alive runs it"
            remedy = f"nalar node MODULE, or nalar scale {agent} --withdraw"
            found.append(Finding("wrong" if count else "note", what, remedy))
    return found


def _blocked(worker: dict[str, Any]) -> Finding:
    what = (
        f"worker {worker['worker']} has done nothing else for {worker['blocked_s']} s: "
        f"{worker['blocked_in']} blocks its event loop"
    )
    return Finding("wrong", what, "code that blocks belongs in a `def`, which gets a thread")


def _cut_off(worker: Health) -> Finding:
    told: list[str] = []
    if worker.reconnects:
        told.append(f"lost the server {worker.reconnects}x, the last time for {worker.away_s:g} s")
    if worker.lapses:
        told.append(
            f"was taken for dead {worker.lapses}x, having given no sign of life for a lease"
        )
    what = f"worker {worker.worker} is back: it {', and '.join(told)}"
    return Finding("note", what, "its log says when; look at the network there, and the server")


def _store(store: Store) -> Finding:
    what = f"stream {store.name} ({store.holds})"
    if store.error:
        said = f"{what} does not answer: {store.error}"
        return Finding("wrong", said, "a worker makes it again: nalar worker MODULE")
    if store.late:
        said = f"{what}: the copies on {', '.join(store.late)} lag behind or are offline"
        return Finding("wrong", said, "bring those servers back")
    if store.exposed:
        return Finding("wrong", f"{what} has too few copies", store.exposed)
    kept = "" if store.copies == 1 else f", {store.copies} copies"
    return Finding("ok", f"{what}: {store.messages:,} messages{kept}")
