"""The financial analyst: stateful sessions that fan out to four tool agents and share one LLM.

A session is an analyst's: it plans, asks four tools at once, each of which fetches documents and
has the LLM condense them, then aggregates and summarises. The user reads, and perhaps asks again,
after a long pause. Every generation of a session profits from the prefix cache that the last one
has left, where it has left it; condensing, which has nothing in common with the session, does not.
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
#: How much questions differ in how much there is to read: the sigma of a log-normal factor.
SIZE_SIGMA = 0.8
#: Documents that a tool finds, in the mean, and the most; tokens of each, and of the note on it.
DOCUMENTS, DOCUMENTS_MAX = 4.0, 60
DOCUMENT = (1_500, 0.5)
NOTE = (120, 0.4)
#: What a session is about to answer with goes first, reading for large analyses last. These are
#: the priorities that the calls carry; frameworks that have none take calls as they come.
FIRST, LAST = 1, -1
#: From so many documents on, over all tools, an analysis is large.
LARGE = 16
TENANTS = 8
CONTEXT_MAX = 24_000


class Financial:
    """8 requests a second is what the paper goes up to."""

    name = "financial"

    def __init__(self, size: Size) -> None:
        self._size = size
        self._workers = split(
            size.workers, {"LLM": 0.625, "Analyst": 0.095, **dict.fromkeys(TOOLS, 0.07)}
        )

    def agents(self) -> list[AgentModel]:
        """Return an LLM agent, one beside it that reads for no session, the analyst, its tools."""
        count = self._workers
        engine = LlmModel()
        return [
            AgentModel(
                "LLM", count["LLM"], concurrency=4, stateful=True, exclusive=False, llm=engine,
                prefetch=0.0,
            ),
            AgentModel("Reader", 0, concurrency=4, llm=engine, beside="LLM", prefetch=0.0),
            AgentModel(
                "Analyst", count["Analyst"], concurrency=64, stateful=True, state_bytes=500_000
            ),
            *(AgentModel(tool, count[tool], concurrency=32) for tool in TOOLS),
        ]  # fmt: skip

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
        context = 600
        for again in range(1 + geometric(rng, FOLLOW_UPS)):
            if again:
                yield Pause(lognormal(rng, *THINKING))
            scale = lognormal(rng, 1.0, SIZE_SIGMA)
            answer = tokens(rng, 900, 0.3, 4_000)
            yield Turn(
                Call("Analyst", _analyse(rng, context, scale, answer), session),
                tenant=tenant,
                deadline_s=180.0,
            )
            context = min(CONTEXT_MAX, context + 700 + answer)


def _analyse(rng: Random, context: int, scale: float, answer: int) -> Program:
    """Plan, ask the tools, aggregate, summarise."""
    yield Work(0.02)
    yield _ask(Prompt(context, 300, tokens(rng, 200, 0.3, 1_000), grows=True))
    found = {tool: _documents(rng, scale) for tool in TOOLS}
    priority = LAST if sum(len(prompts) for prompts in found.values()) >= LARGE else 0
    yield Calls(tuple(Call(tool, _use(rng, tool, found[tool], priority)) for tool in TOOLS))
    gathered = sum(prompt.output_tokens for prompts in found.values() for prompt in prompts)
    yield _ask(Prompt(context, gathered, answer, grows=True))
    yield Work(0.02)
    yield _ask(Prompt(context + gathered + answer, 60, tokens(rng, 200, 0.3, 800)))


def _documents(rng: Random, scale: float) -> list[Prompt]:
    """Draw what a tool will find: a prompt for each document, that asks for a note on it."""
    count = min(DOCUMENTS_MAX, max(1, round(lognormal(rng, DOCUMENTS * scale, 0.5))))
    return [
        Prompt(0, tokens(rng, *DOCUMENT, 12_000), tokens(rng, *NOTE, 600)) for _ in range(count)
    ]


def _use(rng: Random, tool: str, documents: list[Prompt], priority: int) -> Program:
    """Fetch, and have the LLM condense each document that was found."""
    yield Work(lognormal(rng, *FETCH[tool]))
    yield Calls(tuple(Call("Reader", generate(prompt), priority=priority) for prompt in documents))


def _ask(prompt: Prompt) -> Calls:
    return Calls((Call("LLM", generate(prompt), priority=FIRST),))


def generate(prompt: Prompt) -> Program:
    """Be a call of an LLM agent."""
    yield prompt
