"""A software company: planner, developers, testers, each with a model of its own.

A planner divides an issue into parts; each part is written, and tested; what fails goes back to
the developer with what the tester found, and what fails too often back to the planner, who
divides it again: recursion of which nobody knows how deep it goes. Issues differ in how hard they
are. An engine that serves one of the models can load another.
"""

from collections.abc import Iterator
from random import Random

from nalar.sim.llm import LlmModel, Prompt
from nalar.sim.workload import AgentModel, Arrival, Call, Calls, Program, Size, Turn, Work
from nalar.sim.workloads.draws import geometric, lognormal, split, tokens

#: Parts of an issue beyond the first, in the mean, and the most.
PARTS, PARTS_MAX = 2.0, 8
#: Chance that tests fail, by how hard the issue is: drawn evenly from between these.
FAILS = (0.2, 0.8)
#: Attempts at a part before it goes back to the planner, and how often it may.
ATTEMPTS_MAX, DEPTH_MAX = 3, 2
#: What each reads and writes in a call, in tokens.
PLAN, WRITE, TEST, LOOK_UP = (3_000, 500), (4_000, 700), (2_500, 250), (1_500, 200)
#: Share of the attempts for which the documentation is looked up.
LOOKS_UP = 0.3
RUN_S = (4.0, 0.6)
TENANTS = 8


class Software:
    """Issues of a repository, as SWE-bench has them."""

    name = "software"

    def __init__(self, size: Size) -> None:
        self._size = size
        # What one pass over an issue takes: nobody knows beforehand how much will fail.
        self._workers = split(
            size.workers,
            {
                "Planner": 0.125,
                "Developer": 0.375,
                "Tester": 0.25,
                "Docs": 0.0625,
                "Sandbox": 0.1875,
            },
        )

    def agents(self) -> list[AgentModel]:
        """Return the four agents with their engines, divided by what a first pass needs."""
        count = self._workers
        return [
            *(
                AgentModel(
                    name, count[name], concurrency=4, llm=LlmModel(), group="engines",
                    start_s=15.0, prefetch=0.0,
                )
                for name in ("Planner", "Developer", "Tester", "Docs")
            ),
            AgentModel("Sandbox", count["Sandbox"], concurrency=32),
            AgentModel("Company", count["Docs"], concurrency=64),
        ]  # fmt: skip

    def arrivals(self) -> Iterator[Arrival]:
        """Return issues, as a Poisson process."""
        rng = Random(f"software {self._size.seed}")
        at_s, number = 0.0, 0
        while at_s < self._size.until_s:
            at_s += rng.expovariate(self._size.rate)
            number += 1
            yield Arrival(at_s, _issue(Random(rng.random()), number))


def _issue(rng: Random, number: int) -> Program:
    fails = rng.uniform(*FAILS)
    work = _solve(rng, fails, 0)
    yield Turn(Call("Company", work), tenant=f"t{number % TENANTS}", deadline_s=600.0)


def _solve(rng: Random, fails: float, depth: int) -> Program:
    """Plan, then see to each part at the same time as the others."""
    yield Calls((Call("Planner", _generate(rng, PLAN)),))
    parts = min(PARTS_MAX, 1 + geometric(rng, PARTS / (1 + depth)))
    yield Calls(tuple(Call(None, _part(Random(rng.random()), fails, depth)) for _ in range(parts)))


def _part(rng: Random, fails: float, depth: int) -> Program:
    """Write and test until the tests pass; give up after so many attempts, and plan anew."""
    for attempt in range(ATTEMPTS_MAX):
        if rng.random() < LOOKS_UP:
            yield Calls((Call("Docs", _generate(rng, LOOK_UP)),))
        # What comes again goes first: others wait for it.
        again = 1 if attempt or depth else 0
        yield Calls((Call("Developer", _generate(rng, WRITE), priority=again),))
        yield Calls((Call("Tester", _test(rng), priority=again),))
        if rng.random() >= fails:
            return
    if depth < DEPTH_MAX:
        yield from _solve(rng, fails * 0.8, depth + 1)


def _test(rng: Random) -> Program:
    """Write tests, and run them."""
    yield _drawn(rng, TEST)
    yield Calls((Call("Sandbox", _run(lognormal(rng, *RUN_S))),))


def _generate(rng: Random, lengths: tuple[int, int]) -> Program:
    yield _drawn(rng, lengths)


def _drawn(rng: Random, lengths: tuple[int, int]) -> Prompt:
    read, written = lengths
    return Prompt(0, tokens(rng, read, 0.6, 32_000), tokens(rng, written, 0.6, 4_000))


def _run(seconds: float) -> Program:
    yield Work(seconds)
