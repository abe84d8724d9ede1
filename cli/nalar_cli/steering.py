"""`nalar pause`, `resume`, `limit`, `shed`, `prioritize`, `drain`, and what of others steers.

`nalar sessions migrate` and `nalar directives ls`.
"""

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nalar_cli import printing
from nalar_cli.calling import with_client
from nalar_cli.negative import WithNegative
from nalar_cli.options import Creds, Listing, Output, Server, settings_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nalar.client.client import Client
    from nalar.directives import Directive, Issued

#: Fields of directives that hold names.
_NAMES = ("agent", "session", "name", "worker")
#: What ids of runs look like.
_RUN = re.compile("[0-9a-f]{32}")

Agent = Annotated[str, typer.Argument(metavar="AGENT", help="An agent, tool or workflow.")]
Worker = Annotated[str, typer.Argument(metavar="WORKER", help="As `nalar workers ls` shows it.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Kept with the directive.")]
Withdraw = Annotated[bool, typer.Option("--withdraw", help="Take the directive back.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(epilog="Example: nalar pause Analyst --reason 'the model is down'")(pause)
    app.command(epilog="Example: nalar resume Analyst")(resume)
    app.command(
        epilog="Example: nalar limit --tenant acme 4, or --model gpt-4o --tokens 90000",
        cls=WithNegative,
    )(limit)
    app.command(epilog="Example: nalar shed Analyst --below 5 --retry-after 30")(shed)
    app.command(
        epilog="Example: nalar prioritize 10 --tenant acme, or --tenant acme --withdraw",
        cls=WithNegative,
    )(prioritize)
    app.command(epilog="Example: nalar drain w31f0a2b4c5")(drain)
    group = typer.Typer(
        name="directives", help="Directives that workers obey.", no_args_is_help=True
    )
    group.command(name="ls", epilog="Example: nalar directives ls -o json")(directives)
    app.add_typer(group)
    # Beside `sessions ls` and `get`, which stand where listings do.
    groups = [it.typer_instance for it in app.registered_groups]
    sessions = next(it for it in groups if it is not None and it.info.name == "sessions")
    sessions.command(epilog="Example: nalar sessions migrate Barista corner --to w31f0a2b4c5")(
        migrate
    )


def pause(agent: Agent, reason: Reason = "", server: Server = None, creds: Creds = None) -> None:
    """Start no calls of an agent anywhere: they wait.

    Its calls stay in its queue, and none is lost; those that run go on.
    """
    from nalar.directives import Pause
    from nalar.ids import AgentName

    async def work(client: "Client") -> None:
        await client.agent(agent)
        await client.steering.direct(Pause(AgentName(agent)), reason)

    with_client(settings_of(server, creds), work)
    printing.note(f"{agent} is paused; 'nalar resume {agent}' lets it go on")


def resume(agent: Agent, server: Server = None, creds: Creds = None) -> None:
    """Start calls of a paused agent again."""
    from nalar.directives import Pause
    from nalar.ids import AgentName

    async def work(client: "Client") -> bool:
        await client.agent(agent)
        return await client.steering.withdraw(Pause(AgentName(agent)))

    stood = with_client(settings_of(server, creds), work)
    printing.note(f"{agent} goes on" if stood else f"{agent} was not paused")


def limit(  # noqa: PLR0913, PLR0917 -- each is an option
    calls: Annotated[
        int | None, typer.Argument(metavar="[N]", min=0, help="Calls at a time per worker.")
    ] = None,
    agent: Annotated[str, typer.Option("--agent", metavar="NAME", help="Of this agent.")] = "",
    tenant: Annotated[str, typer.Option("--tenant", metavar="NAME", help="For this tenant.")] = "",
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="That use this model, as they report.")
    ] = "",
    requests: Annotated[
        float | None, typer.Option("--requests", metavar="N", min=0, help="Calls in a minute.")
    ] = None,
    tokens: Annotated[
        float | None, typer.Option("--tokens", metavar="N", min=0, help="Tokens in a minute.")
    ] = None,
    withdraw: Withdraw = False,
    reason: Reason = "",
    server: Server = None,
    creds: Creds = None,
) -> None:
    """Limit calls of an agent, tenant or model.

    At most N run at a time in each worker; so many start, or tokens are used, in a minute, which
    live workers share equally.
    Numbers that are not given stay as they stand; --withdraw takes all of them back.
    """
    from dataclasses import replace

    from nalar.directives import Limit
    from nalar.ids import encode_token
    from nalar_cli.arguments import InputError

    [(scope, name)] = _one_of(agent=agent, tenant=tenant, model=model)
    if not withdraw and (calls, requests, tokens) == (None, None, None):
        raise InputError("say how many: N at a time, --requests or --tokens in a minute")
    asked = Limit(scope, encode_token(name), calls, requests, tokens)

    async def merged(client: "Client") -> Limit:
        if agent:
            await client.agent(agent)
        known = [it.issued.directive for it in await client.steering.standing()]
        stands = [it for it in known if isinstance(it, Limit) and it.about == asked.about]
        if not stands:
            return asked
        given = {"concurrency": calls, "requests_per_min": requests, "tokens_per_min": tokens}
        return replace(stands[0], **{key: it for key, it in given.items() if it is not None})  # type: ignore[arg-type]

    directive = asked if withdraw else with_client(settings_of(server, creds), merged)
    _put(directive, reason, withdraw, f"{scope} {name}", server, creds)


def shed(  # noqa: PLR0913, PLR0917 -- each is an option
    agent: Agent,
    below: Annotated[
        int, typer.Option("--below", metavar="N", help="Refuse priorities below N; 0 is normal.")
    ] = 1,
    retry_after: Annotated[
        float,
        typer.Option("--retry-after", metavar="S", min=0, help="When to ask again, in seconds."),
    ] = 10.0,
    withdraw: Withdraw = False,
    reason: Reason = "",
    server: Server = None,
    creds: Creds = None,
) -> None:
    """Refuse new requests for an agent for now, by their priority.

    Their callers get the error Overloaded at once, with when to ask again. Calls that other calls
    make are let through, and so is what waits already in a worker.
    """
    from nalar.directives import Shed
    from nalar.ids import AgentName

    directive = Shed(AgentName(agent), below, retry_after)

    async def check(client: "Client") -> None:
        await client.agent(agent)

    _put(directive, reason, withdraw, f"{agent}, below {below}", server, creds, check)


def prioritize(  # noqa: PLR0913, PLR0917 -- each is an option
    value: Annotated[
        int | None, typer.Argument(metavar="[N]", help="Higher runs sooner; 0 is normal.")
    ] = None,
    session: Annotated[str, typer.Option("--session", metavar="NAME", help="Of a session.")] = "",
    request: Annotated[str, typer.Option("--request", metavar="RUN", help="Of a run.")] = "",
    tenant: Annotated[str, typer.Option("--tenant", metavar="NAME", help="Of a tenant.")] = "",
    agent: Annotated[str, typer.Option("--agent", metavar="NAME", help="There alone.")] = "",
    withdraw: Withdraw = False,
    reason: Reason = "",
    server: Server = None,
    creds: Creds = None,
) -> None:
    """Take calls of a session, run or tenant first, or last."""
    from nalar.directives import SetPriority
    from nalar.ids import AgentName, encode_token
    from nalar_cli.arguments import InputError

    [(scope, name)] = _one_of(session=session, request=request, tenant=tenant)
    if value is None and not withdraw:
        raise InputError("say which priority: N, for instance 10 or -5")

    async def check(client: "Client") -> None:
        if agent:
            await client.agent(agent)
        if request:
            await _check_run(client, request)

    of = AgentName(encode_token(agent)) if agent else None
    directive = SetPriority(scope, encode_token(name), value or 0, of)
    _put(directive, reason, withdraw, f"{scope} {name}", server, creds, check)


def drain(
    worker: Worker,
    kill: Annotated[bool, typer.Option("--kill", help="End it at once, as a crash would.")] = False,
    reason: Reason = "",
    server: Server = None,
    creds: Creds = None,
) -> None:
    """Let a worker finish what runs, and end.

    It cannot be taken back: start another one.
    """
    from nalar.directives import Drain, Kill
    from nalar.ids import WorkerId

    async def work(client: "Client") -> None:
        await _check_alive(client, worker)
        await client.steering.direct((Kill if kill else Drain)(WorkerId(worker)), reason)

    with_client(settings_of(server, creds), work)
    printing.note(f"{worker} is told to {'end at once' if kill else 'drain and end'}")


async def _check_alive(client: "Client", worker: str) -> None:
    from nalar.errors import UsageError, suggest

    alive = [str(told["worker"]) for told in await client.workers()]
    if worker not in alive:
        raise UsageError(f"no worker {worker!r} is alive.{suggest(worker, alive)}")


def migrate(  # noqa: PLR0913, PLR0917 -- each is an option
    agent: Agent,
    session: Annotated[str, typer.Argument(metavar="SESSION", help="The session's name.")],
    to: Annotated[str, typer.Option("--to", metavar="WORKER", help="Who is to serve it.")] = "",
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="Let it go back to where it would be.")
    ] = False,
    reason: Reason = "",
    server: Server = None,
    creds: Creds = None,
) -> None:
    """Serve a session in another worker.

    What runs finishes where it is; calls that wait, new ones, and the state move. It stays there
    for an hour at the most.
    """
    from nalar.directives import Route
    from nalar.errors import UsageError
    from nalar.ids import AgentName, SessionId, WorkerId, encode_token
    from nalar_cli.arguments import InputError

    if withdraw == bool(to):
        raise InputError("say --to WORKER, or --withdraw: one of the two")
    of, name = AgentName(agent), SessionId(encode_token(session))

    async def work(client: "Client") -> int | None:
        told = await client.agent(agent)
        if withdraw:
            return 0 if await client.steering.withdraw(Route(of, name, 0)) else None
        if not told["hints"]["stateful"]:
            raise UsageError(
                f"{agent} keeps no sessions: any worker that serves it takes its calls"
            )
        await _check_alive(client, to)
        return (await client.steering.migrate(of, name, WorkerId(to), reason)).slot

    slot = with_client(settings_of(server, creds), work)
    if withdraw:
        back = "goes back to where it would be" if slot is not None else "was not moved"
        printing.note(f"session {session} of {agent} {back}")
        return
    printing.note(f"session {session} of {agent} is served in slot {slot}, by {to}")


def directives(output: Listing = Output.table, server: Server = None, creds: Creds = None) -> None:
    """List the directives that stand: who issued each, why, since when, and when it ends."""

    async def work(client: "Client") -> list[dict[str, Any]]:
        return [
            _row(it.issued) | {"revision": it.revision} for it in await client.steering.standing()
        ]

    rows = with_client(settings_of(server, creds), work)
    if output is Output.table:
        rows = [_for_people(row) for row in rows]
    printing.listing(rows, ["kind", "directive", "by", "reason", "since", "until"], output)


def _row(issued: "Issued") -> dict[str, Any]:
    """Return a directive with names as people gave them."""
    from dataclasses import asdict

    from nalar.directives import ends_at_s
    from nalar.ids import readable_token

    told = asdict(issued)
    for name, value in told["directive"].items():
        if name in _NAMES and value is not None:
            told["directive"][name] = readable_token(value)
    return {"kind": issued.directive.kind, **told, "until_s": ends_at_s(issued)}


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with texts in the place of numbers and of dicts."""
    from nalar.clock import local_time

    said: list[str] = []
    for name, value in row["directive"].items():
        if name == "weights":
            said += [f"{worker}={weight:g}" for worker, weight in value.items()]
        elif value is not None:
            said.append(f"{name}={value}")
    until = "withdrawn" if row["until_s"] is None else local_time(row["until_s"])
    return row | {"directive": " ".join(said), "since": local_time(row["at_s"]), "until": until}


def _one_of(**given: str) -> list[tuple[Any, str]]:
    """Return the one option that was given, and its value."""
    from nalar_cli.arguments import InputError

    named = [(name, value) for name, value in given.items() if value]
    if len(named) != 1:
        options = " or ".join(f"--{name}" for name in given)
        raise InputError(f"name one of {options}")
    return named


async def _check_run(client: "Client", run: str) -> None:
    """Raise UnknownTarget for what can be no run; say so when none of that id was submitted."""
    from nalar.errors import UnknownTarget

    try:
        await client.future(run)
    except UnknownTarget:
        if not _RUN.fullmatch(run):
            raise
        printing.note(f"no run {run} was submitted: this holds if a program's own call has that id")


async def _unchecked(client: "Client") -> None:
    del client


def _put(  # noqa: PLR0913, PLR0917 -- what the commands were given
    directive: "Directive",
    reason: str,
    withdraw: bool,
    what: str,
    server: str | None,
    creds: str | None,
    check: "Callable[[Client], Awaitable[None]]" = _unchecked,
) -> None:
    """Put a directive, once `check` has found nothing wrong with its names; or take it back."""

    async def work(client: "Client") -> bool:
        if withdraw:
            return await client.steering.withdraw(directive)
        await check(client)
        await client.steering.direct(directive, reason)
        return True

    done = with_client(settings_of(server, creds), work)
    if withdraw:
        printing.note(f"withdrawn for {what}" if done else f"nothing stands for {what}")
    else:
        printing.note(f"workers are told of {what}")
