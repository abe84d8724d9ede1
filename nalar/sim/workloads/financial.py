"""The financial analyst: stateful sessions that fan out to four tool agents and share one LLM.

A session is an analyst's: it plans, asks four tools at once, each of which fetches something and
has the LLM condense it, then aggregates and summarises. The user reads, and perhaps asks again,
after a long pause. Every generation of a session profits from the prefix cache that the last one
has left, where it has left it.
"""

from collections.abc import Iterator
from random import Random

from nalar.sim.llm import LlmModel, Prompt
from nalar.sim.workload import AgentModel, Arrival, Call, Calls, Pause, Program, Size, Turn, Work
from nalar.sim.workloads.draws import geometric, lognormal, split, tokens

TOOLS = ("StockAnalysis", "BondMarket", "MarketResearch", "WebSearch")
#: Seconds that each tool takes to fetch: mean and sigma.
FETCH = {
    "StockAnalysis": (0.4, 0.5),
    "BondMarket": (0.4, 0.5),
    "MarketResearch": (0.8, 0.7),
    "WebSearch": (1.5, 0.9),
}
#: Follow-ups of a session, in the mean, and the pause before each: mean and sigma.
FOLLOW_UPS = 2.0
THINKING = (90.0, 0.8)
#: How much larger than the mean an analysis is.
SIZE_SIGMA = 0.7
TENANTS = 8
CONTEXT_MAX = 24_000


class Financial:
    """8 requests a second is what the paper goes up to."""

    name = "financial"

    def __init__(self, size: Size) -> None:
        self._size = size
        self._workers = split(
            size.workers, {"LLM": 0.5, "Analyst": 0.125, **dict.fromkeys(TOOLS, 0.09375)}
        )

    def agents(self) -> list[AgentModel]:
        """Return an LLM agent, the analyst, and its tools."""
        count = self._workers
        return [
            AgentModel(
                "LLM", count["LLM"], concurrency=32, stateful=True, exclusive=False, llm=LlmModel()
            ),
            AgentModel(
                "Analyst", count["Analyst"], concurrency=64, stateful=True, state_bytes=500_000
            ),
            *(AgentModel(tool, count[tool], concurrency=32) for tool in TOOLS),
        ]

    def arrivals(self) -> Iterator[Arrival]:
        """Return users, as a Poisson process; the rate is that of requests, follow-ups included."""
        rng = Random(f"financial {self._size.seed}")
        at_s, number = 0.0, 0
        rate = self._size.rate / (1 + FOLLOW_UPS)
        while at_s < self._size.until_s:
            at_s += rng.expovariate(rate)
            number += 1
            yield Arrival(at_s, self._user(number, Random(rng.random())))

    def _user(self, number: int, rng: Random) -> Program:
        """Ask, read, and perhaps ask again."""
        session, tenant = f"u{number}", f"t{number % TENANTS}"
        scale = lognormal(rng, 1.0, SIZE_SIGMA)
        context = 600
        for again in range(1 + geometric(rng, FOLLOW_UPS)):
            if again:
                yield Pause(lognormal(rng, *THINKING))
            answer = tokens(rng, 900 * scale, 0.5, 6_000)
            yield Turn(
                Call("Analyst", _analyse(rng, context, scale, answer), session),
                tenant=tenant,
                deadline_s=180.0,
            )
            context = min(CONTEXT_MAX, context + 700 + answer)


def _analyse(rng: Random, context: int, scale: float, answer: int) -> Program:
    """Plan, ask the tools, aggregate, summarise."""
    yield Work(0.02)
    yield _ask(Prompt(context, 300, tokens(rng, 200, 0.5, 1_000), grows=True))
    notes = {tool: tokens(rng, 350 * scale, 0.6, 2_500) for tool in TOOLS}
    yield Calls(tuple(Call(tool, _use(rng, tool, scale, notes[tool])) for tool in TOOLS))
    gathered = sum(notes.values())
    yield _ask(Prompt(context, gathered, answer, grows=True))
    yield Work(0.02)
    yield _ask(Prompt(context + gathered + answer, 60, tokens(rng, 200, 0.4, 800)))


def _use(rng: Random, tool: str, scale: float, note: int) -> Program:
    """Fetch, and have the LLM condense what was found."""
    yield Work(lognormal(rng, *FETCH[tool]))
    yield _ask(Prompt(0, tokens(rng, 2_500 * scale, 0.6, 20_000), note))


def _ask(prompt: Prompt) -> Calls:
    return Calls((Call("LLM", generate(prompt)),))


def generate(prompt: Prompt) -> Program:
    """Be a call of an LLM agent."""
    yield prompt
