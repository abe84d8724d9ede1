"""The fence on three replicas: one revision of a session takes one commit, whoever asks where."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import orjson
import pytest

from nalar.bus import subjects
from nalar.client.archiving import Archiver, Bounds
from nalar.errors import CommitLost, CommitUnknown
from nalar.ids import AgentName, FutureId, Ref, RootId, SessionId
from nalar.statestore.jetstream import JetStreamBackend, open_jetstream
from nalar.statestore.port import KeyValueEntry
from tests.nodes import Nodes, three_nodes

ROUNDS = 300
WRITERS = 4
SESSION = SessionId("s1")
#: The parent of what a sabotaged writer commits.
SABOTEUR = FutureId("saboteur")


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    async with three_nodes(tmp_path) as started:
        yield started


@pytest.fixture
async def writers(nodes: Nodes) -> AsyncIterator[list[JetStreamBackend]]:
    """Writers at different nodes, so that all but one of them are not at the leader."""
    async with AsyncExitStack() as stack:
        opened: list[JetStreamBackend] = []
        for number in range(WRITERS):
            node = nodes[number % len(nodes)]
            opened.append(await open_jetstream(nodes.settings(url=node.url)))
            stack.push_async_callback(opened[-1].close)
        yield opened


async def commit(writer: JetStreamBackend, ref: Ref, expected: int) -> str:
    try:
        await writer.ledger.commit(ref, b"{}", expected=expected, ttl_s=60)
    except CommitLost:
        return "lost"
    except CommitUnknown:
        return "unclear"
    return "accepted"


async def cut(keeper: JetStreamBackend, agent: AgentName, upto: int) -> None:
    """Have what is below a revision leave the log, as if a snapshot covered it."""
    covering = orjson.dumps({"v": 1, "upto": upto, "ids": {}, "state": {}})
    snapshot = KeyValueEntry(f"state.{agent}.{SESSION}", 1, covering)
    archiver = Archiver(keeper.ledger, kept_s=600.0, bounds=Bounds(long=5, kept=1))
    await archiver.cut(snapshot, cutoff=0)


async def races(writers: list[JetStreamBackend], agent: AgentName, rounds: int) -> Counter[str]:
    """Let all writers commit at one revision, again and again; count what became of it.

    Meanwhile the log is cut behind them.

    What was accepted is counted in the log, whatever the writers heard: "two" are rounds after
    which it had grown by more than one entry.
    """
    seen = Counter[str]()
    revision = 0
    for number in range(rounds):
        refs = [
            Ref("s", agent, SESSION, RootId(f"r{number}"), parent, FutureId(f"f{number}-{writer}"))
            for writer, parent in enumerate([SABOTEUR] + [FutureId("p")] * (WRITERS - 1))
        ]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(cut(writers[number % WRITERS], agent, revision))
            committing = [
                tasks.create_task(commit(at, ref, revision))
                for at, ref in zip(writers, refs, strict=True)
            ]
        heard = [task.result() for task in committing]
        seen.update(heard)
        entries, revision = await writers[0].ledger.session_log(agent, SESSION, after=revision)
        accepted = {ref for ref, word in zip(refs, heard, strict=True) if word == "accepted"}
        assert accepted <= {entry.ref for entry in entries}, "what was accepted is in the log"
        seen["one" if len(entries) == 1 else "two" if entries else "none"] += 1
    return seen


@pytest.mark.timeout(120)
async def test_of_commits_at_one_revision_one_is_accepted(
    writers: list[JetStreamBackend], nodes: Nodes
) -> None:
    agent = AgentName("Fenced")
    seen = await races(writers, agent, ROUNDS)
    print(f"{ROUNDS} rounds of {WRITERS} writers on three nodes: {dict(seen)}")  # noqa: T201
    assert seen["two"] == 0
    assert seen["one"] > ROUNDS * 0.9
    assert seen["lost"] + seen["unclear"] > ROUNDS, "the writers did race"
    state = await nodes.agree(subjects.bucket_stream(subjects.LEDGER_BUCKET))
    assert state["messages"] >= seen["one"]
    log, _ = await writers[0].ledger.session_log(agent, SESSION, after=0)
    assert len(log) <= 6, "it was cut all the while"
    for writer in writers:
        found = await writer.ledger.find(f"call.s.{agent}.*.*.*.*", upto=log[-1].revision)
        assert len({entry.ref for entry in found}) == len(found) == seen["one"]


async def test_of_records_of_one_call_one_is_accepted(writers: list[JetStreamBackend]) -> None:
    for number in range(ROUNDS // 3):
        root = RootId(f"r{number}")
        ref = Ref("r", AgentName("Tool"), SessionId("_"), root, FutureId("p"), FutureId("f"))
        heard = await asyncio.gather(*[commit(writer, ref, 0) for writer in writers])
        assert heard.count("accepted") <= 1
        assert ref in await writers[0].ledger.read([ref])


@pytest.mark.timeout(120)
async def test_a_second_spelling_of_the_fence_lets_two_in(
    writers: list[JetStreamBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server tells writes in flight apart by the text of the filter, not by what it covers.

    Measured on nats-server 2.15.1: two accepted in 81 to 99 of 100 rounds. A server that ends
    this flaw fails the test, and the one spelling of `subjects.session_fence` is a promise less.
    """
    honest = subjects.commit_fence

    def respelled(ref: Ref) -> str:
        fence = honest(ref)
        return fence.removesuffix(">") + "*.*.*" if ref.parent == SABOTEUR else fence

    monkeypatch.setattr(subjects, "commit_fence", respelled)
    seen = await races(writers, AgentName("Sabotaged"), ROUNDS // 3)
    print(f"one writer spells its fence otherwise: {dict(seen)}")  # noqa: T201
    assert seen["two"] > 0
