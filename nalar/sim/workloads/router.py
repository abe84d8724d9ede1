"""The router: a light classifier sends each request to a chat workflow or to a coding agent.

Chat and coding have a model each; an engine that serves one can load the other. Which of them is
asked for comes in phases: in one, nearly all want to chat, in the next, nearly all want code. That
is what the paper says of the trace (Azure's of LLM inference): more than 90 % go one way.
"""

from collections.abc import Iterator
from random import Random

from nalar.sim.llm import LlmModel, Prompt
from nalar.sim.workload import AgentModel, Arrival, Call, Calls, Program, Size, Turn, Work
from nalar.sim.workloads.draws import geometric, lognormal, split, tokens

#: Share of the requests that go the more frequent way, and how long that lasts, in seconds.
IMBALANCE = 0.92
PHASE_S = 400.0
#: What a prompt has, and what is written: medians as published with the trace, and sigma.
CHAT = ((1_020, 0.7), (129, 0.8))
CODE = ((1_500, 0.6), (60, 0.8))
#: Calls of the model in a chat beyond the answer: to rewrite the question, and to check.
CHAT_STEPS = 2
#: Further attempts of the coding agent, in the mean, after its tests.
ATTEMPTS = 1.5
TEST_S = (2.0, 0.5)
RETRIEVE_S = (0.3, 0.5)
#: A model of one billion parameters.
LIGHT = LlmModel(step_s=0.003, prefill_tokens_per_s=50_000.0, kv_tokens=800_000)
TENANTS = 8


class Router:
    """30 to 80 requests a second is what the paper has."""

    name = "router"

    def __init__(self, size: Size) -> None:
        self._size = size
        self._workers = split(
            size.workers,
            {
                "Chat": 0.25,
                "Code": 0.25,
                "Classifier": 0.125,
                "Retriever": 0.1875,
                "Sandbox": 0.1875,
            },
        )

    def agents(self) -> list[AgentModel]:
        """Return the classifier, both branches with half of the engines each, and their tools."""
        count, engine = self._workers, LlmModel()
        return [
            AgentModel("Classifier", count["Classifier"], concurrency=16, llm=LIGHT, prefetch=0.0),
            AgentModel(
                "Chat", count["Chat"], concurrency=8, llm=engine, group="engines", start_s=15.0,
                prefetch=0.0,
            ),
            AgentModel(
                "Code", count["Code"], concurrency=8, llm=engine, group="engines", start_s=15.0,
                prefetch=0.0,
            ),
            AgentModel("Retriever", count["Retriever"], concurrency=32),
            AgentModel("Sandbox", count["Sandbox"], concurrency=32),
            AgentModel("Router", count["Classifier"], concurrency=64),
        ]  # fmt: skip

    def arrivals(self) -> Iterator[Arrival]:
        """Return requests, as a Poisson process."""
        rng = Random(f"router {self._size.seed}")
        at_s, number = 0.0, 0
        while at_s < self._size.until_s:
            at_s += rng.expovariate(self._size.rate)
            number += 1
            chats = IMBALANCE if int(at_s / PHASE_S) % 2 == 0 else 1 - IMBALANCE
            yield Arrival(at_s, _ask(Random(rng.random()), number, chats))


def _ask(rng: Random, number: int, chats: float) -> Program:
    branch = _chat(rng) if rng.random() < chats else _code(rng)
    yield Turn(Call("Router", _route(rng, branch)), tenant=f"t{number % TENANTS}", deadline_s=50.0)


def _route(rng: Random, branch: Program) -> Program:
    """Classify, then go the way of the class."""
    question = Prompt(0, tokens(rng, 300, 0.6, 4_000), 4)
    yield Calls((Call("Classifier", _generate(question)),))
    yield from branch


def _chat(rng: Random) -> Program:
    """Rewrite the question, retrieve, answer, check."""
    for step in range(1 + CHAT_STEPS):
        if step == 1:
            yield Calls((Call("Retriever", _work(lognormal(rng, *RETRIEVE_S))),))
        yield Calls((Call("Chat", _generate(_prompt(rng, CHAT))),))


def _code(rng: Random) -> Program:
    """Write, run the tests, and write again until they pass."""
    for _ in range(1 + geometric(rng, ATTEMPTS)):
        yield Calls((Call("Code", _generate(_prompt(rng, CODE))),))
        yield Calls((Call("Sandbox", _work(lognormal(rng, *TEST_S))),))


def _prompt(rng: Random, lengths: tuple[tuple[float, float], tuple[float, float]]) -> Prompt:
    (read, read_sigma), (written, written_sigma) = lengths
    return Prompt(
        0, tokens(rng, read, read_sigma, 16_000), tokens(rng, written, written_sigma, 2_000)
    )


def _generate(prompt: Prompt) -> Program:
    yield prompt


def _work(seconds: float) -> Program:
    yield Work(seconds)
