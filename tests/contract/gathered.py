"""Agents whose methods take batches, and what their bodies have seen."""

import asyncio
import threading
from collections import Counter

import nalar
from tests.clusters import until

#: The lists that bodies were given.
GIVEN: list[list[str]] = []
SEEN: Counter[str] = Counter()
#: Lets bodies that wait go on.
GATE = threading.Event()
AGENTS = "BatchEmbedder", "BatchChat", "batch_square"


class Embedder(nalar.Agent, name="BatchEmbedder"):
    @nalar.method(batch=nalar.Batch(size=8, linger_s=0.2))
    async def embed(self, texts: list[str]) -> list[int | Exception]:
        GIVEN.append(texts)
        return [ValueError("empty") if not text else len(text) for text in texts]

    @nalar.method(batch=nalar.Batch(size=4, linger_s=0.2))
    def short(self, texts: list[str]) -> list[int]:
        return [len(text) for text in texts[1:]]

    @nalar.method(batch=nalar.Batch(size=4, linger_s=0.2))
    def no_list(self, texts: list[str]) -> list[int]:
        return dict.fromkeys(texts, 0)  # type: ignore[return-value]

    @nalar.method(
        batch=nalar.Batch(size=4, linger_s=0.2), retry=nalar.Retry(max_attempts=2, initial_s=0.0)
    )
    def picky(self, texts: list[str]) -> list[str]:
        GIVEN.append(texts)
        if "poison" in texts:
            raise RuntimeError("poison")
        return texts

    @nalar.method(batch=nalar.Batch(size=2, linger_s=5.0))
    async def hold(self, texts: list[str]) -> list[str]:
        GIVEN.append(texts)
        try:
            await until(GATE.is_set)
        except asyncio.CancelledError:
            SEEN["cancelled"] += 1
            raise
        return texts

    @nalar.method(batch=nalar.Batch(size=2, linger_s=5.0))
    def hold_thread(self, texts: list[str]) -> list[str]:
        GIVEN.append(texts)
        calls = nalar.batch_calls()
        while not GATE.wait(0.01) and not all(call.cancelled for call in calls):
            pass
        SEEN["ended"] += 1
        return texts

    @nalar.method(batch=nalar.Batch(size=2, linger_s=0.2), timeout_s=0.3)
    async def endless(self, texts: list[str]) -> list[str]:
        GIVEN.append(texts)
        try:
            await asyncio.Event().wait()
        finally:
            SEEN["cleaned"] += 1
        return texts

    @nalar.method(batch=nalar.Batch(size=64, linger_s=60.0))
    def patient(self, texts: list[str]) -> list[str]:
        return texts

    @nalar.method(batch=nalar.Batch(size=4, linger_s=0.2))
    def who(self, texts: list[str]) -> list[str]:
        GIVEN.append(texts)
        calls = nalar.batch_calls()
        return [f"{it.tenant} {it.priority} {it.session}" for it in calls]

    @nalar.method(batch=nalar.Batch(size=4, linger_s=0.2))
    async def calls(self, texts: list[str]) -> list[int]:
        return [await batch_square(len(text)) for text in texts]


class Movable(nalar.Agent, name="BatchMovable", preemptable=True):
    @nalar.method(batch=nalar.Batch(size=2, linger_s=5.0))
    def hold(self, texts: list[str]) -> list[str]:
        GIVEN.append(texts)
        calls = nalar.batch_calls()
        while not GATE.wait(0.01) and not all(call.cancelled for call in calls):
            pass
        return texts


class Chat(nalar.Agent, name="BatchChat", stateful=True):
    turns: nalar.ManagedList[str]

    @nalar.method(batch=nalar.Batch(size=4, linger_s=0.2))
    def say(self, texts: list[str]) -> list[int]:
        GIVEN.append(texts)
        counts: list[int] = []
        for own, text in zip(nalar.batch_selves(self), texts, strict=True):
            own.turns.append(text)
            counts.append(len(own.turns))
        return counts

    @nalar.method(batch=nalar.Batch(size=4, linger_s=0.2))
    def try_to(self, texts: list[str]) -> list[int | Exception]:
        GIVEN.append(texts)
        for own, text in zip(nalar.batch_selves(self), texts, strict=True):
            own.turns.append(text)
        return [ValueError("no") if text == "bad" else 0 for text in texts]

    @nalar.method(batch=nalar.Batch(size=2, linger_s=5.0))
    async def hold(self, texts: list[str]) -> list[str]:
        GIVEN.append(texts)
        for own, text in zip(nalar.batch_selves(self), texts, strict=True):
            own.turns.append(text)
        await until(GATE.is_set)
        return texts

    @nalar.method(batch=nalar.Batch(size=2, linger_s=0.2))
    def wrong(self, texts: list[str]) -> list[int]:
        if texts == ["append"]:
            self.turns.append("x")
        elif texts == ["set"]:
            self.turns = nalar.ManagedList(["x"])
        return [len(self.turns) if self.turns else 0 for _ in texts]

    @nalar.method(batch=nalar.Batch(size=4, linger_s=0.2), read_only=True)
    def count(self, words: list[str]) -> list[int]:
        GIVEN.append(words)
        selves = nalar.batch_selves(self)
        if "cheat" in words:
            selves[words.index("cheat")].turns.append("cheat")
        return [list(own.turns).count(word) for own, word in zip(selves, words, strict=True)]

    @nalar.method
    def all_turns(self) -> list[str]:
        return list(self.turns)


@nalar.tool(name="batch_square", batch=nalar.Batch(size=4, linger_s=0.2))
def batch_square(numbers: list[int]) -> list[int]:
    return [number * number for number in numbers]


def given() -> list[list[str]]:
    """Return what bodies were given, whatever the order in which calls came."""
    return sorted(map(sorted, GIVEN))


def begin_anew() -> None:
    """Forget what was seen; bodies that wait wait again."""
    GIVEN.clear()
    SEEN.clear()
    GATE.clear()
