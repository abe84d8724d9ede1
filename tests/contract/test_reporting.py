"""What a worker reports of itself while it works, on both brokers."""

import asyncio
from collections import defaultdict

import pytest

import nalar
from nalar.client.steering import Steering
from nalar.cluster.view import ClusterView
from nalar.controllers import reporting
from nalar.directives import Pause
from nalar.errors import UsageError
from nalar.ids import AgentName, SessionId
from nalar.processes.host import Host
from nalar.reports import PER_SECOND_MAX, Report
from tests.clusters import Cluster, until
from tests.contract.worlds import Collected

GATES: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
TOOL, DESK = AgentName("metered_tool"), AgentName("MeteredDesk")


@pytest.fixture(autouse=True)
def _anew() -> None:
    GATES.clear()


@nalar.tool(name="metered_tool")
async def tool(name: str, tokens: int = 0) -> str:
    if tokens:
        nalar.context().report_tokens("small", prompt=tokens, completion=1)
    await GATES[name].wait()
    if name == "bad":
        raise ValueError(name)
    return name


class MeteredDesk(nalar.Agent, stateful=True):
    notes: nalar.ManagedList[str]

    @nalar.method
    async def ask(self, name: str) -> str:
        return await tool(name)


class Listener:
    """What a controller would know."""

    def __init__(self, host: Host) -> None:
        self.view = ClusterView()
        self.reports = Collected[Report]()
        self.watch = host.backend.reports.watch(self.hear)

    def hear(self, report: Report) -> None:
        self.reports.append(report)
        self.view.take(report)


async def test_a_listener_sees_what_queues_runs_waits_and_has_ended(cluster: Cluster) -> None:
    desk = await cluster.worker("MeteredDesk")
    await cluster.worker("metered_tool", concurrency=1)
    client = await cluster.client()
    listener = Listener(client.host)
    view = listener.view
    asked = MeteredDesk.options(session="s", tenant="acme").ask("a")
    waits = MeteredDesk.options(session="s", tenant="acme").ask("b")
    await until(lambda: view.load(TOOL).running == 1 and view.load(DESK).parked == 1)
    assert view.load(DESK).waiting == 1, "it has given its slot up for the tool's future"
    assert asked.ref is not None
    root = asked.ref.root
    await until(lambda: root in view.requests and view.requests[root].running == 1)
    await until(lambda: (DESK, SessionId("s")) in view.sessions)
    known = view.sessions[DESK, SessionId("s")]
    assert (known.worker, known.load.tenant) == (desk.worker and desk.worker.name, "acme")
    assert known.load.slot in view.workers[known.worker].slots[DESK]
    request = view.requests[root]
    assert (request.depth, request.tenant) == (1, "acme"), "the tool's call is told of, too"
    GATES["a"].set()
    GATES["b"].set()
    await nalar.gather(asked, waits)
    await until(lambda: view.load(DESK).finished == view.load(TOOL).finished == 2)
    await until(lambda: not view.sessions)
    load = view.load(DESK)
    assert load.methods["ask"].finished == 2
    assert 0 <= load.busy_s < view.load(TOOL).busy_s + 0.5, "waiting is not work"
    worker = view.workers[known.worker]
    assert worker.memory_bytes > 1_000_000


async def test_tokens_and_failures_are_reported(cluster: Cluster) -> None:
    await cluster.worker("metered_tool")
    client = await cluster.client()
    listener = Listener(client.host)
    for name in ("good", "bad"):
        GATES[name].set()
    with pytest.raises(nalar.AgentError):
        await tool("bad", tokens=10)
    assert await tool("good", tokens=4) == "good"
    await until(lambda: listener.view.load(TOOL).tokens == 16)
    load = listener.view.load(TOOL)
    assert (load.finished, load.failed) == (1, 1)
    assert listener.reports[-1].tokens == {"small": 16}


async def test_a_worker_that_rests_is_quiet_and_a_busy_one_speaks_ten_times_a_second(
    cluster: Cluster,
) -> None:
    await cluster.worker("metered_tool", concurrency=4)
    client = await cluster.client()
    listener = Listener(client.host)
    GATES["x"].set()
    await tool("x")
    await until(lambda: listener.view.load(TOOL).finished == 1)
    loop = asyncio.get_running_loop()
    began, until_s, calls = len(listener.reports), loop.time() + 1.0, 0
    while loop.time() < until_s:
        await tool("x")
        calls += 1
    await until(lambda: listener.view.load(TOOL).finished == 1 + calls)
    spoke = len(listener.reports) - began
    assert calls > 2 * PER_SECOND_MAX, "else this says nothing"
    assert 2 <= spoke <= PER_SECOND_MAX + 3
    said, at_s = len(listener.reports), loop.time()
    await asyncio.sleep(1.0)
    spoke = [report for report in listener.reports[said:] if report.agents or report.full]
    assert not spoke, f"{loop.time() - at_s:.1f} s of silence"


async def test_a_worker_that_rests_shows_that_nothing_was_lost(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "BEAT_S", 0.2)
    await cluster.worker("metered_tool")
    client = await cluster.client()
    listener = Listener(client.host)
    await until(lambda: len(listener.reports) > 3)
    assert [report.full for report in listener.reports[-2:]] == [False, False]
    assert not listener.reports[-1].agents


async def test_a_directive_is_acknowledged_by_the_next_report(cluster: Cluster) -> None:
    await cluster.worker("metered_tool")
    client = await cluster.client()
    listener = Listener(client.host)
    steering = Steering(client.host.backend.control, client.host.clock)
    revision = await steering.direct(Pause(TOOL), "a test")
    await until(lambda: any(report.applied >= revision for report in listener.reports))
    await steering.withdraw(Pause(TOOL))


def test_tokens_that_are_no_number_are_refused() -> None:
    @nalar.tool(name="miscounting_tool")
    async def miscounting() -> str:
        for model, prompt in (("", 1), ("small", -1), ("small", 1.5), ("small", True)):
            with pytest.raises(UsageError, match="report_tokens"):
                nalar.context().report_tokens(model, prompt)  # type: ignore[arg-type]
        return "refused"

    with nalar.local():
        assert miscounting().result() == "refused"
