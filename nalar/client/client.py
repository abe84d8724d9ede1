"""What a connected program can ask: submit and follow runs, list what is served, read sessions.

Calls themselves are made with the stubs; connecting makes them go to the broker.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from nalar.agents.describe import read_description, remote_method
from nalar.agents.registry import REGISTRY
from nalar.agents.spec import MethodSpec
from nalar.agents.stub import Stub
from nalar.backend import Store
from nalar.bus.port import Watch
from nalar.calls.letters import DeadLetter
from nalar.calls.suspended import Suspended
from nalar.calls.waking import all_suspended
from nalar.client.cancellations import Cancellation, Cancellations
from nalar.client.deadletters import DeadLetters
from nalar.client.runs import Runs
from nalar.client.scaling import Scaling
from nalar.client.steering import Steering
from nalar.cluster.journal import Decision, Journal
from nalar.cluster.nodes import NodeEntry
from nalar.cluster.policy_store import PolicyStore
from nalar.context import DEFAULT_OPTIONS, CallOptions, current_call
from nalar.controllers.registering import AGENTS, live_workers
from nalar.errors import (
    MalformedMessage,
    Unavailable,
    UnknownTarget,
    UsageError,
    suggest,
)
from nalar.futures import Future
from nalar.ids import (
    AgentName,
    Ref,
    SessionId,
    encode_token,
    is_wire_token,
    readable_token,
)
from nalar.loops import LoopThread
from nalar.processes.host import Host
from nalar.statestore.port import LedgerEntry
from nalar.statestore.sessions import Sessions

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SessionView:
    """One session as the ledger has it."""

    agent: str
    session: str
    #: Place of its newest commit in the ledger.
    revision: int
    state: dict[str, Any]


class Client:
    """A connection, for code on an event loop; made by `async with nalar.connect()`."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._runs = Runs(host.backend, host.settings, host.clock)

    async def submit(
        self,
        target: Stub[..., Any] | str,
        /,
        *args: Any,
        options: CallOptions | None = None,
        **kwargs: Any,
    ) -> str:
        """Make a request that outlives this program; return its run id once it is stored.

        `target` is a workflow, tool or method stub, or its name. Raises UnknownTarget for a name
        that is neither declared here nor served, ArgumentError for wrong arguments, UsageError
        for an idempotency key that stands for other ones, and Unavailable when the server does
        not answer: with an idempotency key it may be made again.
        """
        future = await self.request(target, *args, options=options, **kwargs)
        assert future.ref is not None, "a call has an address"
        return future.ref.root

    async def request(
        self,
        target: Stub[..., Any] | str,
        /,
        *args: Any,
        options: CallOptions | None = None,
        **kwargs: Any,
    ) -> Future[Any]:
        """As `submit`, for who waits for the result here: return the future once it is stored."""
        spec, chosen = await self._chosen(target, options)
        named = chosen.idempotency_key is not None and current_call() is None
        claimed = 0
        if named:
            claimed = await self._runs.claim(spec, spec.signature.bind(args, kwargs), chosen)
        try:
            future = await self._stored(spec, self.host.calls.call(spec, args, kwargs, chosen))
        except UsageError:
            if claimed:
                await self._runs.release(spec, chosen, claimed)
            raise
        assert future.ref is not None, "a call has an address"
        if not named:
            await self._runs.note(future.ref, spec.target)
        return future

    async def _stored(self, spec: MethodSpec, future: Future[Any]) -> Future[Any]:
        try:
            async with asyncio.timeout(self.host.settings.reply_timeout_s):
                await self.host.calls.stored()
        except TimeoutError:
            raise Unavailable(
                f"the server has not answered within {self.host.settings.reply_timeout_s:g} s: "
                f"whether the request of {spec.label} is stored is not known"
            ) from None
        if future.done() and not future.revision:
            await future  # It failed without a record: it could not be stored. Say why.
        return future

    async def call(
        self,
        target: Stub[..., Any] | str,
        /,
        *args: Any,
        options: CallOptions | None = None,
        **kwargs: Any,
    ) -> Future[Any]:
        """Call a stub, or what a name stands for, and return its future."""
        spec, chosen = await self._chosen(target, options)
        return self.host.calls.call(spec, args, kwargs, chosen)

    async def _chosen(
        self, target: Stub[..., Any] | str, options: CallOptions | None
    ) -> tuple[MethodSpec, CallOptions]:
        if isinstance(target, str):
            return await self.method(target), options or DEFAULT_OPTIONS
        if not isinstance(cast("object", target), Stub):  # A user's: it may be anything.
            raise UsageError(
                f"{target!r:.80} cannot be called: give a workflow, a tool, Agent.method, or the "
                "name of one"
            )
        return target.spec, options or target.call_options

    async def method(self, target: str) -> MethodSpec:
        """Return what is known of `Agent.method` (or of a tool or workflow) that is served."""
        agent, _, name = target.partition(".")
        return remote_method(await self.agent(agent), name)

    async def agent(self, name: str) -> dict[str, Any]:
        """Return the description of an agent, tool or workflow that is or was served.

        Raises UnknownTarget, with a suggestion, when none of that name was, and MalformedMessage
        when its description is none that we understand.
        """
        entry = await self.host.backend.control.get(f"{AGENTS}.{encode_token(name)}")
        if entry is not None and entry.value is not None:
            try:
                return read_description(entry.value)
            except MalformedMessage as error:
                raise MalformedMessage(
                    f"what the registry holds of {name!r} is {error}; the next worker that serves "
                    "it writes it anew"
                ) from error
        served = [told["name"] for told in await self.agents()]
        listed = f" Served: {', '.join(served)}." if served else " Nothing is served yet."
        raise UnknownTarget(f"no agent named {name!r} is served.{suggest(name, served)}{listed}")

    async def future(self, run: str) -> Future[Any]:
        """Return the future of a run that was submitted by this or another program.

        Raises UnknownTarget when no such run was submitted.
        """
        ref, target = await self._runs.find(run)
        # Typed when this program has declared what ran; plain JSON otherwise.
        spec = REGISTRY.method(target) if ref.agent in REGISTRY else None
        return self.host.calls.attach(spec, ref)

    async def cancel(self, run: str, call: str = "") -> Cancellation:
        """End a run, or one of its calls, as cancelled; see `Cancellations.cancel`."""
        return await Cancellations(self.host).cancel(run, call)

    async def signal(
        self, run: str, name: str, value: object = None, *, call: str = "", key: str | None = None
    ) -> None:
        """Send a run the signal `name`, for its `nalar.wait_for(name)`; return once it is stored.

        With a `call`, the id of one of the run's calls, it goes to that one; with a `key` it is
        sent once, however often this is tried. Raises UnknownTarget for a run that was never
        submitted, UsageError for a run or call that has ended, InvalidToken and ArgumentError for
        what can be no name or value.
        """
        ref, _ = await self._runs.find(run)
        if call and not is_wire_token(call):
            raise UsageError(f"{call[:200]!r} is no id of a call")
        signals = self.host.calls.signals
        await signals.deliver(ref.root, call or ref.future, name, value, key=key)

    def follow(self, run: str, counted: Callable[[int], None]) -> Watch:
        """Call `counted` with how many calls of a run have ended, each time one does."""
        ended: set[Ref] = set()

        def count(entry: LedgerEntry) -> None:
            ended.add(entry.ref)
            counted(len(ended))

        return self.host.backend.ledger.watch(f"call.*.*.*.{encode_token(run)}.*.*", count)

    async def suspended(self, run: str = "") -> list[Suspended]:
        """Return the calls that wait in nobody's hands, of one run if it is named."""
        return await all_suspended(self.host.backend.control, run)

    async def agents(self) -> list[dict[str, Any]]:
        """Return the descriptions of all agents, tools and workflows ever served, by name.

        Entries that a strange hand, or a later version, has written are left out.
        """
        found: list[dict[str, Any]] = []
        for entry in await self.host.backend.control.scan(AGENTS):
            with contextlib.suppress(MalformedMessage):
                found.append(read_description(entry.value or b""))
        return found

    async def workers(self) -> list[dict[str, Any]]:
        """Return what each live worker says of itself, by name."""
        return await live_workers(self.host.backend.control)

    async def nodes(self) -> list[NodeEntry]:
        """Return what each live node says of itself, by name."""
        return sorted((await self.scaling.fleet()).nodes.values(), key=lambda it: it.node)

    async def sessions(self, agent: str = "") -> list[tuple[str, str]]:
        """Return (agent, session) of every session that has a record, by name.

        Reads the key of each of their calls: slow where millions are remembered.
        """
        agents = [agent] if agent else [told["name"] for told in await self.agents()]
        found = [
            (name, readable_token(session))
            for name in agents
            for session in await self.host.backend.ledger.sessions(AgentName(encode_token(name)))
        ]
        return sorted(found)

    async def session(self, agent: str, session: str) -> SessionView:
        """Return a session's committed state; an unknown one is empty, at revision 0.

        Reads its snapshot and the calls since; one without a snapshot, all its calls.
        """
        store = Sessions(self.host.backend, self.host.settings)
        held = await store.open(AgentName(encode_token(agent)), SessionId(encode_token(session)))
        return SessionView(agent, session, held.fold.revision, dict(held.fold.state))

    async def dead_letters(self, agent: str = "") -> list[DeadLetter]:
        """Return the calls that failed for good and the messages that were none, newest first."""
        return await DeadLetters(self.host).all(agent)

    async def dead_letter(self, letter_id: str) -> DeadLetter:
        """Return one dead letter; raises UnknownTarget when there is none of that id."""
        return await DeadLetters(self.host).get(letter_id)

    async def redrive(self, letter_id: str, *, again: bool = False) -> str:
        """Make a new request of a dead letter and return its run id; see `DeadLetters.redrive`."""
        return await DeadLetters(self.host).redrive(letter_id, again=again)

    async def purge_dead(self, letter_ids: Iterable[str]) -> int:
        """Delete dead letters for good and return how many."""
        return await DeadLetters(self.host).purge(letter_ids)

    @property
    def steering(self) -> Steering:
        """Directives to the workers: pause, limit, prioritise, migrate, drain."""
        return Steering(self.host.backend.control, self.host.clock)

    @property
    def scaling(self) -> Scaling:
        """How many workers there are to be, and the nodes that run them."""
        return Scaling(self.host.backend.control, self.steering)

    @property
    def policies(self) -> PolicyStore:
        """The policies that controllers run: versions, apply, rollback; and who leads."""
        return PolicyStore(self.host.backend.control, self.host.clock)

    async def decisions(self, count: int) -> list[Decision]:
        """Return what controllers have decided last, the newest last; kept for an hour."""
        return await Journal(self.host.backend.control).last(count)

    async def stores(self, agents: Sequence[str] = ()) -> list[Store]:
        """Return how the ledger, the buckets and the queues of `agents` are."""
        return await self.host.backend.stores([AgentName(encode_token(name)) for name in agents])

    def describe(self) -> dict[str, object]:
        """Return what the connection is: server, version, address."""
        return self.host.backend.describe()


class SyncClient:
    """The same for scripts and notebooks; made by `with nalar.connect()`."""

    def __init__(self, client: Client, thread: LoopThread) -> None:
        self._client = client
        self._thread = thread

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._thread.run(work)

    def submit(
        self,
        target: Stub[..., Any] | str,
        /,
        *args: Any,
        options: CallOptions | None = None,
        **kwargs: Any,
    ) -> str:
        """As `Client.submit`."""
        return self._do(self._client.submit(target, *args, options=options, **kwargs))

    def call(
        self,
        target: Stub[..., Any] | str,
        /,
        *args: Any,
        options: CallOptions | None = None,
        **kwargs: Any,
    ) -> Future[Any]:
        """As `Client.call`."""
        return self._do(self._client.call(target, *args, options=options, **kwargs))

    def future(self, run: str) -> Future[Any]:
        """As `Client.future`."""
        return self._do(self._client.future(run))

    def cancel(self, run: str, call: str = "") -> Cancellation:
        """As `Client.cancel`."""
        return self._do(self._client.cancel(run, call))

    def signal(
        self, run: str, name: str, value: object = None, *, call: str = "", key: str | None = None
    ) -> None:
        """As `Client.signal`."""
        self._do(self._client.signal(run, name, value, call=call, key=key))

    def agents(self) -> list[dict[str, Any]]:
        """As `Client.agents`."""
        return self._do(self._client.agents())

    def workers(self) -> list[dict[str, Any]]:
        """As `Client.workers`."""
        return self._do(self._client.workers())

    def nodes(self) -> list[NodeEntry]:
        """As `Client.nodes`."""
        return self._do(self._client.nodes())

    def sessions(self, agent: str = "") -> list[tuple[str, str]]:
        """As `Client.sessions`."""
        return self._do(self._client.sessions(agent))

    def session(self, agent: str, session: str) -> SessionView:
        """As `Client.session`."""
        return self._do(self._client.session(agent, session))

    def dead_letters(self, agent: str = "") -> list[DeadLetter]:
        """As `Client.dead_letters`."""
        return self._do(self._client.dead_letters(agent))

    def dead_letter(self, letter_id: str) -> DeadLetter:
        """As `Client.dead_letter`."""
        return self._do(self._client.dead_letter(letter_id))

    def redrive(self, letter_id: str, *, again: bool = False) -> str:
        """As `Client.redrive`."""
        return self._do(self._client.redrive(letter_id, again=again))

    def purge_dead(self, letter_ids: Iterable[str]) -> int:
        """As `Client.purge_dead`."""
        return self._do(self._client.purge_dead(letter_ids))

    def describe(self) -> dict[str, object]:
        """As `Client.describe`."""
        return self._client.describe()
