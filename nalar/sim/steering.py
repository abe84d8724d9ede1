"""What directives do to a simulated cluster: sessions move, workers come and go."""

from collections.abc import Callable, Iterable

from nalar.controllers.local_events import Directed, DrainBegan, LaneLost, PeersChanged, Ticked
from nalar.directives import (
    Directive,
    Limit,
    Order,
    Pause,
    Route,
    SetPriority,
    SetWeights,
    Shed,
)
from nalar.ids import AgentName
from nalar.sim.invocation import Invocation
from nalar.sim.worker import SimWorker
from nalar.sim.world import World


def direct(world: World, directive: Directive) -> None:
    """Have a directive obeyed from now on, unless it is one for supervisors."""
    match directive:
        case Route(agent, session, slot):
            move(world, agent, session, slot)
        case Shed() | SetWeights():
            share(world, directive, withdrawn=False)
        case SetPriority(scope="request", name=root):
            request = world.requests.get(root)
            if request is not None:
                world.standing.put(directive)
                for name in sorted(request.workers & world.fabric.workers.keys()):
                    tell(world, world.fabric.workers[name], world.standing.arriving(name, root))
        case SetPriority() | Order() | Pause() | Limit():
            world.standing.put(directive)
            for worker in world.fabric.workers.values():
                tell(world, worker, [Directed(directive)])
        case _:
            raise AssertionError(f"{directive.kind} is for supervisors")


def withdraw(world: World, directive: Directive) -> None:
    """Have a directive obeyed no longer."""
    match directive:
        case Route(agent, session, _):
            move(world, agent, session, None)
        case Shed() | SetWeights():
            share(world, directive, withdrawn=True)
        case SetPriority() | Order() | Pause() | Limit():
            world.standing.withdraw(directive)
            for worker in world.fabric.workers.values():
                tell(world, worker, [Directed(directive, withdrawn=True)])
        case _:
            pass  # What supervisors have done is done.


def tell(world: World, worker: SimWorker, directed: Iterable[Directed]) -> None:
    """Have a worker heed directives, or no longer."""
    for event in directed:
        if isinstance(event.directive, Pause):
            agent = event.directive.agent
            worker.credits.mute(f"{agent}/", muted=not event.withdrawn)
        world.feed(worker, event)


def give_up(world: World, worker: SimWorker, keys: tuple[str, ...]) -> None:
    """A worker gives calls up that have not started: they are placed anew."""
    world.feed(worker, LaneLost(keys))


def move(world: World, agent: str, session: str, slot: int | None) -> None:
    """Serve a session in another slot, None: in its own; what has not started goes with it."""
    fabric = world.fabric
    old = fabric.slot(agent, session)
    if (fabric.own_slot(agent, session) if slot is None else slot) == old:
        return
    world.metrics.migrations += 1
    behind = fabric.take_out(agent, session)
    fabric.route(agent, session, slot)
    owner = fabric.workers.get(fabric.owners[agent].get(old, ""))
    if owner is not None:
        give_up(world, owner, keys_of(owner, agent, lambda held: held.session == session))
    for invocation in behind:
        world.timeline.after(world.costs.message_s, world.place, invocation)


def share_slots(world: World, agent: str) -> None:
    """Workers of a stateful agent have come or gone: each gets its share of the slots."""
    for name, lost in world.fabric.share_slots(agent).items():
        worker = world.fabric.workers[name]
        give_up(world, worker, keys_of(worker, agent, lambda held: held.slot in lost))  # noqa: B023 -- used at once
    for worker in world.fabric.serving[agent]:
        wake(world, worker)


def share(world: World, directive: Shed | SetWeights, *, withdrawn: bool) -> None:
    """Change who gets new calls: nobody where load is shed, else workers by their weights."""
    agent = directive.agent
    if isinstance(directive, Shed):
        world.shedding.pop(agent, None)
        if not withdrawn:
            world.shedding[agent] = directive
        return
    world.fabric.weights.obey(directive, withdrawn=withdrawn)
    if agent in world.fabric.slots:
        share_slots(world, agent)
        return
    world.fabric.weighed(agent)
    for worker in list(world.fabric.serving[agent]):
        wake(world, worker)


def drain(world: World, worker: SimWorker) -> None:
    """A worker takes nothing more in, gives back what has not started, and leaves."""
    worker.draining = True
    world.fabric.leave(worker)
    world.feed(worker, DrainBegan())
    world.fabric.ended(worker, world.timeline.now_s)
    for agent in worker.agents:
        if agent in world.fabric.slots:
            share_slots(world, agent)


def wake(world: World, worker: SimWorker) -> None:
    """Let a worker ask for what it has credit for."""
    world.feed(worker, Ticked(world.timeline.now_s))


def keys_of(worker: SimWorker, agent: str, wanted: Callable[[Invocation], bool]) -> tuple[str, ...]:
    """Return the keys of an agent's calls that a worker holds and that are wanted."""
    return tuple(
        key
        for key, held in worker.held.items()
        if held.agent is not None and held.agent.name == agent and wanted(held)
    )


def pass_time(world: World) -> None:
    """Let rates fill, each worker by its share."""
    fabric = world.fabric
    serving = {AgentName(name): len(workers) for name, workers in fabric.serving.items()}
    for worker in list(fabric.workers.values()):
        world.feed(worker, PeersChanged(len(fabric.workers), serving))
        world.feed(worker, Ticked(world.timeline.now_s))
