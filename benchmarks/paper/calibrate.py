"""`python -m benchmarks.paper.calibrate`: the model of an LLM engine beside a real one.

Fits the model to llama.cpp with the demo's small model, then keeps both busy with the same requests
and says how far apart their latencies are. Time is the processor time of the engine, which has one
thread: so it does not matter what else the machine does. Needs the demo's packages (`make demo`),
and Linux.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.paper.fit import Timing, fit
from examples.tool_calling.model_server import CONTEXT_TOKENS, MODULE, SLOTS
from nalar.sim.llm import LlmModel, Prompt
from nalar.sim.metrics import percentile
from nalar.sim.simulate import simulate
from nalar.sim.strategies import chosen
from nalar.sim.workload import AgentModel, Arrival, Call, Program, Turn
from nalar.sim.world import Costs

#: llama.cpp takes in up to so many tokens of prompts in a step.
CHUNK_TOKENS = 2048
#: Tokens that are written where the time of one is measured.
WRITTEN = 65
SHORT, LONG = 64, 800
TIMEOUT_S = 600.0
#: What is read and what is written, in tokens.
Ask = tuple[int, int]


class Engine:
    """The real engine, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._url = process.stdout.readline().strip().removesuffix("/v1")
        self._stat = Path(f"/proc/{process.pid}/stat")
        self._ticks = os.sysconf("SC_CLK_TCK")

    def spent_s(self) -> float:
        """Return the processor time that it has taken so far."""
        fields = self._stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / self._ticks

    async def generate(self, read: int, written: int) -> float:
        """Have it read and write so much; return the processor time that passed meanwhile."""
        before_s = self.spent_s()
        await asyncio.to_thread(self._post, read, written)
        return self.spent_s() - before_s

    def _post(self, read: int, written: int) -> None:
        body = {
            "prompt": "word " * (read - 1), "n_predict": written, "ignore_eos": True,
            "cache_prompt": False, "temperature": 0,
        }  # fmt: skip
        request = urllib.request.Request(  # noqa: S310 -- our own, on the loopback interface
            f"{self._url}/completion",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            answer.read()


def main() -> None:
    """Fit, then compare, and print both as JSON."""
    parser = argparse.ArgumentParser(prog="benchmarks.paper.calibrate", description=__doc__)
    parser.add_argument("--clients", type=int, default=6, help="each asks again when answered")
    parser.add_argument("--turns", type=int, default=4, help="how often each asks")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    command = [sys.executable, "-m", MODULE, "--with-parent"]
    with subprocess.Popen(  # noqa: S603 -- our own module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            told = asyncio.run(_calibrate(Engine(process), options))
        finally:
            process.terminate()
    print(json.dumps(told, indent=1))


async def _calibrate(engine: Engine, options: argparse.Namespace) -> dict[str, Any]:
    model = await _fitted(engine)
    rng = Random(options.seed)  # noqa: S311 -- lengths
    asks = [
        [(rng.randint(50, 400), rng.randint(16, 96)) for _ in range(options.turns)]
        for _ in range(options.clients)
    ]
    measured = _figures(sorted(await _play(engine, asks)))
    predicted = _predict(model, asks)
    error = {name: predicted[name] / measured[name] - 1 for name in measured}
    return {
        "model": asdict(model),
        "measured_s": measured,
        "predicted_s": predicted,
        "error": error,
    }


async def _fitted(engine: Engine) -> LlmModel:
    await engine.generate(16, 4)  # The first answer of a process is slow.

    async def timed(read: int, batch: int) -> Timing:
        read_s = await engine.generate(read, 1)
        before_s = engine.spent_s()
        await asyncio.gather(*(engine.generate(read, WRITTEN) for _ in range(batch)))
        output_s = engine.spent_s() - before_s - batch * read_s
        return Timing(batch, read, WRITTEN - 1, read_s, output_s)

    short, long, batched = await timed(SHORT, 1), await timed(LONG, 1), await timed(SHORT, SLOTS)
    kv_tokens = SLOTS * CONTEXT_TOKENS
    return fit([short], [long], [batched], chunk_tokens=CHUNK_TOKENS, kv_tokens=kv_tokens)


async def _play(engine: Engine, asks: Sequence[Sequence[Ask]]) -> list[float]:
    """Let each client ask one thing after the other; return the latencies."""

    async def client(own: Sequence[Ask]) -> list[float]:
        return [await engine.generate(*ask) for ask in own]

    return [it for own in await asyncio.gather(*map(client, asks)) for it in own]


def _predict(model: LlmModel, asks: Sequence[Sequence[Ask]]) -> dict[str, float]:
    """Return the latencies that the simulator expects of the same."""
    agent = AgentModel("LLM", 1, concurrency=SLOTS, llm=model)
    figures = simulate(_Replay(agent, asks), chosen(["lanes"])[0], costs=Costs(message_s=0.0))
    return {"mean": figures.mean_s, "p50": figures.p50_s, "p95": figures.p95_s}


class _Replay:
    """One engine, and clients that ask one thing after the other."""

    name = "replay"

    def __init__(self, agent: AgentModel, asks: Sequence[Sequence[Ask]]) -> None:
        self._agent, self._asks = agent, asks

    def agents(self) -> list[AgentModel]:
        return [self._agent]

    def arrivals(self) -> Iterator[Arrival]:
        return (Arrival(0.0, _client(own)) for own in self._asks)


def _client(asks: Sequence[Ask]) -> Program:
    for read, written in asks:
        yield Turn(Call("LLM", _generate(Prompt(0, read, written))))


def _generate(prompt: Prompt) -> Program:
    yield prompt


def _figures(ordered: list[float]) -> dict[str, float]:
    return {
        "mean": sum(ordered) / len(ordered),
        "p50": percentile(ordered, 0.5),
        "p95": percentile(ordered, 0.95),
    }


if __name__ == "__main__":
    main()
