"""`nalar call`, `submit`, `result`: requests to what is served somewhere."""

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nalar_cli import printing
from nalar_cli.arguments import Arguments, Target, given, parse_target
from nalar_cli.options import (
    Creds,
    Json,
    Key,
    Priority,
    Server,
    Session,
    Stream,
    Tenant,
    Timeout,
    settings_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from nalar.agents.spec import MethodSpec
    from nalar.agents.stub import Stub
    from nalar.calls.suspended import Suspended
    from nalar.client.client import Client
    from nalar.context import CallOptions
    from nalar.futures import Future

#: Time to read a result that may be there, when nobody wants to wait for it, in seconds.
_READ_S = 0.5

TargetText = Annotated[
    str,
    typer.Argument(
        metavar="TARGET", help="Agent.method, a tool or workflow by name, or MODULE:NAME."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        epilog='Example: nalar call Barista.serve --json \'["Ada", "mocha"]\' --session corner'
    )(call)
    app.command(epilog='Example: RUN=$(nalar submit breakfast --json \'{"guests": ["Ada"]}\')')(
        submit
    )
    app.command(name="result", epilog="Example: nalar result $RUN --timeout 30")(result)


def call(  # noqa: PLR0913, PLR0917 -- each is an option
    target: TargetText,
    arguments: Json = "",
    session: Session = None,
    tenant: Tenant = None,
    priority: Priority = None,
    key: Key = None,
    timeout: Timeout = None,
    stream: Stream = False,
    server: Server = None,
    creds: Creds = None,
) -> None:
    """Call what is served, wait, and print the result as JSON."""
    options = call_options(session=session, tenant=tenant, priority=priority, key=key)
    told, what = given(arguments), parse_target(target)
    stub, name = stub_of(what, told)

    async def work(client: "Client") -> None:
        future = await requested(client, stub or name, told, options)
        await warn_unserved(client, stub.spec.agent if stub else name.partition(".")[0])
        how = printed_as_it_comes if stream else printed
        async with _explained(client, future):
            await how(future, name, timeout, stub=stub)

    with_client(settings_of(server, creds), work)


def submit(  # noqa: PLR0913, PLR0917 -- each is an option
    target: TargetText,
    arguments: Json = "",
    session: Session = None,
    tenant: Tenant = None,
    priority: Priority = None,
    key: Key = None,
    server: Server = None,
    creds: Creds = None,
) -> None:
    """Make a request and print its run id, for `nalar result`."""
    options = call_options(session=session, tenant=tenant, priority=priority, key=key)
    told, what = given(arguments), parse_target(target)
    stub, name = stub_of(what, told)

    async def work(client: "Client") -> str:
        return run_of(await requested(client, stub or name, told, options))

    printing.write(with_client(settings_of(server, creds), work))


def result(
    run: Annotated[str, typer.Argument(metavar="RUN", help="What `nalar submit` printed.")],
    timeout: Timeout = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the end.")] = True,
    stream: Stream = False,
    server: Server = None,
    creds: Creds = None,
) -> None:
    """Print the result of a run as JSON; wait for it if need be."""

    async def work(client: "Client") -> None:
        how = printed_as_it_comes if stream else printed
        for sleeping in await client.suspended(run):
            printing.note(_waiting(sleeping))
        future = await client.future(run)
        async with _explained(client, future):
            await how(future, f"run {run}", timeout if wait else 0.0)

    with_client(settings_of(server, creds), work)


def _waiting(sleeping: "Suspended") -> str:
    """Return the line that says what a suspended call waits for."""
    from nalar.clock import local_time

    at_most = "" if sleeping.told == "time" else ", at the longest"
    return (
        f"{sleeping.target} (call {sleeping.ref.future}) is suspended: it waits for "
        f"{sleeping.told}{at_most} until {local_time(sleeping.until)}"
    )


@asynccontextmanager
async def _explained(client: "Client", future: "Future[Any]") -> "AsyncGenerator[None]":
    """Add to a CallTimeout what may keep the call from ending, as far as directives say it."""
    from nalar.errors import CallTimeout, NalarError
    from nalar.ids import readable_token

    try:
        yield
    except CallTimeout as late:
        assert future.ref is not None, "a call has an address"
        agent = readable_token(future.ref.agent)
        try:
            holds = [hold for hold in await client.steering.holds() if hold.waits]
        except NalarError:
            holds = []  # Of the two errors the other one is asked for.
        own = [f"{hold}; {hold.remedy}" for hold in holds if hold.agent == agent]
        others = f"{holds[0].what}, and it may wait for that: " if holds else ""
        late.add_note(own[0] if own else f"{others}'nalar doctor' says what holds calls back")
        raise


# What `run` uses too.


def call_options(
    *,
    session: str | None,
    tenant: str | None,
    priority: int | None = None,
    key: str | None = None,
) -> "CallOptions":
    """Return what a call carries; raises UsageError for what it cannot."""
    from nalar.agents.stub import changed
    from nalar.context import DEFAULT_OPTIONS

    given = {"session": session, "tenant": tenant, "priority": priority, "idempotency_key": key}
    return changed(DEFAULT_OPTIONS, given)


def stub_of(target: Target, told: Arguments) -> "tuple[Stub[..., Any] | None, str]":
    """Return the stub that MODULE:NAME stands for (None for a bare name), and its name.

    The arguments are put in the form that they have as Python values.
    """
    if not target.module:
        return None, target.name
    from nalar.agents.loader import load

    loaded = load(f"{target.module}:{target.name}")
    assert loaded.target is not None, "a name was given"
    return bound_stub(loaded.target, told), loaded.target.label


def bound_stub(spec: "MethodSpec", told: Arguments) -> "Stub[..., Any]":
    """Return the stub of `spec`; make JSON arguments the values that its annotations name.

    Raises ArgumentError: what does not fit is said before anything starts.
    """
    from nalar.agents.describe import describe_agent, remote_method
    from nalar.agents.registry import REGISTRY
    from nalar.agents.stub import Stub

    described = remote_method(describe_agent(REGISTRY.get(spec.agent)), spec.name)
    text = described.signature.bind(told.args, told.kwargs).text
    args, kwargs = spec.signature.load(text, {})
    told.args[:] = args
    told.kwargs.clear()
    told.kwargs.update(kwargs)
    return Stub(spec)


async def requested(
    client: "Client", target: "Stub[..., Any] | str", told: Arguments, options: "CallOptions"
) -> "Future[Any]":
    """Make the request and return its future once it is stored."""
    return await client.request(target, *told.args, options=options, **told.kwargs)


def run_of(future: "Future[Any]") -> str:
    """Return the run id of a request."""
    assert future.ref is not None, "a call has an address"
    return future.ref.root


async def warn_unserved(client: "Client", agent: str) -> None:
    """Say so when no live worker serves `agent`: the call is safe, and waits."""
    workers = await client.workers()
    if not any(agent in worker["agents"] for worker in workers):
        printing.note(
            f"no worker serves {agent} at the moment: the call is stored and waits for one "
            "(nalar worker MODULE)"
        )


async def awaited(
    future: "Future[Any]",
    what: str,
    timeout_s: float | None,
    *,
    stub: "Stub[..., Any] | None" = None,
    lasting: bool = True,
) -> object:
    """Return the result of a run as JSON.

    Raises the CallError it ended in, or CallTimeout; `lasting` says that it goes on then.
    """
    import json

    async with _limited(future, what, timeout_s, lasting=lasting):
        value = await future
    return value if stub is None else json.loads(stub.spec.signature.dump_result(value))


async def printed(
    future: "Future[Any]",
    what: str,
    timeout_s: float | None,
    *,
    stub: "Stub[..., Any] | None" = None,
) -> None:
    """Print the result of a run once it has ended."""
    printing.result(await awaited(future, what, timeout_s, stub=stub))


async def printed_as_it_comes(
    future: "Future[Any]",
    what: str,
    timeout_s: float | None,
    *,
    stub: "Stub[..., Any] | None" = None,
) -> None:
    """Print each value that a run yields as a line of JSON, when it comes.

    A call that is begun again goes on at the same place: what was printed cannot be taken back.
    """
    import json

    async with _limited(future, what, timeout_s):
        async for value in future.stream(resume=True):
            if stub is None:
                printing.write(json.dumps(value, ensure_ascii=False))
            else:
                printing.write(stub.spec.signature.dump_result([value])[1:-1].decode())


@asynccontextmanager
async def _limited(
    future: "Future[Any]", what: str, timeout_s: float | None, *, lasting: bool = True
) -> "AsyncGenerator[None]":
    """Raise CallTimeout, which says how to go on, when what is done takes longer."""
    import asyncio

    from nalar.errors import CallTimeout

    try:
        async with asyncio.timeout(timeout_s if timeout_s is None else max(timeout_s, _READ_S)):
            yield
    except TimeoutError:
        after = f" within {timeout_s:g} s" if timeout_s else ""
        more = f"; it goes on: nalar result {run_of(future)}" if lasting else ""
        raise CallTimeout(f"{what} has not ended{after}{more}") from None


def with_client(settings: Any, work: Any) -> Any:
    """Connect, do `work(client)`, close, and return what it returned."""
    import asyncio
    import logging

    from nalar.serve import connect

    printing.log_to_stderr(logging.WARNING)

    async def connected() -> Any:
        async with connect(settings=settings) as client:
            return await work(client)

    return asyncio.run(connected())
