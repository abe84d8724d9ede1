"""Ports that fail on purpose: a backend and agents with the faults of `nalar.faults.plan`.

They stand before the real ones only in a process that plans a fault, so that nothing else of
Nalar knows of them. What they lose, a network or a crash could lose as well.
"""

import asyncio
import dataclasses
import functools
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, cast

from nalar.agents.spec import AgentSpec, MethodSpec
from nalar.backend import Backend
from nalar.bus.port import Delivery, Inbox, Queue
from nalar.errors import CommitUnknown, NalarError, Unavailable
from nalar.faults.plan import FAULT, Faults
from nalar.ids import AgentName, Ref
from nalar.messages import Invocation
from nalar.statestore.port import KeyValue, Ledger, LedgerEntry, Watch

#: An acknowledgement is on its way by then, in seconds.
_ACK_SENT_S: Final = 0.05
#: Entries whose writing has points: the first token of their key, which an agent's name follows,
#: and what the points call it.
_KINDS: Final = {"state": "snapshot", "lease": "lease"}


def faulty_backend(inner: Backend, faults: Faults) -> Backend:
    """Return `inner` with `faults` before it."""
    return cast("Backend", _FaultyBackend(inner, faults))


def faulty_agents(agents: Sequence[AgentSpec], faults: Faults) -> list[AgentSpec]:
    """Return `agents` with the point before their code."""
    return [
        dataclasses.replace(
            agent,
            methods={
                name: _faulty_method(spec, agent.name, faults)
                for name, spec in agent.methods.items()
            },
        )
        for agent in agents
    ]


def _faulty_method(spec: MethodSpec, agent: AgentName, faults: Faults) -> MethodSpec:
    @functools.wraps(spec.fn)
    async def begin(*args: Any, **kwargs: Any) -> Any:
        await faults.reach("before_run", agent, Unavailable)
        return await spec.fn(*args, **kwargs)

    @functools.wraps(spec.fn)
    def begin_blocking(*args: Any, **kwargs: Any) -> Any:
        fault = faults.at("before_run", agent)
        if fault is not None and fault.action != "delay":
            raise Unavailable(f"{FAULT} {fault}")
        if fault is not None:
            time.sleep(fault.delay_s)
        return spec.fn(*args, **kwargs)

    coroutine = spec.is_async and not spec.is_generator
    return dataclasses.replace(spec, fn=begin if coroutine else begin_blocking)


class _Before:
    """Stands before a port; whatever it does not do itself, the port does."""

    def __init__(self, inner: Any, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def _around(
        self, kind: str, agent: str, send: Callable[[], Awaitable[Any]], error: type[NalarError]
    ) -> Any:
        """Send what concerns `agent` between the two points of `kind`."""
        await self._faults.reach(f"before_{kind}", agent, error)
        answer = await send()
        await self._faults.reach(f"after_{kind}", agent, error)
        return answer


class _FaultyBackend(_Before):
    """`nalar.backend.Backend`."""

    def __init__(self, inner: Backend, faults: Faults) -> None:
        super().__init__(inner, faults)
        self.queue = cast("Queue", _FaultyQueue(inner.queue, faults))
        self.ledger = cast("Ledger", _FaultyLedger(inner.ledger, faults))
        self.snapshots = cast("KeyValue", _FaultyKeyValue(inner.snapshots, faults))
        self.control = cast("KeyValue", _FaultyKeyValue(inner.control, faults))


class _FaultyQueue(_Before):
    """`nalar.bus.port.Queue`."""

    def publish(self, lane: str, invocation: Invocation) -> asyncio.Future[None]:
        def send() -> asyncio.Future[None]:
            sent: asyncio.Future[None] = self._inner.publish(lane, invocation)
            return sent

        # Tasks begin in the order in which they are made, so messages leave in that of the calls.
        sending = self._around("publish", invocation.ref.agent, send, Unavailable)
        return asyncio.get_running_loop().create_task(sending)

    async def open(
        self,
        agent: AgentName,
        lane: str,
        deliver: Callable[[Delivery], None],
        lapsed: Callable[[int], None],
    ) -> Inbox:
        def received(delivery: Delivery) -> None:
            handed = cast("Delivery", _FaultyDelivery(delivery, agent, self._faults))
            self._faults.pass_on("received", agent, lambda: deliver(handed))

        opened: Inbox = await self._inner.open(agent, lane, received, lapsed)
        return opened


class _FaultyDelivery(_Before):
    """`nalar.bus.port.Delivery`."""

    def __init__(self, inner: Delivery, agent: AgentName, faults: Faults) -> None:
        super().__init__(inner, faults)
        self._agent = agent

    def ack(self) -> None:
        self._faults.pass_on("before_ack", self._agent, self._ack)

    def _ack(self) -> None:
        self._inner.ack()
        reached = functools.partial(self._faults.at, "after_ack", self._agent)
        asyncio.get_running_loop().call_later(_ACK_SENT_S, reached)


class _FaultyLedger(_Before):
    """`nalar.statestore.port.Ledger`."""

    async def commit(self, ref: Ref, body: bytes, *, expected: int, ttl_s: float) -> int:
        def send() -> Awaitable[int]:
            sent: Awaitable[int] = self._inner.commit(ref, body, expected=expected, ttl_s=ttl_s)
            return sent

        revision: int = await self._around("commit", ref.agent, send, CommitUnknown)
        return revision

    def watch(self, pattern: str, deliver: Callable[[LedgerEntry], None]) -> Watch:
        def heard(entry: LedgerEntry) -> None:
            self._faults.pass_on("heard", entry.ref.agent, lambda: deliver(entry))

        watch: Watch = self._inner.watch(pattern, heard)
        return watch


class _FaultyKeyValue(_Before):
    """`nalar.statestore.port.KeyValue`."""

    async def put(
        self, key: str, value: bytes, *, expected: int | None = None, ttl_s: float | None = None
    ) -> int:
        def send() -> Awaitable[int]:
            sent: Awaitable[int] = self._inner.put(key, value, expected=expected, ttl_s=ttl_s)
            return sent

        first, agent, *_ = (*key.split("."), "")
        kind = _KINDS.get(first)
        revision: int
        if kind is None:
            revision = await send()
        else:
            revision = await self._around(kind, agent, send, Unavailable)
        return revision
