"""`nalar route`: which share of an agent's calls each worker is to get."""

from typing import TYPE_CHECKING, Annotated

import typer

from nalar_cli import printing
from nalar_cli.arguments import InputError, duration_s
from nalar_cli.calling import with_client
from nalar_cli.options import Creds, Server, settings_of
from nalar_cli.steering import Agent, Reason

if TYPE_CHECKING:
    from nalar.client.client import Client
    from nalar.ids import AgentName


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(epilog="Example: nalar route Analyst canary=0.1 --for 10m, or --clear")(route)


def route(  # noqa: PLR0913, PLR0917 -- each is an option
    agent: Agent,
    weights: Annotated[
        list[str] | None,
        typer.Argument(metavar="WORKER=WEIGHT", help="From 0, no new calls, to 100; 1 is normal."),
    ] = None,
    stands: Annotated[
        str,
        typer.Option(
            "--for", metavar="TIME", help="For so long: 90s, 10m, 2h; else until cleared."
        ),
    ] = "",
    clear: Annotated[
        bool, typer.Option("--clear", help="Forget the agent's weights: all get the same.")
    ] = False,
    reason: Reason = "",
    server: Server = None,
    creds: Creds = None,
) -> None:
    """Give workers more or less of an agent's calls than others.

    A worker of weight 0.5 gets the next call once it is half as busy as the others, and owns half
    as many sessions. One of weight 0 gets none: what it has goes on.
    Weights that are not given stay as they stand, all of them for as long as --for says.
    """
    from nalar.directives import SetWeights
    from nalar.ids import AgentName

    if clear == bool(weights):
        raise InputError("name WORKER=WEIGHT, one or several; or --clear")
    named = [_weight(text) for text in weights or ()]
    given = dict(named)
    if len(given) < len(named):
        raise InputError("a worker is named twice: which of its weights holds?")
    stands_s = duration_s("--for", stands) if stands else None
    of = AgentName(agent)

    async def work(client: "Client") -> tuple[bool, list[str]]:
        await client.agent(agent)
        stood = await _standing(client, of)
        if clear:
            return await client.steering.withdraw(SetWeights(of, {})), []
        alive = [str(it["worker"]) for it in await client.workers() if agent in it["agents"]]
        _check(agent, given, [*alive, *stood])
        directive = SetWeights(of, stood | given)
        await client.steering.direct(directive, reason, stands_s=stands_s)
        return True, [name for name in alive if directive.weights.get(name, 1.0)]

    done, takes = with_client(settings_of(server, creds), work)
    if clear:
        printing.note(f"all workers of {agent} get the same" if done else f"{agent} had no weights")
        return
    printing.note(f"workers of {agent} are told; 'nalar route {agent} --clear' takes it back")
    if not takes:
        printing.note(f"no worker that is alive takes calls of {agent} now: they wait")


async def _standing(client: "Client", agent: "AgentName") -> dict[str, float]:
    """Return the weights that stand for an agent."""
    from nalar.directives import SetWeights

    for it in await client.steering.standing():
        directive = it.issued.directive
        if isinstance(directive, SetWeights) and directive.agent == agent:
            return dict(directive.weights)
    return {}


def _weight(text: str) -> tuple[str, float]:
    from nalar.directives import WEIGHT_MAX

    worker, sign, number = text.rpartition("=")
    if not sign or not worker:
        raise InputError(f"{text!r} is no WORKER=WEIGHT")
    try:
        weight = float(number)
    except ValueError:
        weight = -1.0
    if not 0 <= weight <= WEIGHT_MAX:
        raise InputError(f"{text!r}: a weight is a number from 0 to {WEIGHT_MAX:g}")
    return worker, weight


def _check(agent: str, given: dict[str, float], known: list[str]) -> None:
    from nalar.errors import UsageError, suggest

    for worker in given:
        if worker not in known:
            serve = f" Who does: {', '.join(sorted(set(known)))}." if known else ""
            raise UsageError(
                f"no worker {worker!r} that is alive serves {agent}.{suggest(worker, known)}{serve}"
            )
