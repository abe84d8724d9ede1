"""What the simulated clients do, drawn from a seed; and what came of it."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import nalar
from nalar.errors import NalarError, Unavailable
from tests.simulation.workloads import SimDesk, SimLog, brave, fan, patient, story, tree

#: What a call ended in: its value, or the name of its error.
Outcome: TypeAlias = object
Script: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

#: Scripts begin within this many virtual seconds.
BEGIN_S = 12.0


@dataclass(slots=True)
class Scripts:
    """What a simulation's clients do, and what came of it."""

    chance: random.Random
    #: Outcomes by call, and what each must be.
    outcomes: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    expected: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    #: Outcomes by (session, entry) of calls that were cancelled or had little time.
    raced: dict[tuple[str, str], Outcome] = field(default_factory=dict[tuple[str, str], Outcome])

    def draw(self, count: int) -> list[tuple[float, Script]]:
        """Return `count` scripts and when each begins."""
        kinds = (
            self._ordered, self._shared, self._fan, self._tree, self._desk, self._brave,
            self._keyed, self._raced, self._patient,
        )  # fmt: skip
        return [
            (
                self.chance.uniform(0.0, BEGIN_S),
                self.chance.choice(kinds)(f"s{number}", self._own_chance()),
            )
            for number in range(count)
        ]

    def doomed(self) -> Script:
        """Return the script of a client that may be killed: short calls, and no outcome."""
        pauses = [self._own_chance().choice((0.0, 0.2)) for _ in range(6)]

        async def script() -> None:
            log = SimLog.options(session="doomed-0", deadline_s=10.0)
            for i, pause_s in enumerate(pauses):
                log.append("doomed", f"doomed#{i}", pause_s)
                await asyncio.sleep(pause_s)

        return script

    def _own_chance(self) -> random.Random:
        return random.Random(self.chance.getrandbits(64))

    async def _note(self, label: str, call: nalar.Future[Any], expected: Outcome) -> None:
        self.expected[label] = expected
        self.outcomes[label] = await ended(call)

    def _ordered(self, name: str, chance: random.Random) -> Script:
        """One client, one session of its own, calls in order without waiting."""
        pauses = [chance.choice((0.0, 0.0, 0.05, 1.5)) for _ in range(chance.randint(2, 8))]

        async def script() -> None:
            log = SimLog.options(session=f"own-{name}")
            calls = [log.append(name, f"{name}#{i}", pause) for i, pause in enumerate(pauses)]
            for i, call in enumerate(calls):
                await self._note(f"{name}.{i}", call, i + 1)
            await self._note(f"{name}.whole", log.whole(), expected=True)
            await self._note(f"{name}.written", log.written(name), len(pauses))

        return script

    def _shared(self, name: str, chance: random.Random) -> Script:
        """Write through a workflow into a session that others write into as well."""
        session, length = f"shared-{chance.randrange(3)}", chance.randint(1, 5)
        pause_s = chance.choice((0.0, 0.1))

        async def script() -> None:
            written = story.options(session=session)(name, length, pause_s)
            await self._note(name, written, list(range(1, length + 1)))
            seen = SimLog.options(session=session).whole()
            await self._note(f"{name}.whole", seen, expected=True)

        return script

    def _fan(self, name: str, chance: random.Random) -> Script:
        """Fan out and join, at some priority."""
        width, pause_s = chance.randint(1, 12), chance.choice((0.0, 0.2, 2.0))
        priority = chance.choice((-5, 0, 0, 5))

        async def script() -> None:
            called = fan.options(priority=priority)(5, width, pause_s)
            parts = [5 + i for i in range(width)]
            await self._note(name, called, sum(parts) + parts[-1] + parts[0])

        return script

    def _tree(self, name: str, chance: random.Random) -> Script:
        """Nest workflows."""
        depth = chance.randint(1, 3)

        async def script() -> None:
            called = tree.options(session=f"tree-{name}")(name, depth)
            await self._note(name, called, 2 ** (depth + 1) - 1)

        return script

    def _desk(self, name: str, chance: random.Random) -> Script:
        """Call, in order, an agent that waits for others while it has its session."""
        session, count = f"desk-{chance.randrange(2)}", chance.randint(1, 4)

        async def script() -> None:
            calls = [SimDesk.options(session=session).handle(name, i) for i in range(count)]
            for i, call in enumerate(calls):
                await self._note(f"{name}.{i}", call, i + 1)

        return script

    def _brave(self, name: str, chance: random.Random) -> Script:
        """Meet tools and methods that fail."""
        session = f"shared-{chance.randrange(3)}"

        async def script() -> None:
            ends = ["AgentError", "AgentError", "DependencyFailed", "DependencyFailed", "1"]
            await self._note(name, brave.options(session=session)(name), ends)

        return script

    def _keyed(self, name: str, chance: random.Random) -> Script:
        """Make one request several times, which is made once."""
        times, pause_s = chance.randint(2, 3), chance.choice((0.0, 0.3, 3.0))

        async def script() -> None:
            once = story.options(session=f"keyed-{name}", idempotency_key=name)
            for i in range(times):
                called = once(name, 3, 0.01)
                await asyncio.sleep(pause_s)
                await self._note(f"{name}.{i}", called, [1, 2, 3])

        return script

    def _patient(self, name: str, chance: random.Random) -> Script:
        """Send word to a workflow that sleeps and waits for it."""
        pauses_s = [chance.choice((0.01, 1.5, 3.0)) for _ in range(chance.randint(1, 3))]
        words_s = [chance.choice((0.0, 1.0, 4.0)) for _ in pauses_s]

        async def script() -> None:
            called = patient.options(session=f"patient-{name}")(name, pauses_s)
            for number, after_s in enumerate(words_s):
                await asyncio.sleep(after_s)
                await sent(called, number)
            await self._note(name, called, list(range(len(pauses_s))))

        return script

    def _raced(self, name: str, chance: random.Random) -> Script:
        """Cancel calls, or give them little time: an error means that nothing happened."""
        session = f"raced-{chance.randrange(2)}"
        cancel_after = [chance.choice((None, 0.0, 0.01, 0.1, 1.0)) for _ in range(4)]
        deadlines = [chance.choice((None, None, 0.5, 3.0)) for _ in range(4)]

        async def script() -> None:
            calls: list[nalar.Future[int]] = []
            for i, deadline_s in enumerate(deadlines):
                log = SimLog.options(session=session, deadline_s=deadline_s)
                calls.append(log.append(name, f"{name}#{i}", 0.02))
            async with asyncio.TaskGroup() as tasks:
                for call, after_s in zip(calls, cancel_after, strict=True):
                    if after_s is not None:
                        tasks.create_task(cancel_later(call, after_s))
            for i, call in enumerate(calls):
                self.raced[session, f"{name}#{i}"] = await ended(call)

        return script


async def sent(call: nalar.Future[Any], word: int) -> None:
    """Send a call word; one whose server does not answer has not been sent."""
    while True:
        try:
            return await call.signal("word", word)
        except Unavailable:
            await asyncio.sleep(0.5)


async def cancel_later(call: nalar.Future[Any], after_s: float) -> None:
    await asyncio.sleep(after_s)
    call.cancel()


async def ended(call: nalar.Future[Any]) -> Outcome:
    """Wait for a call and return its value, or the name of its error."""
    try:
        return await call
    except NalarError as error:
        return type(error).__name__
