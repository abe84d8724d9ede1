"""Calls of a method with `batch=` share one run of its body, and stay calls of their own."""

import asyncio
from dataclasses import replace

import pytest

import nalar
from nalar.bus.codec import decode_record, encode_record
from nalar.cluster.view import ClusterView
from nalar.errors import AgentError, Cancelled, Expired
from nalar.ids import AgentName, FutureId
from nalar.reports import Report
from tests.clusters import Cluster, kill, until
from tests.contract.gathered import (
    AGENTS,
    GATE,
    GIVEN,
    SEEN,
    Chat,
    Embedder,
    Movable,
    batch_square,
    begin_anew,
    given,
)


@pytest.fixture(autouse=True)
def anew() -> None:
    begin_anew()


async def test_calls_share_a_run_and_each_has_its_own_result(cluster: Cluster) -> None:
    await cluster.worker(*AGENTS)
    await cluster.client()
    texts = ["a" * n for n in range(1, 17)]
    assert await nalar.gather(*map(Embedder.embed, texts)) == list(range(1, 17))
    sizes = list(map(len, GIVEN))
    assert sum(sizes) == 16
    assert max(sizes) == 8, "a worker asks for as many as make full batches"
    assert await nalar.gather(*map(batch_square, range(4))) == [0, 1, 4, 9]


async def test_a_worker_with_no_room_to_prefetch_fills_a_batch_all_the_same(
    cluster: Cluster,
) -> None:
    await cluster.worker(*AGENTS, concurrency=1, prefetch_factor=0.1)
    await cluster.client()
    GATE.set()
    await nalar.gather(*map(Embedder.hold, "abcd"))
    assert sorted(map(len, GIVEN)) == [2, 2]


async def test_an_exception_in_the_list_fails_its_call_alone(cluster: Cluster) -> None:
    await cluster.worker(*AGENTS)
    await cluster.client()
    bad, good = Embedder.embed(""), Embedder.embed("ab")
    with pytest.raises(AgentError, match="empty"):
        await bad
    assert await good == 2
    assert list(map(len, GIVEN)) == [2]


async def test_a_wrong_number_of_results_fails_all_and_names_both(cluster: Cluster) -> None:
    await cluster.worker(*AGENTS)
    await cluster.client()
    told = r"BatchEmbedder.short was given 2 calls, and returned 1 results"
    for future in [Embedder.short("a"), Embedder.short("b")]:
        with pytest.raises(nalar.InvalidResult, match=told):
            await future
    with pytest.raises(nalar.InvalidResult, match="given 1 call, and returned dict, no list"):
        await Embedder.no_list("a")


async def test_who_shared_a_body_that_raised_is_tried_again_by_itself(cluster: Cluster) -> None:
    await cluster.worker(*AGENTS)
    await cluster.client()
    poison, *good = [Embedder.picky(text) for text in ("poison", "a", "b")]
    assert await nalar.gather(*good) == ["a", "b"]
    with pytest.raises(AgentError, match="poison"):
        await poison
    assert given() == [["a"], ["a", "b", "poison"], ["b"], ["poison"]]


async def test_a_cancelled_call_leaves_its_batch_and_the_others_go_on(cluster: Cluster) -> None:
    await cluster.worker(*AGENTS, stop_grace_s=0.2)
    await cluster.client()
    for method in (Embedder.hold, Embedder.hold_thread):
        GATE.clear()
        GIVEN.clear()
        gone, stays = method("gone"), method("stays")
        await until(lambda: GIVEN)
        assert gone.cancel()
        with pytest.raises(Cancelled):
            await gone
        await asyncio.sleep(0.5)  # Longer than code that was told to stop is given to end.
        GATE.set()
        assert await stays == "stays"
        assert given() == [["gone", "stays"]]
    assert not SEEN["cancelled"]


async def test_calls_of_a_batch_share_the_time_that_it_takes(cluster: Cluster) -> None:
    host = await cluster.worker(*AGENTS)
    await cluster.client()
    calls = [Embedder.hold("a"), Embedder.hold("b")]
    await until(lambda: GIVEN)
    assert host.worker is not None
    held, began_s = list(host.worker._held.values()), asyncio.get_running_loop().time()
    await asyncio.sleep(0.2)
    GATE.set()
    await nalar.gather(*calls)
    took_s = asyncio.get_running_loop().time() - began_s
    assert 0.2 <= sum(it.busy_s for it in held) < took_s + 0.15, "not twice as much"


async def test_a_batch_is_reported_as_one_slot_taken(cluster: Cluster) -> None:
    await cluster.worker(*AGENTS, concurrency=2)
    client = await cluster.client()
    view, agent = ClusterView(), AgentName("BatchEmbedder")

    def hear(report: Report) -> None:
        view.take(report)

    watch = client.host.backend.reports.watch(hear)
    calls = [Embedder.hold("a"), Embedder.hold("b")]
    await until(lambda: agent in view.agents() and view.load(agent).running == 2)
    (worker,) = view.workers.values()
    assert (worker.running, worker.free, view.demand(agent)) == (1, 1, 1)
    assert view.load(agent).methods["hold"].batch == 2
    GATE.set()
    await nalar.gather(*calls)
    await until(lambda: not view.load(agent).running)
    assert (worker.free, view.load(agent).share) == (2, 0.5)
    watch.close()


async def test_a_body_is_stopped_once_nobody_is_left(cluster: Cluster) -> None:
    host = await cluster.worker(*AGENTS)
    await cluster.client()
    for method, what in ((Embedder.hold, "cancelled"), (Embedder.hold_thread, "ended")):
        GIVEN.clear()
        calls = [method("a"), method("b")]
        await until(lambda: GIVEN)
        for call in calls:
            assert call.cancel()
        for call in calls:
            with pytest.raises(Cancelled):
                await call
        await until(lambda what=what: SEEN[what])  # type: ignore[misc]
        await until(lambda: host.worker is not None and not host.worker._held)
    assert SEEN == {"cancelled": 1, "ended": 1}


async def test_calls_that_run_too_long_end_together_and_so_does_their_body(
    cluster: Cluster,
) -> None:
    host = await cluster.worker(*AGENTS)
    await cluster.client()
    for call in [Embedder.endless("a"), Embedder.endless("b")]:
        with pytest.raises(AgentError, match="longer than its timeout_s"):
            await call
    await until(lambda: host.worker is not None and not host.worker._held)
    assert given() == [["a", "b"]]
    assert SEEN == {"cleaned": 1}


async def test_a_call_does_not_wait_for_others_until_its_own_time_is_over(
    cluster: Cluster,
) -> None:
    await cluster.worker(*AGENTS)
    await cluster.client()
    async with asyncio.timeout(10):
        assert await Embedder.options(deadline_s=3).patient("a") == "a"
        assert await Embedder.options(queue_timeout_s=2).patient("b") == "b"


async def test_a_deadline_ends_its_own_call_and_not_the_batch(cluster: Cluster) -> None:
    await cluster.worker(*AGENTS)
    await cluster.client()
    short, long = Embedder.options(deadline_s=1.5).hold("short"), Embedder.hold("long")
    with pytest.raises(Expired):
        await short
    GATE.set()
    assert await long == "long"
    assert given() == [["long", "short"]]


async def test_a_batch_mixes_tenants_and_priorities_and_tells_them_apart(
    cluster: Cluster,
) -> None:
    await cluster.worker(*AGENTS)
    await cluster.client()
    calls = [
        Embedder.options(tenant=f"t{n}", priority=n, session=f"s{n}").who("?") for n in range(2)
    ]
    assert await nalar.gather(*calls) == ["t0 0 s0", "t1 1 s1"]
    assert list(map(len, GIVEN)) == [2]


async def test_the_body_of_a_batch_makes_no_calls(cluster: Cluster) -> None:
    await cluster.worker(*AGENTS)
    await cluster.client()
    with pytest.raises(AgentError, match="batch_square was called by the body of a batch"):
        await Embedder.calls("a")


async def test_each_call_of_a_batch_changes_its_own_session(cluster: Cluster) -> None:
    await cluster.worker(*AGENTS)
    await cluster.client()
    for turn in (1, 2):
        calls = [Chat.options(session=f"s{n}").say("hi") for n in range(4)]
        assert await nalar.gather(*calls) == [turn] * 4
    assert max(map(len, GIVEN)) > 1
    for how in ("append", "set", "read"):
        with pytest.raises(AgentError, match=r"for own in nalar.batch_selves.*own.turns"):
            await Chat.options(session="s1").wrong(how)


async def test_calls_of_one_session_never_share_a_run(cluster: Cluster) -> None:
    await cluster.worker(*AGENTS)
    await cluster.client()
    calls = [Chat.options(session="one").say(text) for text in "abc"]
    assert await nalar.gather(*calls) == [1, 2, 3]
    assert GIVEN == [["a"], ["b"], ["c"]]


async def test_a_call_that_fails_in_a_batch_leaves_its_session_as_it_was(
    cluster: Cluster,
) -> None:
    await cluster.worker(*AGENTS)
    await cluster.client()
    bad = Chat.options(session="bad").try_to("bad")
    good = Chat.options(session="good").try_to("good")
    assert await good == 0
    with pytest.raises(AgentError, match="no"):
        await bad
    assert list(map(len, GIVEN)) == [2]
    assert await Chat.options(session="bad").all_turns() == []
    assert await Chat.options(session="good").all_turns() == ["good"]


async def test_what_a_cancelled_call_did_to_its_session_is_gone_with_it(cluster: Cluster) -> None:
    await cluster.worker(*AGENTS)
    await cluster.client()
    gone, stays = Chat.options(session="g").hold("gone"), Chat.options(session="s").hold("stays")
    await until(lambda: GIVEN)
    assert gone.cancel()
    with pytest.raises(Cancelled):
        await gone
    assert await Chat.options(session="g").all_turns() == []  # While the body runs on.
    GATE.set()
    assert await stays == "stays"
    assert await Chat.options(session="g").all_turns() == []
    assert await Chat.options(session="s").all_turns() == ["stays"]


async def test_a_call_whose_session_moved_on_runs_once_more_by_itself(cluster: Cluster) -> None:
    host = await cluster.worker(*AGENTS)
    client = await cluster.client()
    await Chat.options(session="a").say("first")
    GIVEN.clear()
    calls = [Chat.options(session=s).hold(s) for s in "ab"]
    await until(lambda: GIVEN)
    assert host.worker is not None
    shares = {it.invocation.session: it for it in host.worker._held.values()}
    ledger = client.host.backend.ledger
    (entry,) = await ledger.find("call.s.BatchChat.a.>")
    other = replace(entry.ref, future=FutureId("another"))
    record = replace(decode_record(entry.ref, entry.body), ref=other)
    await ledger.commit(other, encode_record(record), expected=entry.revision, ttl_s=60)
    GATE.set()
    assert await nalar.gather(*calls) == ["a", "b"]
    assert given() == [["a"], ["a", "b"]]
    assert {session: held.sharers for session, held in shares.items()} == {"a": 1, "b": 2}
    assert await Chat.options(session="a").all_turns() == ["first", "first", "a"]
    assert await Chat.options(session="b").all_turns() == ["b"]


async def test_read_only_calls_share_a_run_and_see_their_own_sessions(cluster: Cluster) -> None:
    await cluster.worker(*AGENTS)
    await cluster.client()
    await nalar.gather(*(Chat.options(session=s).say(s) for s in "ab"))
    GIVEN.clear()
    calls = [Chat.options(session=s).count(word) for s, word in (("a", "a"), ("b", "a"))]
    assert await nalar.gather(*calls) == [1, 0]
    assert given() == [["a", "a"]]
    with pytest.raises(nalar.InvalidResult, match="read_only"):
        await Chat.options(session="a").count("cheat")


async def test_a_batch_whose_worker_dies_half_way_is_run_by_others_each_call_by_itself(
    cluster: Cluster,
) -> None:
    victim = await cluster.worker(*AGENTS)
    await cluster.client()
    calls = [Chat.options(session=s).hold(s) for s in "ab"]
    await until(lambda: GIVEN)
    assert given() == [["a", "b"]]
    GIVEN.clear()
    await cluster.worker(*AGENTS)
    await kill(victim)
    GATE.set()
    assert await nalar.gather(*calls) == ["a", "b"]
    assert given() == [["a"], ["b"]]
    for session in "ab":
        assert await Chat.options(session=session).all_turns() == [session]


async def test_a_worker_that_drains_gives_back_what_waits_for_others(cluster: Cluster) -> None:
    first = await cluster.worker(*AGENTS)
    await cluster.client()
    call = Embedder.patient("a")
    await until(lambda: first.worker is not None and first.worker._held)
    async with asyncio.timeout(10):
        await first.drain(5)
        await cluster.worker(*AGENTS)
        assert await call == "a"


async def test_a_batch_that_may_be_moved_is_stopped_and_runs_elsewhere(cluster: Cluster) -> None:
    first = await cluster.worker("BatchMovable")
    await cluster.client()
    calls = [Movable.hold(text) for text in "ab"]
    await until(lambda: GIVEN)
    async with asyncio.timeout(10):
        await first.drain(5)
        GATE.set()
        await cluster.worker("BatchMovable")
        assert await nalar.gather(*calls) == ["a", "b"]
    assert given() == [["a"], ["a", "b"], ["b"]]


async def test_local_gathers_as_well() -> None:
    async with nalar.local():
        assert await nalar.gather(*map(Embedder.embed, ["a", "bb"])) == [1, 2]
    assert given() == [["a", "bb"]]
